"""AMQP 0-9-1 on the wire: frames, field tables, basic properties.

Owns bytes only, by the published specification and RabbitMQ's list of field types; no socket and no state. Text and
bytes are written as long strings, as Celery's client does, and read as text where they are UTF-8. Called by
``connection`` for everything, by ``letters`` for task messages.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from talo.errors import EncodeError

__all__ = [
    "BODY",
    "HEADER",
    "HEARTBEAT",
    "METHOD",
    "content",
    "method",
    "properties",
    "read_properties",
    "read_short",
    "read_table",
    "short",
    "table",
    "value",
]

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
_END: Final = b"\xce"
HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"

_FRAME = struct.Struct(">BHI")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_I32 = struct.Struct(">i")
_I64 = struct.Struct(">q")
_F64 = struct.Struct(">d")
_CONTENT_HEAD = struct.Struct(">HHQ")
_BASIC: Final = 60
#: What is repeated in every message: names of headers as they are written.
_KEYS: dict[str, bytes] = {}
_MOST_KEYS = 10_000

#: Basic properties in the order of their bits, and whether each is a short string ('s'), a table ('t'), an octet ('o')
#: or a timestamp ('T').
PROPERTIES: Final = (
    ("content_type", 15, "s"),
    ("content_encoding", 14, "s"),
    ("headers", 13, "t"),
    ("delivery_mode", 12, "o"),
    ("priority", 11, "o"),
    ("correlation_id", 10, "s"),
    ("reply_to", 9, "s"),
    ("expiration", 8, "s"),
    ("message_id", 7, "s"),
    ("timestamp", 6, "T"),
    ("type", 5, "s"),
    ("user_id", 4, "s"),
    ("app_id", 3, "s"),
    ("cluster_id", 2, "s"),
)


# -- writing ----------------------------------------------------------------------------------------------------------


def short(text: str) -> bytes:
    """A short string. ``EncodeError`` above 255 bytes."""
    data = text.encode("utf-8", "surrogateescape")
    if len(data) > 255:
        raise EncodeError(f"AMQP takes names of at most 255 bytes, not {len(data)}: {text[:40]}...")
    return bytes((len(data),)) + data


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogateescape")
    return b"S" + _U32.pack(len(data)) + data


def _integer(value: int) -> bytes:
    if -0x80000000 <= value <= 0x7FFFFFFF:
        return b"I" + _I32.pack(value)
    if -(1 << 63) <= value < 1 << 63:
        return b"l" + _I64.pack(value)
    raise EncodeError(f"AMQP headers hold integers of 64 bits, not {value}")


def _decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    number = int("".join(map(str, digits)) or "0")
    if not isinstance(exponent, int) or not -255 <= exponent <= 0 or number > 0x7FFFFFFF:
        raise EncodeError(f"AMQP headers cannot hold the decimal {value}")
    return b"D" + bytes((-exponent,)) + _I32.pack(-number if sign else number)


def _array(values: list[Any] | tuple[Any, ...]) -> bytes:
    data = b"".join([value(each) for each in values])
    return b"A" + _U32.pack(len(data)) + data


_WRITERS: dict[type, Callable[[Any], bytes]] = {
    str: _text,
    bytes: lambda data: b"S" + _U32.pack(len(data)) + data,
    bool: lambda value: b"t\x01" if value else b"t\x00",
    int: _integer,
    float: lambda value: b"d" + _F64.pack(value),
    type(None): lambda _: b"V",
    list: _array,
    tuple: _array,
    dict: lambda value: b"F" + table(value),
    Decimal: _decimal,
    dt.datetime: lambda value: b"T" + _U64.pack(int(value.timestamp())),
}


def value(of: Any) -> bytes:
    """The value of a field, with its type. ``EncodeError`` for what AMQP has no type for."""
    writer = _WRITERS.get(type(of))
    if writer is None:
        writer = next((known for kind, known in _WRITERS.items() if isinstance(of, kind)), None)
        if writer is None:
            raise EncodeError(f"AMQP headers cannot hold a {type(of).__name__}: {of!r}")
    return writer(of)


def table(fields: Mapping[str, Any]) -> bytes:
    """A field table with its length. ``EncodeError`` as of ``value``."""
    parts = []
    for name, field in fields.items():
        key = _KEYS.get(name)
        if key is None:
            key = short(name)
            if len(_KEYS) < _MOST_KEYS:
                _KEYS[name] = key
        parts.append(key)
        writer = _WRITERS.get(type(field))
        parts.append(writer(field) if writer is not None else value(field))
    data = b"".join(parts)
    return _U32.pack(len(data)) + data


def method(channel: int, class_id: int, method_id: int, arguments: bytes = b"") -> bytes:
    """A method frame."""
    return b"%b%b%b%b" % (
        _FRAME.pack(METHOD, channel, len(arguments) + 4),
        _U32.pack(class_id << 16 | method_id),
        arguments,
        _END,
    )


def properties(fields: Mapping[str, Any]) -> bytes:
    """Basic properties, by name, as they stand in the header of a content."""
    flags = 0
    parts = []
    for name, bit, kind in PROPERTIES:
        value = fields.get(name)
        if value is None:
            continue
        flags |= 1 << bit
        if kind == "s":
            parts.append(short(str(value)))
        elif kind == "t":
            parts.append(table(value))
        elif kind == "o":
            parts.append(bytes((min(255, max(0, int(value))),)))
        else:
            parts.append(_U64.pack(int(value.timestamp() if isinstance(value, dt.datetime) else value)))
    return b"".join((_U16.pack(flags), *parts))


def content(channel: int, properties: bytes, body: bytes, frame_max: int) -> bytes:
    """The frames behind a publish: the header with these properties, and the body in pieces."""
    size = len(body)
    head = b"%b%b%b%b" % (
        _FRAME.pack(HEADER, channel, len(properties) + 12),
        _CONTENT_HEAD.pack(_BASIC, 0, size),
        properties,
        _END,
    )
    room = frame_max - 8
    if size <= room:
        return b"%b%b%b%b" % (head, _FRAME.pack(BODY, channel, size), body, _END) if size else head
    pieces = [head]
    for at in range(0, size, room):
        piece = body[at : at + room]
        pieces += (_FRAME.pack(BODY, channel, len(piece)), piece, _END)
    return b"".join(pieces)


# -- reading ----------------------------------------------------------------------------------------------------------


def read_short(data: bytes, at: int) -> tuple[str, int]:
    """A short string and where it ends."""
    end = at + 1 + data[at]
    return data[at + 1 : end].decode("utf-8", "surrogateescape"), end


def _read_text(data: bytes, at: int) -> tuple[Any, int]:
    end = at + 4 + _U32.unpack_from(data, at)[0]
    raw = data[at + 4 : end]
    try:
        return raw.decode(), end
    except UnicodeDecodeError:
        return raw, end


def _read_array(data: bytes, at: int) -> tuple[list[Any], int]:
    end = at + 4 + _U32.unpack_from(data, at)[0]
    at += 4
    values = []
    while at < end:
        value, at = _READERS[data[at]](data, at + 1)
        values.append(value)
    return values, end


def _fixed(form: struct.Struct) -> Callable[[bytes, int], tuple[Any, int]]:
    return lambda data, at: (form.unpack_from(data, at)[0], at + form.size)


def _read_decimal(data: bytes, at: int) -> tuple[Decimal, int]:
    return Decimal(_I32.unpack_from(data, at + 1)[0]).scaleb(-data[at]), at + 5


def _read_raw(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 4 + _U32.unpack_from(data, at)[0]
    return data[at + 4 : end], end


def _read_time(data: bytes, at: int) -> tuple[Any, int]:
    seconds = _U64.unpack_from(data, at)[0]
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC), at + 8
    except (ValueError, OverflowError, OSError):
        return seconds, at + 8


def read_table(data: bytes, at: int) -> tuple[dict[str, Any], int]:
    """A field table and where it ends."""
    end = at + 4 + _U32.unpack_from(data, at)[0]
    at += 4
    fields: dict[str, Any] = {}
    while at < end:
        stop = at + 1 + data[at]
        name = data[at + 1 : stop].decode("utf-8", "surrogateescape")
        fields[name], at = _READERS[data[stop]](data, stop + 1)
    return fields, end


_READERS: dict[int, Callable[[bytes, int], tuple[Any, int]]] = {
    ord("S"): _read_text,
    ord("I"): _fixed(_I32),
    ord("l"): _fixed(_I64),
    ord("L"): _fixed(_I64),
    ord("d"): _fixed(_F64),
    ord("f"): _fixed(struct.Struct(">f")),
    ord("t"): lambda data, at: (data[at] != 0, at + 1),
    ord("V"): lambda _, at: (None, at),
    ord("A"): _read_array,
    ord("F"): read_table,
    ord("x"): _read_raw,
    ord("D"): _read_decimal,
    ord("T"): _read_time,
    ord("b"): _fixed(struct.Struct(">b")),
    ord("B"): _fixed(struct.Struct(">B")),
    ord("s"): _fixed(struct.Struct(">h")),
    ord("u"): _fixed(struct.Struct(">H")),
    ord("i"): _fixed(_U32),
}


def read_properties(payload: bytes) -> dict[str, Any]:
    """The properties in the payload of a header frame."""
    (flags,) = _U16.unpack_from(payload, 12)
    at = 14
    found: dict[str, Any] = {}
    for name, bit, kind in PROPERTIES:
        if not flags >> bit & 1:
            continue
        if kind == "s":
            found[name], at = read_short(payload, at)
        elif kind == "t":
            found[name], at = read_table(payload, at)
        elif kind == "o":
            found[name] = payload[at]
            at += 1
        else:
            (found[name],) = _U64.unpack_from(payload, at)
            at += 8
    return found
