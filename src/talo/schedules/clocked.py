"""One-off schedules: ``clocked(when)``.

Owns the schedule; switching the entry off after its run is ``beat``'s.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from talo.schedules._zones import UTC, aware
from talo.schedules.base import BaseSchedule, schedstate

__all__ = ["clocked"]


class clocked(BaseSchedule):
    """Runs once, at ``clocked_time``."""

    def __init__(
        self,
        clocked_time: dt.datetime,
        nowfun: Callable[[], dt.datetime] | None = None,
        app: Any = None,
        tz: Any = None,
    ) -> None:
        super().__init__(nowfun, app, tz)
        if not isinstance(clocked_time, dt.datetime):
            raise TypeError(f"a one-off runs at a datetime, not at {clocked_time!r}")
        self.clocked_time = clocked_time

    def following(self, after: dt.datetime) -> dt.datetime | None:
        """The time, in UTC, while it lies ahead of ``after``."""
        due = aware(self.clocked_time, self.tz).astimezone(UTC)
        return due if due > aware(after, self.tz).astimezone(UTC) else None

    def is_due(self, last_run_at: dt.datetime) -> schedstate:
        """Due once: after its time, if the last run was before it."""
        due = self.following(last_run_at)
        rest = float("inf") if due is None else (due - aware(self.now(), self.tz).astimezone(UTC)).total_seconds()
        return schedstate(rest <= 0, rest if rest > 0 else float("inf"))

    def __repr__(self) -> str:
        return f"<clocked: {self.clocked_time.isoformat()}>"

    def __reduce__(self) -> Any:
        return type(self), (self.clocked_time, self.nowfun)

    def __eq__(self, other: object) -> Any:
        if isinstance(other, clocked):
            return self.clocked_time == other.clocked_time
        return NotImplemented

    __hash__ = None
