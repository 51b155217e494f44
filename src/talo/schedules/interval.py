"""Intervals: ``schedule(run_every)``, and what a plain number or timedelta means as a schedule.

Owns both. A run is due one interval after the last *due* time, so lateness does not add up. Called by ``beat`` and by
applications.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from talo.schedules._zones import UTC, aware, instant
from talo.schedules.base import BaseSchedule, schedstate

__all__ = ["maybe_schedule", "schedule"]

_UNITS = (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0))


class schedule(BaseSchedule):
    """Runs every ``run_every`` seconds. ``relative``: at whole days, hours, minutes or seconds, by the largest unit
    that the interval reaches."""

    relative = False

    def __init__(
        self,
        run_every: float | dt.timedelta | None = None,
        relative: bool = False,
        nowfun: Callable[[], dt.datetime] | None = None,
        app: Any = None,
        tz: Any = None,
    ) -> None:
        """``ValueError`` for an interval that is not above zero, ``TypeError`` for what is none."""
        super().__init__(nowfun, app, tz)
        if isinstance(run_every, bool) or not isinstance(run_every, int | float | dt.timedelta):
            raise TypeError(f"an interval is a number of seconds or a timedelta, not {run_every!r}")
        try:
            self.run_every = run_every if isinstance(run_every, dt.timedelta) else dt.timedelta(seconds=run_every)
        except OverflowError:
            raise ValueError(f"an interval of {run_every!r} seconds is beyond the calendar") from None
        if self.run_every <= dt.timedelta(0):
            raise ValueError(f"an interval is longer than nothing, not {run_every!r}")
        self.relative = relative

    @property
    def seconds(self) -> float:
        """The interval in seconds."""
        return max(self.run_every.total_seconds(), 0.0)

    @property
    def human_seconds(self) -> str:
        """The interval as people say it."""
        for name, size in _UNITS:
            if self.seconds >= size:
                number = self.seconds / size
                return f"{number:.2f} {name}{'s' if number > 1 else ''}"
        return f"{self.seconds:.2f} second{'s' if self.seconds > 1 else ''}"

    def following(self, after: dt.datetime) -> dt.datetime | None:
        """The first due time after ``after``, in UTC: one interval later."""
        after = aware(after, self.tz).astimezone(UTC)
        try:
            due = after + self.run_every
        except OverflowError:
            return None
        return max(self._rounded(due), after + dt.timedelta(seconds=1)) if self.relative else due

    def is_due(self, last_run_at: dt.datetime) -> schedstate:
        """Whether the run after ``last_run_at`` is due, and seconds until the next look: after a run, the interval."""
        due, rest = super().is_due(last_run_at)
        return schedstate(due, self.seconds if due and not self.relative else rest)

    def _rounded(self, due: dt.datetime) -> dt.datetime:
        local = due.astimezone(self.tz).replace(tzinfo=None, fold=0, microsecond=0)
        if self.run_every >= dt.timedelta(days=1):
            local = local.replace(hour=0, minute=0, second=0)
        elif self.run_every >= dt.timedelta(hours=1):
            local = local.replace(minute=0, second=0)
        elif self.run_every >= dt.timedelta(minutes=1):
            local = local.replace(second=0)
        return instant(local, self.tz)

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"

    def __reduce__(self) -> Any:
        return type(self), (self.run_every, self.relative, self.nowfun)

    def __eq__(self, other: object) -> Any:
        if isinstance(other, schedule):
            return self.run_every == other.run_every and self.relative == other.relative
        # Celery: a schedule equals its interval.
        return self.run_every == other

    __hash__ = None


def maybe_schedule(s: Any, relative: bool = False, app: Any = None) -> Any:
    """The schedule that a number, a timedelta or a schedule stands for; anything else as it is."""
    if s is not None and not isinstance(s, bool):
        if isinstance(s, int | float):
            s = dt.timedelta(seconds=s)
        if isinstance(s, dt.timedelta):
            return schedule(s, relative, app=app)
        if isinstance(s, BaseSchedule) and s._app is None and app is not None:
            s.app = app
    return s
