"""Values on their way through messages and rows: JSON where it gives them back as they were, else a signed pickle.

Owns the form. Django Q takes any value that can be pickled; a pickle is opened only if this project's ``SECRET_KEY``
signed it. Called by ``tasks``, ``runs`` and ``models``.
"""

from __future__ import annotations

import json
import pickle
from typing import Any

from django.core import signing

from talo.errors import DecodeError, EncodeError

__all__ = ["Pickles", "pack", "unpack"]

_SALT = "talo.django.q"
#: What a pickle begins with; no JSON does.
_MARK = "!"


class Pickles:
    """The serializer that Django's signing asks for."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        return pickle.dumps(value)

    @staticmethod
    def loads(data: bytes) -> Any:
        return pickle.loads(data)


def pack(value: Any) -> str:
    """Return the value as text. ``EncodeError`` for what cannot be pickled."""
    try:
        text = json.dumps(value)
        if _same(json.loads(text), value):
            return text
    except (TypeError, ValueError, RecursionError):
        # Not JSON's.
        text = ""
    try:
        return _MARK + signing.dumps(value, salt=_SALT, serializer=Pickles)
    except (pickle.PicklingError, TypeError, AttributeError) as exc:
        raise EncodeError(f"{type(value).__name__} can be sent neither as JSON nor as a pickle: {exc}") from exc


def unpack(text: str) -> Any:
    """Return the value. ``DecodeError`` for a pickle that this project has not signed."""
    if not text.startswith(_MARK):
        return json.loads(text)
    try:
        return signing.loads(text[len(_MARK) :], salt=_SALT, serializer=Pickles)
    except signing.BadSignature as exc:
        raise DecodeError("a pickle that was not signed with this project's SECRET_KEY is not opened") from exc


def _same(one: Any, two: Any) -> bool:
    """Equal, and of the same types all the way down: no tuple has become a list."""
    if type(one) is not type(two):
        return False
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(_same, one, two))
    return bool(one == two)
