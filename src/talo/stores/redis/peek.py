"""Whether a stored result is the end of its task.

Owns looking at the status of an encoded result without decoding the rest; reading results is ``wire.results``'s.
Called by ``results`` and ``listener``.
"""

from __future__ import annotations

import re

import msgspec

from talo.errors import TaloError
from talo.states import READY_STATES
from talo.wire.compression import decompress

__all__ = ["is_ready"]


class _Status(msgspec.Struct):
    status: str


_json = msgspec.json.Decoder(_Status).decode
_msgpack = msgspec.msgpack.Decoder(_Status).decode

#: Celery's mark in front of a compressed result: it, the content type, a NUL, the bytes.
_COMPRESSED = b"\0celery-compressed\0"
#: Formats that are not read here, because reading them may run code (pickle) or needs a library (yaml), show the state
#: as plain text.
_SHOWN = re.compile(rb"status.{1,16}?([A-Z]{3,})", re.DOTALL)


def is_ready(payload: bytes) -> bool:
    """Whether the task has ended. A payload that shows no status counts as ended: whoever reads it finds out."""
    if payload.startswith(_COMPRESSED):
        kind, _, packed = payload[len(_COMPRESSED) :].partition(b"\0")
        try:
            payload = decompress(packed, kind.decode("ascii", "replace"))
        except TaloError:
            return True
    for decode in (_json, _msgpack):
        try:
            return decode(payload).status in READY_STATES
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    shown = _SHOWN.search(payload)
    return shown is None or shown[1].decode() in READY_STATES
