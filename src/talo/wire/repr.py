"""A ``repr`` that cannot hurt: bounded in length, depth and time, whatever the object.

Used for what people read (``argsrepr``, ``kwargsrepr``, log lines, events), never for what is read back. Long texts are
cut before they are quoted, containers walked only as far as there is room, and a ``__repr__`` that raises is described.
"""

from __future__ import annotations

from typing import Any

from talo.wire.sealed import Sealed

__all__ = ["saferepr"]

_NUMBERS = frozenset({int, float, bool, type(None)})
#: Longest text for which a container is simply handed to ``repr``.
_SHORT = 120


def saferepr(value: Any, maxlen: int = 1024, maxlevels: int = 3) -> str:
    """Return ``repr(value)`` cut to ``maxlen`` characters; containers below ``maxlevels`` become ``...``."""
    text = _quick(value)
    if text is None:
        writer = _Writer(maxlen, maxlevels)
        writer.write(value, 0)
        text = "".join(writer.parts)
    return text if len(text) <= maxlen else text[: max(maxlen - 3, 0)] + "..."


def _quick(value: Any) -> str | None:
    """Arguments are mostly short, flat containers of plain values, and for them the builtin ``repr`` is safe."""
    kind = type(value)
    if kind is dict:
        if len(value) > 8 or any(type(key) is not str or len(key) > _SHORT for key in value):
            return None
        items = value.values()
    elif (kind is tuple or kind is list) and len(value) <= 16:
        items = value
    else:
        return None
    for item in items:
        kind = type(item)
        if kind is str:
            if len(item) > _SHORT:
                return None
        elif kind not in _NUMBERS or (kind is int and item.bit_length() > 512):
            return None
    return repr(value)


class _Writer:
    """Collects pieces of text until there is no room."""

    __slots__ = ("maxlevels", "parts", "room")

    def __init__(self, room: int, maxlevels: int) -> None:
        self.parts: list[str] = []
        self.room = room
        self.maxlevels = maxlevels

    def put(self, text: str) -> None:
        self.parts.append(text)
        self.room -= len(text)

    def write(self, value: Any, level: int) -> None:
        kind = type(value)
        if kind is dict:
            self._between("{", "}", value, level)
        elif kind is list:
            self._between("[", "]", value, level)
        elif kind is tuple:
            self._between("(", ",)" if len(value) == 1 else ")", value, level)
        elif (kind is set or kind is frozenset) and value:
            self._between("{" if kind is set else "frozenset({", "}" if kind is set else "})", value, level)
        elif isinstance(value, str | bytes | bytearray) and len(value) > self.room and kind is not Sealed:
            # Cut before quoting: a megabyte of text costs no more than what is shown of it.
            self.put(repr(value[: max(self.room, 0) + 1]))
        elif kind is int and value.bit_length() > 8192:
            self.put(f"<int of {value.bit_length()} bits>")
        else:
            self.put(_described(value))

    def _between(self, opening: str, closing: str, value: Any, level: int) -> None:
        self.put(opening)
        if level >= self.maxlevels and value:
            self.put("...")
        else:
            self._items(value, level)
        self.put(closing)

    def _items(self, value: Any, level: int) -> None:
        first = True
        for item in value:
            if self.room < 0:
                return
            if not first:
                self.put(", ")
            first = False
            self.write(item, level + 1)
            if type(value) is dict:
                self.put(": ")
                self.write(value[item], level + 1)


def _described(value: Any) -> str:
    try:
        return repr(value)
    except Exception as exc:  # noqa: BLE001  a stranger's __repr__; the text is for people and must not cost the task
        return f"<{type(value).__qualname__}: its repr raised {type(exc).__name__}>"
