"""What options may be given: types of parameters that several commands share.

Owns reading a text as JSON, a moment, names, a log level. A wrong one is click's usage error, exit code 2. Called by
click for the commands."""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import click

__all__ = [
    "DURATION",
    "JSON_ARRAY",
    "JSON_OBJECT",
    "LOG_LEVEL",
    "MOMENT",
    "MOMENT_OR_SECONDS",
    "NAMES",
    "PAST",
    "SLOTS",
    "umask_of",
]

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # older versions of click have no parameter for it
    _ParamType = click.ParamType


class _Json(_ParamType):
    """JSON of one shape."""

    def __init__(self, kind: type[Any], name: str, example: str) -> None:
        self.kind = kind
        self.name = name
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, self.kind):
            return value
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError as error:
            self.fail(
                f"{value!r} is not JSON: {error.msg} at character {error.pos + 1}; write e.g. '{self._example}'",
                param,
                ctx,
            )
        if not isinstance(parsed, self.kind):
            self.fail(f"{value!r} is not a {self.name}; write e.g. '{self._example}'", param, ctx)
        return parsed


class _Moment(_ParamType):
    """An ISO 8601 time as a datetime; where seconds are allowed, a number of them."""

    name = "ISO 8601 time"

    def __init__(self, seconds: bool = False) -> None:
        self._seconds = seconds

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, dt.datetime | int | float):
            return value
        if self._seconds:
            try:
                return float(value)
            except ValueError:
                pass
        try:
            return dt.datetime.fromisoformat(value)
        except ValueError:
            more = "a number of seconds, or a" if self._seconds else "an"
            self.fail(f"{value!r} is not {more} ISO 8601 time such as 2030-12-31T23:59:00+01:00", param, ctx)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


class _Past(_ParamType):
    """A moment as epoch seconds: an ISO 8601 time (local if it names no zone), or an age such as 15m."""

    name = "time or age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, int | float):
            return float(value)
        number, unit = value[:-1], value[-1:].lower()
        if unit in _UNITS and number.replace(".", "", 1).isdigit():
            return time.time() - float(number) * _UNITS[unit]
        try:
            return dt.datetime.fromisoformat(value).timestamp()
        except ValueError:
            self.fail(f"{value!r} is neither a time such as 2026-01-31T12:00 nor an age such as 15m", param, ctx)


class _Duration(_ParamType):
    """Seconds: a number of them, or one with a unit such as 15m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        number, unit = (value[:-1], value[-1:].lower()) if value[-1:].isalpha() else (value, "s")
        if unit not in _UNITS or not number.replace(".", "", 1).isdigit():
            self.fail(f"{value!r} is neither a number of seconds nor a duration such as 15m", param, ctx)
        return float(number) * _UNITS[unit]


class _Names(_ParamType):
    """Names between commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in value.split(",") if name.strip())
        if not names:
            self.fail("names between commas are expected", param, ctx)
        return names


class _LogLevel(_ParamType):
    """The name of a level in any case, or its number."""

    name = "level"
    LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if value.isdigit():
            return int(value)
        if value.upper() not in self.LEVELS:
            self.fail(f"{value!r} is not one of {', '.join(self.LEVELS)}", param, ctx)
        return logging.getLevelNamesMapping()[value.upper()]


class _Slots(_ParamType):
    """A number of tasks at a time; ``auto`` (0) is as many as fit the machine."""

    name = "integer or auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if value.lower() == "auto":
            return 0
        if not value.isdigit():
            self.fail(f"{value!r} is neither a whole number nor 'auto'", param, ctx)
        return int(value)


JSON_ARRAY = _Json(list, "JSON array", "[1, 2]")
JSON_OBJECT = _Json(dict, "JSON object", '{"x": 1}')
MOMENT = _Moment()
MOMENT_OR_SECONDS = _Moment(seconds=True)
DURATION = _Duration()
NAMES = _Names()
PAST = _Past()
LOG_LEVEL = _LogLevel()
SLOTS = _Slots()


def umask_of(value: str | int | None) -> int | None:
    """Return the file mask that an option or setting says; text is octal. ``BadParameter`` for what is none."""
    if value is None:
        return None
    try:
        mask = int(value, 8) if isinstance(value, str) else value
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        raise click.BadParameter(f"umask {value!r} is not an octal number such as 022")
    return mask
