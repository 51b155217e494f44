"""JSON as kombu writes and reads it, at msgspec's speed where that makes no difference.

Owns the ``__type__``/``__value__`` extension types and the rules of what may be written. Two paths: values of plain
types go through msgspec; all else (extension types, ``NaN``, odd keys, subclasses, lone surrogates) goes through the
standard library with hooks, whose rules are kombu's. msgspec alone would write a datetime as text and ``NaN`` as null.
Called by ``serializers`` and ``envelope``. Data can call nothing but the registered decoder of an extension type.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from talo.errors import DecodeError, EncodeError

__all__ = ["dumps", "loads", "plain", "register_type"]

_SCALARS = frozenset({str, int, bool, type(None)})
_TEXT = frozenset({str})

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def plain(value: Any) -> bool:
    """Whether the value consists of exact, finite JSON types alone, so that any encoder writes it alike."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is dict:
        if not _TEXT.issuperset(map(type, value)):
            return False
        value = value.values()
    elif kind is float:
        # Infinities and NaN are the only floats whose difference with themselves is not zero.
        return bool(value - value == 0.0)
    elif kind is not list and kind is not tuple:
        return False
    # Scalars are settled here, without a call; this loop is most of the cost of sending small arguments.
    for item in value:  # noqa: SIM110  all() with a generator costs twice as much
        if type(item) not in _SCALARS and not plain(item):
            return False
    return True


def dumps(value: Any) -> bytes:
    """Return JSON text in UTF-8. ``EncodeError`` names the place (``$[1].user``), the type and the mend."""
    try:
        if plain(value):
            return _encode(value)
    except (ValueError, RecursionError):
        pass  # Lone surrogates, endless integers, great depth: for the standard library to judge.
    try:
        return _encoder.encode(value).encode()
    except Exception as exc:  # The hooks of the values may raise anything.
        raise _explain(value, exc) from exc


def loads(data: bytes) -> Any:
    """Return the value of JSON text, extension types revived. Errors: ``DecodeError``."""
    if b"__type__" not in data:
        try:
            return _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # It may still be what Python's own writer writes: NaN, Infinity, lone surrogates.
        except RecursionError as exc:
            raise DecodeError("nested too deeply") from exc
    try:
        return _decoder.decode(bytes(data).decode())
    except RecursionError as exc:
        raise DecodeError("nested too deeply") from exc
    except ValueError as exc:
        raise DecodeError(f"not JSON: {exc}") from exc


# --- extension types --------------------------------------------------------------------------------------------------


class _Extension(NamedTuple):
    cls: type
    name: str
    encode: Callable[[Any], Any]


_extensions: list[_Extension] = []
_revivers: dict[str, Callable[[Any], Any]] = {}


def register_type(cls: type, name: str, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> None:
    """Write ``cls`` and its subclasses as ``{"__type__": name, "__value__": encode(obj)}``; read them with ``decode``.

    A class or a name registered again takes the place of the former. A subclass goes before its bases, whichever came
    first.
    """
    _extensions[:] = [extension for extension in _extensions if extension.cls is not cls]
    at = next((i for i, other in enumerate(_extensions) if issubclass(cls, other.cls)), len(_extensions))
    _extensions.insert(at, _Extension(cls, name, encode))
    _revivers[name] = decode


class _NoForm(TypeError):
    """Nothing stands for objects of this type."""


def _default(value: Any) -> Any:
    """What stands for a value that is no JSON type."""
    own = getattr(value, "__json__", None)
    if own is not None:
        return own()
    if hasattr(type(value), "_proxy____cast"):  # Django's lazy texts, without importing Django to find out.
        return str(value)
    if isinstance(value, bytes):
        return _bytes(value)
    for cls, name, encode in _extensions:
        if isinstance(value, cls):
            return {"__type__": name, "__value__": encode(value)}
    raise _NoForm(type(value))


def _bytes(value: bytes) -> dict[str, str]:
    try:
        return {"__type__": "bytes", "__value__": value.decode()}
    except UnicodeDecodeError:
        return {"__type__": "base64", "__value__": base64.b64encode(value).decode()}


def _revive(value: dict[str, Any]) -> Any:
    """Turn a decoded object into what it stands for: itself, or an extension type."""
    if len(value) != 2 or "__type__" not in value or "__value__" not in value:
        return value
    name = value["__type__"]
    reviver = _revivers.get(name) if isinstance(name, str) else None
    if reviver is None:
        raise DecodeError(f"unknown __type__ {str(name)[:80]!r}")
    try:
        return reviver(value["__value__"])
    except RecursionError:
        raise
    except Exception as exc:
        raise DecodeError(f"unreadable {name}: {type(exc).__name__}: {exc}") from exc


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value


register_type(dt.date, "date", dt.date.isoformat, lambda v: dt.date.fromisoformat(_text(v)))
register_type(dt.datetime, "datetime", dt.datetime.isoformat, lambda v: dt.datetime.fromisoformat(_text(v)))
register_type(dt.time, "time", dt.time.isoformat, lambda v: dt.time.fromisoformat(_text(v)))
register_type(decimal.Decimal, "decimal", str, lambda v: decimal.Decimal(_text(v)))
register_type(uuid.UUID, "uuid", lambda u: {"hex": u.hex}, lambda v: uuid.UUID(hex=_text(v["hex"])))
_revivers["bytes"] = lambda v: _text(v).encode()
_revivers["base64"] = lambda v: base64.b64decode(_text(v), validate=True)

_encoder = json.JSONEncoder(default=_default, separators=(",", ":"))
_decoder = json.JSONDecoder(object_hook=_revive)


# --- explaining what cannot be written --------------------------------------------------------------------------------

_MEND = "pass plain data (an id instead of the object), or give its class a __json__() method"


def _explain(value: Any, cause: Exception) -> EncodeError:
    """Find the first thing that cannot be written; the encoder's own words say neither where it is nor what to do."""
    try:
        fault = next(_faults(value, "$", ()), None)
    except RecursionError:
        fault = "$: nested too deeply"
    return EncodeError(fault or f"$: {cause}")


def _faults(value: Any, path: str, above: tuple[int, ...]) -> Iterator[str]:
    if value is None or isinstance(value, str | int | float):
        if isinstance(value, int) and value.bit_length() > 8192:
            yield f"{path}: an integer of {value.bit_length()} bits is too long for JSON"
    elif id(value) in above:
        yield f"{path}: refers to itself"
    elif isinstance(value, dict):
        for key, item in value.items():
            if key is not None and not isinstance(key, str | int | float):
                yield f"{path}: key of type {_name(type(key))}; keys must be text, numbers, true, false or null"
            yield from _faults(item, path + _step(key), (*above, id(value)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _faults(item, f"{path}[{index}]", (*above, id(value)))
    else:
        try:
            stand_in = _default(value)
        except _NoForm:
            yield f"{path}: object of type {_name(type(value))} cannot be written as JSON; {_MEND}"
        except Exception as exc:  # noqa: BLE001  a stranger's hook; here it is only described
            yield f"{path}: writing an object of type {_name(type(value))} raised {type(exc).__name__}: {exc}"
        else:
            yield from _faults(stand_in, path, (*above, id(value)))


def _step(key: Any) -> str:
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"


def _name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
