"""What tests of every kind share: waiting for facts instead of for time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(assertion: Callable[[], T], timeout: float = 10, interval: float = 0.01) -> T:
    """Call ``assertion`` until it raises no AssertionError; return what it returned, or raise its last error."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return assertion()
        except AssertionError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(interval)


def for_seconds(seconds: float) -> None:
    """Let a fault last: for a pause of a server or process, whose length is what is tested."""
    threading.Event().wait(seconds)
