"""Schedules as data and as people write them.

Owns the JSON form in which a store keeps a schedule, and the one-line form of the command line (``*/5 * * * *``,
``every 30s``, ``at 2027-01-01T09:00``, ``sunset 60.17 24.94``, ``rrule FREQ=DAILY``). Called by ``beat`` and
``control.schedules``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from talo.schedules.base import BaseSchedule
from talo.schedules.bounded import between
from talo.schedules.clocked import clocked
from talo.schedules.crontab import crontab
from talo.schedules.interval import schedule
from talo.schedules.recurrence import rrule
from talo.schedules.solar import _EVENTS, solar

__all__ = ["describe", "from_data", "from_text", "to_data", "to_text"]

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?)?\Z")
_SIZES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def to_data(given: BaseSchedule) -> dict[str, Any] | None:
    """The schedule as JSON-able data; None for a class of somebody else's, which data cannot stand for."""
    kind = type(given)
    data: dict[str, Any]
    if kind is crontab:
        assert isinstance(given, crontab)
        fields = (given._orig_minute, given._orig_hour, given._orig_day_of_month, given._orig_month_of_year)
        data = {"cron": " ".join(_field(field) for field in (*fields, given._orig_day_of_week))}
    elif kind is schedule:
        assert isinstance(given, schedule)
        data = {"every": given.seconds, **({"relative": True} if given.relative else {})}
    elif kind is clocked:
        assert isinstance(given, clocked)
        data = {"at": given.clocked_time.isoformat()}
    elif kind is solar:
        assert isinstance(given, solar)
        data = {"solar": given.event, "lat": given.lat, "lon": given.lon}
    elif kind is rrule:
        assert isinstance(given, rrule)
        data = {"rrule": given.rule, **({"start": given.start.isoformat()} if given.start else {})}
    elif kind is between:
        assert isinstance(given, between)
        inner = to_data(given.inner)
        bounds = (("from", given.start), ("until", given.end))
        return None if inner is None else inner | {name: at.isoformat() for name, at in bounds if at is not None}
    else:
        return None
    if given._tz is not None:
        name = getattr(given._tz, "key", None) or str(given._tz)
        data["tz"] = name
    return data


def from_data(data: Mapping[str, Any], app: Any = None) -> BaseSchedule:
    """The schedule that ``to_data`` described. ``ValueError`` for what is none."""
    tz = data.get("tz")
    if "from" in data or "until" in data:
        inner = {name: value for name, value in data.items() if name not in ("from", "until")}
        start, end = (dt.datetime.fromisoformat(data[name]) if name in data else None for name in ("from", "until"))
        return between(from_data(inner, app), start, end, app=app)
    if "cron" in data:
        return crontab.from_string(data["cron"], app=app, tz=tz)
    if "every" in data:
        return schedule(data["every"], bool(data.get("relative")), app=app, tz=tz)
    if "at" in data:
        return clocked(dt.datetime.fromisoformat(data["at"]), app=app, tz=tz)
    if "solar" in data:
        return solar(data["solar"], data["lat"], data["lon"], app=app, tz=tz)
    if "rrule" in data:
        start = data.get("start")
        return rrule(data["rrule"], dt.datetime.fromisoformat(start) if start else None, app=app, tz=tz)
    raise ValueError(f"{dict(data)!r} is no schedule that Talo knows")


def from_text(text: str, app: Any = None, tz: Any = None) -> BaseSchedule:
    """The schedule that a line means. ``ValueError`` or ``ParseException`` for what is none."""
    text = text.strip()
    word, _, rest = text.partition(" ")
    word = word.lower()
    if word in _EVENTS:
        try:
            lat, lon = (float(part) for part in rest.replace(",", " ").split())
        except ValueError:
            raise ValueError(f"{text!r}: write the event, the latitude and the longitude") from None
        return solar(word, lat, lon, app=app, tz=tz)
    if word == "rrule" or text.upper().startswith(("FREQ=", "RRULE:", "DTSTART")):
        return rrule(rest.strip() if word == "rrule" else text, app=app, tz=tz)
    if word == "at":
        return clocked(dt.datetime.fromisoformat(rest.strip()), app=app, tz=tz)
    span = _SPAN.match(rest.strip() if word == "every" else text)
    if span:
        return schedule(float(span[1]) * _SIZES[(span[2] or "s")[0]], app=app, tz=tz)
    return crontab.from_string(text, app=app, tz=tz)


def to_text(data: Mapping[str, Any] | None) -> str:
    """The line that means a schedule, from its data; empty where no line does."""
    data = data or {}
    if "from" in data or "until" in data:
        return ""
    if "cron" in data:
        return str(data["cron"])
    if "every" in data:
        return f"every {data['every']:g}s"
    if "at" in data:
        return f"at {data['at']}"
    if "solar" in data:
        return f"{data['solar']} {data['lat']} {data['lon']}"
    return f"rrule {data['rrule']}" if "rrule" in data else ""


def describe(given: Any) -> str:
    """A schedule in a few words, for tables and logs."""
    if isinstance(given, crontab):
        line = repr(given)[len("<crontab: ") : -len(" (m/h/dM/MY/d)>")]
        return f"{line} ({given._tz})" if given._tz is not None else line
    if isinstance(given, schedule):
        return f"every {given.human_seconds}"
    if isinstance(given, between):
        bounds = ((" from", given.start), (" until", given.end))
        return describe(given.inner) + "".join(f"{word} {at:%Y-%m-%d %H:%M}" for word, at in bounds if at is not None)
    return str(given).strip("<>")


def _field(field: Any) -> str:
    return (
        field.replace(" ", "")
        if isinstance(field, str)
        else (str(field) if isinstance(field, int) else ",".join(str(number) for number in sorted(field)))
    )
