"""``celery.utils.time``: moments, durations and zones, as schedulers of others compute with them.

Owns functions without state. Times are aware where they can be.
"""

from __future__ import annotations

import datetime as dt
import random
from typing import Any
from zoneinfo import ZoneInfo

__all__ = [
    "LocalTimezone",
    "adjust_timestamp",
    "delta_resolution",
    "ffwd",
    "get_exponential_backoff_interval",
    "humanize_seconds",
    "is_naive",
    "localize",
    "make_aware",
    "maybe_iso8601",
    "maybe_make_aware",
    "maybe_s_to_ms",
    "maybe_timedelta",
    "rate",
    "remaining",
    "timezone",
    "to_utc",
    "utcoffset",
    "weekday",
]

_RATE = {"s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def _local() -> dt.tzinfo:
    return dt.datetime.now().astimezone().tzinfo or dt.UTC


LocalTimezone = _local


class _Timezones:
    """The zones that code asks for: ``utc``, ``local``, and conversions between them."""

    utc = dt.UTC

    @property
    def local(self) -> dt.tzinfo:
        return _local()

    def get_timezone(self, zone: Any) -> dt.tzinfo:
        if isinstance(zone, str):
            return dt.UTC if zone.upper() == "UTC" else ZoneInfo(zone)
        found: dt.tzinfo = zone
        return found

    def tz_or_local(self, tzinfo: Any = None) -> dt.tzinfo:
        return self.local if tzinfo is None else self.get_timezone(tzinfo)

    def to_local(self, when: dt.datetime, local: Any = None, orig: Any = None) -> dt.datetime:
        return make_aware(when, orig or self.utc).astimezone(self.tz_or_local(local))

    def to_system(self, when: dt.datetime) -> dt.datetime:
        return when.astimezone()

    def to_local_fallback(self, when: dt.datetime) -> dt.datetime:
        return make_aware(when, self.local)


timezone = _Timezones()


def is_naive(when: dt.datetime) -> bool:
    """Whether it has no zone."""
    return when.tzinfo is None or when.utcoffset() is None


def make_aware(when: dt.datetime, tz: Any) -> dt.datetime:
    """The time in a zone; a naive one is read in it."""
    zone = timezone.get_timezone(tz)
    return when.replace(tzinfo=zone) if is_naive(when) else when


def maybe_make_aware(when: Any, tz: Any = None, naive_as_utc: bool = True) -> Any:
    """An aware time as it is, a naive one read as UTC and brought to ``tz``."""
    if is_naive(when):
        zone = timezone.get_timezone(tz or dt.UTC)
        return make_aware(when, dt.UTC).astimezone(zone) if naive_as_utc else make_aware(when, zone)
    return when


def localize(when: dt.datetime, tz: Any) -> dt.datetime:
    """The time in another zone."""
    return make_aware(when, dt.UTC).astimezone(timezone.get_timezone(tz))


def to_utc(when: dt.datetime) -> dt.datetime:
    """A naive time as UTC."""
    return make_aware(when, dt.UTC)


def maybe_iso8601(value: Any) -> Any:
    """The time that a text says; times as they are."""
    if not value or isinstance(value, dt.datetime):
        return value or None
    return dt.datetime.fromisoformat(value)


def maybe_timedelta(delta: Any) -> Any:
    """Seconds as a duration; durations as they are."""
    return dt.timedelta(seconds=delta) if isinstance(delta, int | float) else delta


def delta_resolution(when: dt.datetime, delta: dt.timedelta) -> dt.datetime:
    """The time, rounded down to the largest unit of the duration."""
    seconds = max(delta.total_seconds(), 0)
    if seconds > 86400:
        return when.replace(hour=0, minute=0, second=0, microsecond=0)
    if seconds > 3600:
        return when.replace(minute=0, second=0, microsecond=0)
    return when.replace(second=0, microsecond=0) if seconds > 60 else when


def remaining(start: dt.datetime, ends_in: dt.timedelta, now: dt.datetime | None = None, relative: bool = False) -> Any:
    """How long until ``start + ends_in``."""
    now = now or dt.datetime.now(dt.UTC)
    end = start + ends_in
    if relative:
        end = delta_resolution(end, ends_in)
    return end - now


def rate(value: Any) -> float:
    """Tasks per second of ``10/m``."""
    if isinstance(value, str):
        number, _, unit = value.partition("/")
        return float(number) / _RATE[unit or "s"]
    return float(value or 0)


def weekday(name: str) -> int:
    """0 for Sunday to 6 for Saturday."""
    days = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
    abbreviation = name[:3].lower()
    if abbreviation not in days:
        raise KeyError(name)
    return days.index(abbreviation)


def humanize_seconds(secs: Any, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False) -> str:
    """Seconds in words: ``2.00 minutes``."""
    secs = float(f"{float(secs):.2f}")
    for size, unit in _UNITS:
        if secs >= size:
            amount = secs / size
            return f"{prefix}{sep}{amount:.2f} {unit}{'' if amount == 1 else 's'}"
    return f"{prefix}{sep}{secs:.2f} seconds" if microseconds and secs > 0 else now


def utcoffset(*_args: Any, **_kwargs: Any) -> int:
    """Hours that local time is behind UTC."""
    offset = dt.datetime.now().astimezone().utcoffset() or dt.timedelta()
    return -int(offset.total_seconds() // 3600)


def adjust_timestamp(ts: float, offset: int, here: Any = utcoffset) -> float:
    """A timestamp of a place ``offset`` hours behind UTC, as one of here."""
    return float(ts - (offset - here()) * 3600)


def get_exponential_backoff_interval(factor: int, retries: int, maximum: int, full_jitter: bool = False) -> int:
    """Seconds to wait before a try."""
    countdown = min(maximum, factor * (2**retries))
    return max(0, random.randrange(countdown + 1) if full_jitter else countdown)


def maybe_s_to_ms(v: Any) -> Any:
    """Seconds as milliseconds."""
    return int(float(v) * 1000.0) if v is not None else v


class ffwd:
    """A relative step to a time of day, as crontab remainders are told."""

    def __init__(self, **fields: Any) -> None:
        self.fields = {key: value for key, value in fields.items() if value is not None}

    def __radd__(self, other: dt.datetime) -> dt.datetime:
        fields = dict(self.fields)
        days = fields.pop("days", 0)
        fields.pop("weeks", 0)
        return other.replace(**{k: v for k, v in fields.items() if k in _REPLACEABLE}) + dt.timedelta(days=days)

    __add__ = __radd__


_REPLACEABLE = ("year", "month", "day", "hour", "minute", "second", "microsecond")
