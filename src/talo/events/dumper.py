"""Events as lines of text. Used by ``talo events --dump``."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

__all__ = ["Dumper"]

_COMMON = ("type", "hostname", "timestamp", "uuid", "clock", "pid", "utcoffset", "local_received", "name")
#: Names of tasks that are remembered, since most events carry the id only.
_MOST_NAMES = 4096


class Dumper:
    """Turns events into lines. Control characters of foreign text are escaped: a line stays a line."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, str] = OrderedDict()

    def line(self, event: Mapping[str, Any]) -> str:
        """Return one line: node, time, what, which task, and what else the event says."""
        uuid = event.get("uuid")
        if isinstance(uuid, str) and isinstance(event.get("name"), str):
            self._names[uuid] = event["name"]
            while len(self._names) > _MOST_NAMES:
                self._names.popitem(last=False)
        what = str(event.get("type"))
        subject = f"{self._names.get(uuid, '?')}({uuid}) " if isinstance(uuid, str) else ""
        rest = " ".join(f"{key}={value!r}" for key, value in event.items() if key not in _COMMON and value is not None)
        return _printable(f"{event.get('hostname')} [{_time(event.get('timestamp'))}] {what}: {subject}{rest}".rstrip())


def _time(value: Any) -> str:
    try:
        return dt.datetime.fromtimestamp(float(value)).astimezone().isoformat(sep=" ", timespec="milliseconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return "?"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
