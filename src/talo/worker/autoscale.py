"""How many processes a worker should have that scales by itself: one more while all are busy and work waits, one less
when some have been idle for long.

Owns the decision, one look at a time; the agent asks, the supervisor starts and ends processes. Bounds are those of
``--autoscale`` until a command sets others."""

from __future__ import annotations

import os

__all__ = ["Autoscaler", "LOOK_EVERY"]

#: Seconds between two looks.
LOOK_EVERY = 1.0
#: Seconds for which a process must have been needless; Celery's variable.
_KEEPALIVE = "AUTOSCALE_KEEPALIVE"


class Autoscaler:
    """Bounds, and since when processes idle."""

    def __init__(self, most: int, least: int) -> None:
        self.most = most
        self.least = least
        self.keepalive = float(os.environ.get(_KEEPALIVE, "30"))
        self._idle_since: float | None = None

    def change(self, *, processes: int, active: int, waiting: bool, now: float) -> int:
        """Return by how many processes the worker should change: 1, -1 or 0, or more where the bounds have moved.

        ``active`` tasks run in ``processes``; ``waiting``: there is ready work; ``now`` is monotonic.
        """
        if processes > self.most:
            return self.most - processes
        if processes < self.least:
            return self.least - processes
        if active >= processes:
            self._idle_since = None
            return 1 if waiting and processes < self.most else 0
        if self._idle_since is None:
            self._idle_since = now
        if processes > self.least and now - self._idle_since >= self.keepalive:
            self._idle_since = now
            return -1
        return 0
