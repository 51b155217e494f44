"""A project with periodic tasks, as the tests of beat run it in processes of their own.

Configured by the environment: ``TALO_BROKER_URL``; ``ENTRIES``, JSON of name to entry; ``CLOCK_OFFSET``, seconds by
which every clock of this process is wrong.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from typing import Any

_offset = float(os.environ.get("CLOCK_OFFSET", "0"))
if _offset:
    _right = time.time
    time.time = lambda: _right() + _offset

    class _Wrong(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return dt.datetime.fromtimestamp(time.time(), tz)

    dt.datetime = _Wrong  # type: ignore[misc]

from talo import Talo  # noqa: E402  the clock is wrong before anybody looks at it

app = Talo("periodic")
app.conf.beat_schedule = json.loads(os.environ.get("ENTRIES", "{}"))


@app.task(bind=True)
def tick(self: Any, name: str = "") -> str:
    if trace := os.environ.get("TRACE"):
        with open(trace, "a") as file:
            file.write(f"start {self.request.id} {os.getpid()} {time.time()} {name}\n")
    return name
