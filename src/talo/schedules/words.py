"""Schedules in plain language: ``at 07:30 on weekdays`` for ``30 7 * * 1-5``.

Owns the wording, for people only; the one-line forms that can be read back are ``text``'s. Called by the dashboard and
the command line."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from talo.schedules.base import BaseSchedule
from talo.schedules.clocked import clocked
from talo.schedules.crontab import crontab
from talo.schedules.interval import schedule
from talo.schedules.solar import solar
from talo.schedules.text import describe
from talo.util.text import count, words

__all__ = ["in_words"]

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS, _WEEKEND = frozenset(range(1, 6)), frozenset({0, 6})
#: Times of day that are named one by one; of more the hours and minutes are told apart.
_MOST_TIMES = 4


def in_words(given: BaseSchedule) -> str:
    """Return when a schedule is due, in a few words. What has no words of its own is described as in tables."""
    if isinstance(given, crontab):
        return _cron(given)
    if isinstance(given, schedule):
        return f"every {_span(given.seconds)}"
    if isinstance(given, clocked):
        return f"once, at {given.clocked_time:%Y-%m-%d %H:%M:%S %Z}".rstrip()
    if isinstance(given, solar):
        return f"at {given.event.replace('_', ' ')} at {given.lat:g}, {given.lon:g}"
    return describe(given)


def _span(seconds: float) -> str:
    for noun, length in (("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length and seconds % length == 0:
            return noun if seconds == length else count(int(seconds // length), noun)
    return "second" if seconds == 1 else f"{seconds:g} seconds"


def _cron(given: Any) -> str:
    parts = [_time(given.minute, given.hour)]
    month_days, week_days = _set(given.day_of_month, 31), _set(given.day_of_week, 7)
    if week_days is not None:
        parts.append(_week(week_days))
    if month_days is not None:
        parts.append(
            ("and " if week_days is not None else "") + f"on the {words([_nth(d) for d in month_days], 'and')}"
        )
    months = _set(given.month_of_year, 12)
    if months is not None:
        parts.append(f"in {words([_MONTHS[month - 1] for month in months], 'and')}")
    return " ".join(parts)


def _set(numbers: Collection[int], size: int) -> list[int] | None:
    """The numbers in order; None if it is all of them."""
    return None if len(numbers) == size else sorted(numbers)


def _time(minutes: Collection[int], hours: Collection[int]) -> str:
    every_minute, every_hour = len(minutes) == 60, len(hours) == 24
    if every_minute:
        return "every minute" if every_hour else f"every minute {_during(sorted(hours))}"
    step = _step(sorted(minutes), 60)
    if every_hour:
        if step:
            return f"every {step} minutes"
        first = sorted(minutes)
        return "every hour" if first == [0] else f"every hour at {words([f':{m:02d}' for m in first], 'and')}"
    if step and len(minutes) > 1:
        return f"every {step} minutes {_during(sorted(hours))}"
    hour_step = _step(sorted(hours), 24)
    if hour_step and len(hours) > 1 and len(minutes) == 1:
        [minute] = minutes
        return f"every {hour_step} hours" + (f" at :{minute:02d}" if minute else "")
    times = [f"{hour:02d}:{minute:02d}" for hour in sorted(hours) for minute in sorted(minutes)]
    if len(times) <= _MOST_TIMES:
        return f"at {words(times, 'and')}"
    return f"at {words([f':{m:02d}' for m in sorted(minutes)], 'and')} {_during(sorted(hours))}"


def _during(hours: list[int]) -> str:
    if hours == list(range(hours[0], hours[-1] + 1)):
        return f"from {hours[0]:02d}:00 to {hours[-1]:02d}:59"
    return f"in the hours {words([f'{hour:02d}' for hour in hours], 'and')}"


def _step(numbers: list[int], size: int) -> int | None:
    """The step of ``*/n``; None for anything else."""
    if len(numbers) < 2 or numbers[0] != 0:
        return None
    step = numbers[1]
    return step if numbers == list(range(0, size, step)) else None


def _week(days: list[int]) -> str:
    if frozenset(days) == _WEEKDAYS:
        return "on weekdays"
    if frozenset(days) == _WEEKEND:
        return "on weekends"
    ordered = sorted(days, key=lambda day: day or 7)
    return f"on {words([_DAYS[day] for day in ordered], 'and')}"


def _nth(day: int) -> str:
    ending = "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"
