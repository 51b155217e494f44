"""Recurrence rules of calendars (RFC 5545): ``rrule("FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9;BYMINUTE=0")``.

Owns the schedule; reading the rule and counting is ``python-dateutil``'s (extra ``rrule``), in local wall-clock time.
Gaps and overlaps are treated as in ``crontab``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from talo.schedules._zones import UTC, aware, instant
from talo.schedules.base import BaseSchedule
from talo.util.optional import load

__all__ = ["rrule"]

#: Where a rule without a beginning counts from: a Monday, so that weekly rules without BYDAY run on Mondays.
_EPOCH = dt.datetime(2000, 1, 3)


class rrule(BaseSchedule):
    """Runs by a recurrence rule. Without ``start`` (naive local time, or DTSTART in the rule) it counts from Monday,
    3 January 2000, midnight."""

    def __init__(
        self,
        rule: str,
        start: dt.datetime | None = None,
        nowfun: Callable[[], dt.datetime] | None = None,
        app: Any = None,
        tz: Any = None,
    ) -> None:
        """``ValueError`` for what is no rule, ``MissingExtra`` without python-dateutil."""
        super().__init__(nowfun, app, tz)
        self.rule, self.start = rule, start
        parse = load("dateutil.rrule", "python-dateutil", "rrule").rrulestr
        try:
            self._rule = parse(rule, dtstart=start or _EPOCH, ignoretz=True)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"{rule!r} is no recurrence rule: {error}") from error

    def following(self, after: dt.datetime) -> dt.datetime | None:
        """The first due time after ``after``, in UTC; None when the rule has ended."""
        zone = self.tz
        after = aware(after, zone).astimezone(UTC)
        wall: dt.datetime | None = after.astimezone(zone).replace(tzinfo=None, fold=0)
        while (wall := self._rule.after(wall)) is not None:
            found = instant(wall, zone)
            if found > after:
                return found
        return None

    def __repr__(self) -> str:
        return f"<rrule: {self.rule}>"

    def __reduce__(self) -> Any:
        return type(self), (self.rule, self.start)

    def __eq__(self, other: object) -> Any:
        if isinstance(other, rrule):
            return (self.rule, self.start) == (other.rule, other.start)
        return NotImplemented

    __hash__ = None
