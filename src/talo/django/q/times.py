"""When a schedule of Django Q's types runs next.

Owns the arithmetic of its types; days and longer are counted by the wall clock of ``TIME_ZONE``, so what runs at nine
runs at nine in summer, too. Time is an argument. Called by ``models`` and ``scheduler``.
"""

from __future__ import annotations

import calendar
import datetime as dt
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from talo.schedules.crontab import crontab

__all__ = ["following", "valid_cron"]

_SHORT = {"H": dt.timedelta(hours=1)}
_DAYS = {"D": 1, "W": 7, "BW": 14}
_MONTHS = {"M": 1, "BM": 2, "Q": 3, "Y": 12}


def following(kind: str, after: dt.datetime, minutes: int | None, cron: str | None) -> dt.datetime | None:
    """Return the run after ``after``; None if there is none (once)."""
    if kind == "I":
        return after + dt.timedelta(minutes=minutes or 1)
    if kind in _SHORT:
        return after + _SHORT[kind]
    if kind == "C":
        return _cron(after, cron or "")
    if kind in _DAYS:
        return _at_wall(after, lambda wall: wall + dt.timedelta(days=_DAYS[kind]))
    if kind in _MONTHS:
        return _at_wall(after, lambda wall: _months_later(wall, _MONTHS[kind]))
    return None


def valid_cron(text: str) -> None:
    """``ValidationError`` for what is no cron expression."""
    try:
        crontab.from_string(text)
    except ValueError as exc:
        raise ValidationError(f"{text!r} is no cron expression: {exc}") from exc


def _at_wall(after: dt.datetime, move: Any) -> dt.datetime:
    if not timezone.is_aware(after):
        moved: dt.datetime = move(after)
        return moved
    zone = timezone.get_default_timezone()
    wall = move(after.astimezone(zone).replace(tzinfo=None))
    # A time that the wall clock leaves out is moved behind the gap.
    there: dt.datetime = wall.replace(tzinfo=zone)
    return there.astimezone(dt.UTC)


def _months_later(wall: dt.datetime, count: int) -> dt.datetime:
    """The same day, or the last one of a shorter month."""
    years, month = divmod(wall.month - 1 + count, 12)
    year = wall.year + years
    return wall.replace(year=year, month=month + 1, day=min(wall.day, calendar.monthrange(year, month + 1)[1]))


def _cron(after: dt.datetime, text: str) -> dt.datetime | None:
    zone = timezone.get_default_timezone()
    found = crontab.from_string(text, tz=zone).following(
        after if timezone.is_aware(after) else after.replace(tzinfo=zone)
    )
    if found is None or timezone.is_aware(after):
        return found
    return found.astimezone(zone).replace(tzinfo=None)
