"""A schedule that holds for a time only: ``between(schedule, start, end)``.

Owns the bounds; what lies between them is the inner schedule's. Called by applications, and for the rows of
django-celery-beat.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from talo.schedules._zones import UTC, aware
from talo.schedules.base import BaseSchedule
from talo.schedules.interval import maybe_schedule, schedule

__all__ = ["between", "innermost"]


class between(BaseSchedule):
    """``run_every`` (a schedule, a timedelta, seconds), but nothing before ``start`` or after ``end``.

    An interval begins with a run at ``start``; any other schedule with the first of its times from there on.
    """

    def __init__(
        self, run_every: Any, start: dt.datetime | None = None, end: dt.datetime | None = None, app: Any = None
    ) -> None:
        """``TypeError`` for what is no schedule, or no time; ``ValueError`` for an end before the start."""
        inner = maybe_schedule(run_every, app=app)
        if not isinstance(inner, BaseSchedule):
            raise TypeError(f"what is bounded is a schedule, a timedelta or a number of seconds, not {run_every!r}")
        for bound in (start, end):
            if bound is not None and not isinstance(bound, dt.datetime):
                raise TypeError(f"a schedule begins and ends at a datetime, not at {bound!r}")
        super().__init__(inner.nowfun, app or inner._app, inner._tz)
        self.inner = inner
        self.start = None if start is None else aware(start, self.tz).astimezone(UTC)
        self.end = None if end is None else aware(end, self.tz).astimezone(UTC)
        if self.start is not None and self.end is not None and self.end < self.start:
            raise ValueError(f"it ends at {self.end.isoformat()}, before its start at {self.start.isoformat()}")

    def following(self, after: dt.datetime) -> dt.datetime | None:
        """The first due time after ``after`` within the bounds, in UTC; None if there is none any more."""
        after = aware(after, self.tz).astimezone(UTC)
        due: dt.datetime | None
        if self.start is None or after >= self.start:
            due = self.inner.following(after)
        elif isinstance(self.inner, schedule):
            due = self.start
        else:
            due = self.inner.following(self.start - dt.timedelta(microseconds=1))
        return None if due is None or (self.end is not None and due > self.end) else due

    def __repr__(self) -> str:
        bounds = (("from", self.start), ("until", self.end))
        words = [f"{word} {at.isoformat()}" for word, at in bounds if at is not None]
        return f"<{' '.join([repr(self.inner).strip('<>'), *words])}>"

    def __reduce__(self) -> Any:
        return type(self), (self.inner, self.start, self.end)

    def __eq__(self, other: object) -> Any:
        if isinstance(other, between):
            return (self.inner, self.start, self.end) == (other.inner, other.start, other.end)
        return NotImplemented

    __hash__ = None


def innermost(given: BaseSchedule) -> BaseSchedule:
    """The schedule within the bounds."""
    return innermost(given.inner) if isinstance(given, between) else given
