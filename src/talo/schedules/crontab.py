"""Cron lines: ``crontab``, with Celery's grammar and Celery's order of arguments.

Owns the schedule; the grammar is ``_cron``'s, daylight saving ``_zones``'. The rule (``docs/howto/schedules.md``): a
time that does not exist runs at the first instant after the gap, once; a time that comes twice runs the first time,
and a line that names no hour runs both times, because it counts hours instead of naming one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

from talo.schedules._cron import Fields, expand, first_match
from talo.schedules._zones import UTC, aware, instant, overlap_end, second_instant
from talo.schedules.base import BaseSchedule, schedstate

__all__ = ["crontab"]

_MINUTE = dt.timedelta(minutes=1)

Cronspec = int | str | Iterable[int]


class crontab(BaseSchedule):
    """Runs at every minute that all five fields match. The attributes ``minute``, ``hour``, ``day_of_week``,
    ``day_of_month`` and ``month_of_year`` are the sets of numbers that match."""

    def __init__(
        self,
        minute: Cronspec = "*",
        hour: Cronspec = "*",
        day_of_week: Cronspec = "*",
        day_of_month: Cronspec = "*",
        month_of_year: Cronspec = "*",
        nowfun: Callable[[], dt.datetime] | None = None,
        app: Any = None,
        tz: Any = None,
    ) -> None:
        """``ParseException``, ``ValueError`` or ``TypeError`` for what is no cron line or can never occur."""
        super().__init__(nowfun, app, tz)
        self._orig_minute = _kept(minute)
        self._orig_hour = _kept(hour)
        self._orig_day_of_week = _kept(day_of_week)
        self._orig_day_of_month = _kept(day_of_month)
        self._orig_month_of_year = _kept(month_of_year)
        self.minute = expand(self._orig_minute, 60)
        self.hour = expand(self._orig_hour, 24)
        self.day_of_week = expand(self._orig_day_of_week, 7)
        self.day_of_month = expand(self._orig_day_of_month, 31, 1)
        self.month_of_year = expand(self._orig_month_of_year, 12, 1)
        self._fields: Fields | None = None
        if not self.fields.possible():
            raise ValueError(
                f"Invalid crontab: day_of_month {day_of_month!r} never occurs in month_of_year {month_of_year!r}."
            )

    @classmethod
    def from_string(cls, crontab: str, **options: Any) -> crontab:
        """Read ``minute hour day-of-month month-of-year day-of-week``."""
        parts = crontab.split()
        if len(parts) != 5:
            raise ValueError(
                f"a cron line has 5 fields (minute hour day-of-month month day-of-week), {crontab!r} has {len(parts)}"
            )
        minute, hour, day_of_month, month_of_year, day_of_week = parts
        return cls(minute, hour, day_of_week, day_of_month, month_of_year, **options)

    @property
    def fields(self) -> Fields:
        """The five sets, ready for counting."""
        if self._fields is None:
            self._fields = Fields(
                tuple(sorted(self.minute)),
                tuple(sorted(self.hour)),
                tuple(sorted(self.day_of_month)),
                tuple(sorted(self.month_of_year)),
                frozenset(self.day_of_week),
            )
        return self._fields

    def following(self, after: dt.datetime) -> dt.datetime | None:
        """The first due time after ``after``, in UTC. A function of the fields, the zone and ``after`` alone."""
        zone = self.tz
        after = aware(after, zone).astimezone(UTC)
        fields = self.fields
        local = after.astimezone(zone)
        wall = first_match(fields, _just_after(local.replace(tzinfo=None, fold=0)))
        # Walls only grow, and so do their instants: the first instant after ``after`` is the next one.
        found = None
        while wall is not None:
            found = instant(wall, zone)
            if found > after:
                break
            wall = first_match(fields, wall + _MINUTE)
        if wall is None:
            found = None
        again = self._second_pass(after, local, zone) if fields.every_hour else None
        return again if again is not None and (found is None or again < found) else found

    def _second_pass(self, after: dt.datetime, local: dt.datetime, zone: dt.tzinfo) -> dt.datetime | None:
        """The next match in the second pass of an hour that comes twice, if ``after`` lies in either pass."""
        wall = local.replace(tzinfo=None, fold=0)
        if second_instant(wall, zone) is None:
            return None
        if local.fold:
            start: dt.datetime | None = _just_after(wall)
        else:
            end = overlap_end(after, zone)
            start = end.astimezone(zone).replace(tzinfo=None, fold=0) if end is not None else None
        match = first_match(self.fields, start) if start is not None else None
        return second_instant(match, zone) if match is not None else None

    def remaining_delta(
        self, last_run_at: dt.datetime, tz: dt.tzinfo | None = None, ffwd: Any = None
    ) -> tuple[dt.datetime, dt.timedelta, dt.datetime]:
        """(``last_run_at``, how long after it the next run is due, now), all local."""
        del ffwd  # taken for compatibility
        zone = tz or self.tz
        last = aware(last_run_at, self.tz).astimezone(zone)
        due = self.following(last)
        delta = dt.timedelta.max if due is None else due - last.astimezone(UTC)
        return last, delta, aware(self.now(), self.tz).astimezone(zone)

    def is_due(self, last_run_at: dt.datetime) -> schedstate:
        """As of every schedule; a run that is later than the setting ``beat_cron_starting_deadline`` is not due."""
        state = super().is_due(last_run_at)
        deadline = self.app.conf.beat_cron_starting_deadline if self.app is not None else None
        if state.is_due and deadline is not None:
            now = aware(self.now(), self.tz)
            begin = max(aware(last_run_at, self.tz), now - dt.timedelta(seconds=deadline))
            due = self.following(begin)
            return schedstate(due is not None and due <= now, state.next)
        return state

    def __repr__(self) -> str:
        line = " ".join(
            str(field).replace(" ", "") if isinstance(field, str) else str(field)
            for field in (
                self._orig_minute,
                self._orig_hour,
                self._orig_day_of_month,
                self._orig_month_of_year,
                self._orig_day_of_week,
            )
        )
        return f"<crontab: {line} (m/h/dM/MY/d)>"

    def __reduce__(self) -> Any:
        state = {} if self._tz is None else {"_tz": self._tz}
        return (
            type(self),
            (
                self._orig_minute,
                self._orig_hour,
                self._orig_day_of_week,
                self._orig_day_of_month,
                self._orig_month_of_year,
            ),
            state,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __eq__(self, other: object) -> Any:
        if isinstance(other, crontab):
            return other.fields == self.fields and other._tz == self._tz and super().__eq__(other)
        return NotImplemented

    __hash__ = None


def _kept(spec: Any) -> Any:
    """The field as it was given; an iterator is read once."""
    return (
        spec
        if isinstance(spec, int | str | list | tuple | set | frozenset | range)
        else (sorted(spec) if isinstance(spec, Iterable) else spec)
    )


def _just_after(wall: dt.datetime) -> dt.datetime:
    return wall + dt.timedelta(microseconds=1) if wall < dt.datetime.max else wall
