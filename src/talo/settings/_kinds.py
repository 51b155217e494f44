"""The types of settings: what each accepts and what comes out.

Owns checking and converting of single values, from code as well as from text (environment, command line). It knows no
setting by name; ``options`` picks a kind for each, ``load`` turns a mismatch into a line that names setting and value.
"""

from __future__ import annotations

import datetime as dt
import json
import zoneinfo
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from talo.util.text import words
from talo.wire.queues import as_queue

__all__ = [
    "ANY",
    "BOOL",
    "DELIVERY_MODE",
    "DICT",
    "FLOAT",
    "INT",
    "PATH",
    "QUEUES",
    "RULES",
    "SECONDS",
    "STR",
    "STRS",
    "URL",
    "ZONE",
    "Kind",
    "choice",
    "either",
    "maybe",
    "seconds_from",
]

_TRUE = frozenset({"1", "true", "yes", "on", "t", "y"})
_FALSE = frozenset({"0", "false", "no", "off", "f", "n"})
_NOTHING = frozenset({"", "none", "null"})
_SUFFIXES = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


class Kind(msgspec.Struct, frozen=True):
    """A type of setting. ``convert`` returns the value to keep, or raises ValueError or TypeError; it is idempotent."""

    #: What is expected, in words.
    label: str
    #: The type of the kept value, as it stands in source.
    annotation: str
    convert: Callable[[Any], Any]


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
    raise ValueError


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or (isinstance(value, float) and value % 1):
        raise ValueError
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    return float(value)


def _seconds(value: Any) -> float:
    seconds = _as_seconds(value)
    if not seconds >= 0:
        raise ValueError
    return seconds


def _as_seconds(value: Any) -> float:
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        text = value.strip().lower()
        for suffix in ("ms", "s", "m", "h", "d"):
            if text.endswith(suffix):
                return float(text.removesuffix(suffix)) * _SUFFIXES[suffix]
    return _float(value)


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _strs(value: Any) -> list[str] | tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)
    if isinstance(value, set | frozenset):
        value = tuple(sorted(value))
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TypeError
    # The caller's own object is kept: an application may go on appending to its list.
    return value


def _dict(value: Any) -> Any:
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, Mapping):
        raise TypeError
    return value


def _seconds_by_name(value: Any) -> dict[str, float | None]:
    """Seconds for each of several names; None: for ever."""
    return {_str(name): None if seconds is None else _seconds(seconds) for name, seconds in _dict(value).items()}


def _zone(value: Any) -> Any:
    if isinstance(value, str):
        try:
            zoneinfo.ZoneInfo(value)
        except (KeyError, OSError) as error:
            raise ValueError from error
    elif not isinstance(value, dt.tzinfo):
        raise TypeError
    return value


def _delivery_mode(value: Any) -> int:
    modes = {1: 1, "1": 1, "transient": 1, 2: 2, "2": 2, "persistent": 2}
    if isinstance(value, bool) or value not in modes:
        raise ValueError
    return modes[value]


def _url(value: Any) -> str:
    if isinstance(value, list | tuple) and value:
        return ";".join(_str(item) for item in value)
    return _str(value)


def _path(value: Any) -> Any:
    if isinstance(value, str) or callable(value):
        return value
    raise TypeError


def _queues(value: Any) -> Any:
    if isinstance(value, Mapping):
        for name, options in value.items():
            as_queue({**options, "name": name} if isinstance(options, Mapping) else options)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            as_queue(item)
    elif isinstance(value, str):
        return _strs(value)
    else:
        raise TypeError
    return value


def _rules(value: Any) -> Any:
    if isinstance(value, str | Mapping | list | tuple) or callable(value) or hasattr(value, "route_for_task"):
        return value
    if hasattr(value, "annotate"):
        return value
    raise TypeError


BOOL = Kind("true or false", "bool", _bool)
INT = Kind("a whole number", "int", _int)
FLOAT = Kind("a number", "float", _float)
_TIMES = "(a number, a timedelta, or text like '90s', '5m', '1h', '2d')"
SECONDS = Kind(f"seconds {_TIMES}", "float", _seconds)
STR = Kind("text", "str", _str)
STRS = Kind("a list of texts", "Sequence[str]", _strs)
DICT = Kind("a dictionary", "dict[str, Any]", _dict)
SECONDS_BY_NAME = Kind("a dictionary of seconds", "dict[str, float | None]", _seconds_by_name)
URL = Kind("a URL", "str", _url)
PATH = Kind("a callable or the dotted path of one", "Any", _path)
QUEUES = Kind("a list of queues (Queue objects or names) or a dictionary of them", "Any", _queues)
RULES = Kind("a dictionary, a list, a callable or the dotted path of one", "Any", _rules)
ZONE = Kind("the name of an IANA time zone, or a tzinfo", "Any", _zone)
DELIVERY_MODE = Kind("1 (transient) or 2 (persistent)", "int", _delivery_mode)
ANY = Kind("anything", "Any", lambda value: value)


def seconds_from(least: float) -> Kind:
    """Return a kind that accepts no fewer seconds than these."""

    def convert(value: Any) -> float:
        seconds = _seconds(value)
        if seconds < least:
            raise ValueError
        return seconds

    return Kind(f"seconds, at least {least:g} {_TIMES}", "float", convert)


def maybe(kind: Kind) -> Kind:
    """Return a kind that accepts None beside what ``kind`` accepts."""
    text_is_value = kind.annotation in ("str", "Any")

    def convert(value: Any) -> Any:
        if value is None or (isinstance(value, str) and not text_is_value and value.strip().lower() in _NOTHING):
            return None
        return kind.convert(value)

    annotation = kind.annotation if kind.annotation == "Any" else f"{kind.annotation} | None"
    return Kind(f"{kind.label}, or None", annotation, convert)


def choice(*allowed: str | int) -> Kind:
    """Return a kind that accepts these values only."""

    def convert(value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError
        for item in allowed:
            if value == item or str(value).lower() == str(item).lower():
                return item
        raise ValueError

    names = sorted({type(item).__name__ for item in allowed})
    return Kind(words([repr(item) for item in allowed]), " | ".join(names), convert)


def either(*kinds: Kind) -> Kind:
    """Return a kind that accepts what the first fitting one of ``kinds`` accepts."""

    def convert(value: Any) -> Any:
        for kind in kinds:
            try:
                return kind.convert(value)
            except (TypeError, ValueError):
                continue
        raise ValueError

    parts = dict.fromkeys(part for kind in kinds for part in kind.annotation.split(" | "))
    return Kind(words([kind.label for kind in kinds]), "Any" if "Any" in parts else " | ".join(parts), convert)
