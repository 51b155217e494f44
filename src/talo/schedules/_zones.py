"""From wall-clock times to instants, across gaps and overlaps of daylight saving.

Owns the rule: a local time that does not exist stands for the first instant after the gap; one that exists twice for
the first of the two. Called by ``crontab`` and ``interval``.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

__all__ = ["UTC", "as_zone", "aware", "instant", "overlap_end", "second_instant"]

UTC = dt.UTC


@lru_cache(maxsize=256)
def _named(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def as_zone(zone: Any) -> dt.tzinfo:
    """The zone: a name of the IANA database or a tzinfo. ``ValueError`` for an unknown name."""
    # pytz's zones know their name, and cannot be asked about folds.
    name = zone if isinstance(zone, str) else getattr(zone, "zone", None)
    if name is None:
        if isinstance(zone, dt.tzinfo):
            return zone
        raise ValueError(f"{zone!r} is no time zone")
    try:
        return _named(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}") from error


def aware(time: dt.datetime, zone: dt.tzinfo = UTC) -> dt.datetime:
    """The time itself, or if it is naive the time read in ``zone``."""
    return time if time.tzinfo is not None else time.replace(tzinfo=zone)


def instant(wall: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """The instant, in UTC, that a naive local time stands for."""
    found = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) != wall:
        late = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
        return _change(min(found, late), max(found, late), zone)
    return found


def second_instant(wall: dt.datetime, zone: dt.tzinfo) -> dt.datetime | None:
    """The second instant, in UTC, at which clocks show this naive local time; None if there is but one."""
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    # In a gap the order is the other way round.
    return second if second > first else None


def overlap_end(time: dt.datetime, zone: dt.tzinfo) -> dt.datetime | None:
    """When clocks are put back, in UTC, if ``time`` (aware) lies in the first pass of an hour that comes twice."""
    local = time.astimezone(zone)
    if local.fold:
        return None
    second = second_instant(local.replace(tzinfo=None), zone)
    return None if second is None else _change(time.astimezone(UTC), second, zone)


def _change(low: dt.datetime, high: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """The first whole second in (low, high] with the offset of ``high``."""
    target = high.astimezone(zone).utcoffset()
    before, after = int(low.timestamp()), int(high.timestamp())
    while after - before > 1:
        middle = (before + after) // 2
        if dt.datetime.fromtimestamp(middle, zone).utcoffset() == target:
            after = middle
        else:
            before = middle
    return dt.datetime.fromtimestamp(after, UTC)
