"""Text for people: lists in words, shortened values, durations.

Owns small pure functions; nothing here knows what it is talking about. Called wherever a line is written for a reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["count", "duration", "shorten", "storable", "words"]

_UNITS = (("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0))


def words(items: Sequence[str], last: str = "or") -> str:
    """Return ``a, b or c``; ``last`` is the word before the last item."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def count(number: int, noun: str) -> str:
    """Return ``1 setting`` or ``3 settings``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shorten(text: str, limit: int = 80) -> str:
    """Return ``text``, or its beginning and three dots, in no more than ``limit`` characters."""
    return text if len(text) <= limit else text[: max(0, limit - 3)] + "..."


def storable(value: Any, limit: int) -> str:
    """Return a text that every store takes: bounded, without NULs and halves of surrogate pairs. What is no text
    becomes an empty one."""
    if not isinstance(value, str):
        return ""
    text = value[:limit].replace("\0", "\\0")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def duration(seconds: float) -> str:
    """Return ``1 day``, ``90 minutes`` or ``0.2 s``: whole units where they come out even, seconds otherwise."""
    for noun, length in _UNITS:
        if seconds >= length and seconds % length == 0:
            return count(int(seconds // length), noun)
    return f"{seconds:g} s"
