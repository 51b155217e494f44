"""What tests of every kind share: waiting for facts instead of for time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two looks at what takes long, at most, and by how much each pause is longer than the last: nobody
#: learns of a fact later than by a tenth of the time that it took.
_RARELY, _GROWS = 0.05, 1.1


def eventually(assertion: Callable[[], T], timeout: float = 10, interval: float = 0.01) -> T:
    """Call ``assertion`` until it raises no AssertionError; return what it returned, or raise its last error.
    ``interval`` is the first pause between two calls, in seconds."""
    deadline = time.monotonic() + timeout
    longest = max(interval, _RARELY)
    while True:
        try:
            return assertion()
        except AssertionError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(interval)
        interval = min(interval * _GROWS, longest)


def for_seconds(seconds: float) -> None:
    """Let a fault last: for a pause of a server or process, whose length is what is tested."""
    threading.Event().wait(seconds)
