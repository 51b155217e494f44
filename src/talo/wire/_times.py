"""Times on the wire: ISO 8601 text on one side, epoch seconds on the other.

Reading is as lenient as Celery's receivers are; writing is always aware and in UTC. Called by ``protocol`` and
``results``.
"""

from __future__ import annotations

import datetime as dt
import re

__all__ = ["Moment", "epoch_of", "iso", "parse_iso"]

#: A point in time as callers give it: epoch seconds, or a datetime.
Moment = float | dt.datetime

_YEAR_MONTH = re.compile(r"\d{4}(-\d{2})?")
_ORDINAL = re.compile(r"(\d{4})-?(\d{3})(?!\d)(.*)")
_MIDNIGHT = re.compile(r"(.*[T ])24(?=$|[:0Z+-])(.*)")


def iso(epoch: float) -> str:
    """Return epoch seconds as aware ISO text in UTC. ``ValueError`` or ``OverflowError`` beyond the years 1 to 9999."""
    return dt.datetime.fromtimestamp(epoch, dt.UTC).isoformat()


def epoch_of(moment: Moment, tz: dt.tzinfo) -> float:
    """Return epoch seconds; a naive datetime is read in ``tz``."""
    if isinstance(moment, dt.datetime):
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=tz)).timestamp()
    return float(moment)


def parse_iso(text: str, tz: dt.tzinfo) -> float:
    """Return epoch seconds of any ISO 8601 form, read in ``tz`` if it has no offset. ``ValueError`` if it is none."""
    try:
        return epoch_of(_parse(text), tz)
    except OverflowError as exc:
        raise ValueError(str(exc)) from exc


def _parse(text: str) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        # What the standard allows and the library does not know: a bare year or month, a day of the year, 24 o'clock.
        if _YEAR_MONTH.fullmatch(text):
            return dt.datetime.fromisoformat(f"{text}-01" if "-" in text else f"{text}-01-01")
        if match := _ORDINAL.fullmatch(text):
            year, day, rest = match.groups()
            date = dt.date(int(year), 1, 1) + dt.timedelta(days=int(day) - 1)
            if date.year == int(year):
                return dt.datetime.fromisoformat(date.isoformat() + rest)
        if match := _MIDNIGHT.fullmatch(text):
            midnight = dt.datetime.fromisoformat(f"{match[1]}00{match[2]}")
            if midnight.time() == dt.time():
                return midnight + dt.timedelta(days=1)
        raise
