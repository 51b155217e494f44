"""The grammar of one cron field, and the first wall-clock minute that five fields match.

Owns Celery's grammar (all five fields must match; ranges wrap around; names of days and months by three letters) and
arithmetic over naive local times. It knows no zone: that is ``_zones``. Called by ``crontab``.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Fields", "ParseException", "crontab_parser", "expand", "first_match"]

_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_RANGE = re.compile(r"(\w+)-([\w+]+)(?:/(\d+))?\Z")
_STAR = re.compile(r"\*(?:/(\d+))?\Z")
#: The 29th of February meets each weekday again after at most so many years (28, and 12 more around 2100).
_YEARS = 41


class ParseException(Exception):
    """A cron field that cannot be read."""


class crontab_parser:
    """Reads one field: ``crontab_parser(60).parse("*/15")`` is ``{0, 15, 30, 45}``. Numbers run from ``min_`` and are
    ``max_`` many."""

    ParseException = ParseException

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.max_ = max_
        self.min_ = min_

    def parse(self, spec: str) -> set[int]:
        """The numbers that match. ``ParseException`` for what is no field, ``ValueError`` for numbers out of range."""
        found: set[int] = set()
        for part in spec.split(","):
            part = part.strip()
            if not part:
                raise self.ParseException("empty part")
            found.update(self._part(part))
        return found

    def _part(self, part: str) -> Iterable[int]:
        last = self.max_ + self.min_ - 1
        if star := _STAR.match(part):
            return range(self.min_, last + 1, self._step(star[1], part))
        if spread := _RANGE.match(part):
            begin, end, step = self._number(spread[1]), self._number(spread[2]), self._step(spread[3], part)
            # 22-3 goes on over midnight: 22, 23, 0 ... 3.
            numbers = range(begin, end + 1) if begin <= end else [*range(begin, last + 1), *range(self.min_, end + 1)]
            return numbers[::step]
        if part[0] == "-":
            raise self.ParseException("negative numbers not supported")
        return (self._number(part),)

    def _number(self, text: str) -> int:
        last = self.max_ + self.min_ - 1
        if text.isascii() and text.isdigit():
            number = int(text)
        else:
            names = _MONTHS if self.max_ == 12 else _DAYS if self.max_ == 7 else {}
            known = names.get(text[:3].lower())
            if known is None or not text.isalpha():
                what = {12: "a month", 7: "a weekday"}.get(self.max_, "a number")
                raise ValueError(f"Invalid literal {text!r}: {what} was expected.")
            number = known
        if number > last:
            raise ValueError(f"Invalid end range: {number} > {last}.")
        if number < self.min_:
            raise ValueError(f"Invalid beginning range: {number} < {self.min_}.")
        return number

    def _step(self, text: str | None, part: str) -> int:
        step = 1 if text is None else int(text)
        if not step:
            raise ValueError(f"The step of {part!r} is zero.")
        return step


def expand(spec: Any, max_: int = 60, min_: int = 0) -> set[int]:
    """The numbers that a field means: a number, a text, or an iterable of numbers. Errors as of the parser, and
    ``TypeError``."""
    if isinstance(spec, str):
        return crontab_parser(max_, min_).parse(spec)
    if isinstance(spec, int):
        found = {spec}
    elif isinstance(spec, Iterable):
        found = set(spec)
    else:
        raise TypeError(
            f"Argument cronspec needs to be of any of the following types: int, str, or an iterable type. "
            f"{type(spec)} was given."
        )
    if not found:
        raise ValueError("Invalid crontab pattern: a field without numbers never matches.")
    for number in found:
        if not isinstance(number, int) or not min_ <= number < max_ + min_:
            raise ValueError(f"Invalid crontab pattern. Valid range is {min_}-{max_ + min_ - 1}. {number!r} was found.")
    return found


class Fields(NamedTuple):
    """Five fields, each sorted. Days of the week count from Sunday = 0."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: frozenset[int]

    def possible(self) -> bool:
        """Whether any date matches: the 31st of February does not."""
        longest = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
        return any(self.days[0] <= longest.get(month, 31) for month in self.months)

    @property
    def every_hour(self) -> bool:
        """Whether the line names no hour."""
        return len(self.hours) == 24


def first_match(fields: Fields, start: dt.datetime) -> dt.datetime | None:
    """The first minute at or after the naive time ``start`` that the fields match; None if it lies beyond the
    calendar."""
    if start.second or start.microsecond:
        if start > dt.datetime.max - dt.timedelta(minutes=1):
            return None
        start = start.replace(second=0, microsecond=0) + dt.timedelta(minutes=1)
    if _on(fields, start.date()):
        time = _time(fields, start.hour, start.minute)
        if time is not None:
            return start.replace(hour=time[0], minute=time[1])
    date = _date(fields, start.date())
    return None if date is None else dt.datetime(date.year, date.month, date.day, fields.hours[0], fields.minutes[0])


def _on(fields: Fields, date: dt.date) -> bool:
    return date.month in fields.months and date.day in fields.days and date.isoweekday() % 7 in fields.weekdays


def _time(fields: Fields, hour: int, minute: int) -> tuple[int, int] | None:
    """The first matching time of day at or after this one."""
    for candidate in fields.hours:
        if candidate > hour:
            return candidate, fields.minutes[0]
        if candidate == hour:
            for later in fields.minutes:
                if later >= minute:
                    return candidate, later
    return None


def _date(fields: Fields, after: dt.date) -> dt.date | None:
    """The first matching date after this one."""
    for year in range(after.year, min(after.year + _YEARS, dt.MAXYEAR + 1)):
        for month in fields.months:
            if (year, month) < (after.year, after.month):
                continue
            first, length = calendar.monthrange(year, month)
            for day in fields.days:
                if day > length:
                    break
                # monthrange counts weekdays from Monday = 0; ours from Sunday = 0.
                if (first + day) % 7 in fields.weekdays and (year, month, day) > (after.year, after.month, after.day):
                    return dt.date(year, month, day)
    return None
