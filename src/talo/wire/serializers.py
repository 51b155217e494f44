"""The registry of codecs: how arguments and results become bytes and back, by name or by content type.

Owns json, msgpack, yaml, pickle, raw and text, and what users register. Whether a content type may be *read* is not
decided here: readers pass the set of content types that the app accepts (``protocol.decode``, ``results``).
Errors of any codec are ``EncodeError`` and ``DecodeError``; an optional package is ``MissingExtra`` on first use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from talo.errors import DecodeError, EncodeError, ImproperlyConfigured, WireError
from talo.wire import _json
from talo.wire._json import register_type
from talo.wire._optional_codecs import pickle_dumps, pickle_loads, yaml_dumps, yaml_loads

__all__ = ["JSON", "SIGNED", "Codec", "accept", "get", "register", "register_type", "unregister"]


class Codec(msgspec.Struct, frozen=True):
    """One way to write values. The text of an ``EncodeError`` begins with the place in the value (``$[0].x``)."""

    name: str
    content_type: str
    content_encoding: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]


#: The content type of what ``signing`` adds to the registry.
SIGNED = "application/data"

_by_name: dict[str, Codec] = {}
_by_type: dict[str, Codec] = {}


def register(
    name: str,
    encoder: Callable[[Any], bytes | str],
    decoder: Callable[[bytes], Any],
    content_type: str,
    content_encoding: str = "utf-8",
) -> Codec:
    """Add a codec, or replace the one of that name; return it.

    ``decoder`` gets bytes. What they raise becomes ``EncodeError`` and ``DecodeError``; text becomes UTF-8.
    """
    return _add(Codec(name, content_type, content_encoding, _writer(name, encoder), _reader(name, decoder)))


def unregister(name: str) -> None:
    """Forget a codec. ``ImproperlyConfigured`` if there is none of that name."""
    codec = get(name)
    del _by_name[codec.name]
    if _by_type.get(codec.content_type) is codec:
        del _by_type[codec.content_type]


def get(name: str | Codec) -> Codec:
    """Return a codec by its name or content type, or as it is. ``ImproperlyConfigured`` if there is none."""
    if isinstance(name, Codec):
        return name
    codec = _by_name.get(name) or _by_type.get(name)
    if codec is None:
        raise ImproperlyConfigured(f"no serializer {name!r}; known are {', '.join(sorted(_by_name))}")
    return codec


def accept(names: Iterable[str]) -> frozenset[str]:
    """Return the content types that these names (or content types) stand for, as readers take them.

    ``ImproperlyConfigured`` for an unknown one.
    """
    return frozenset(get(name).content_type for name in names)


def _add(codec: Codec) -> Codec:
    _by_name[codec.name] = codec
    _by_type[codec.content_type] = codec
    return codec


def _writer(name: str, encoder: Callable[[Any], bytes | str]) -> Callable[[Any], bytes]:
    def dumps(value: Any) -> bytes:
        try:
            data = encoder(value)
        except (WireError, ImproperlyConfigured):
            raise
        except Exception as exc:
            raise EncodeError(f"$: cannot be written as {name}: {type(exc).__name__}: {exc}") from exc
        return data.encode() if isinstance(data, str) else data

    return dumps


def _reader(name: str, decoder: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def loads(data: bytes) -> Any:
        try:
            return decoder(data)
        except (WireError, ImproperlyConfigured):
            raise
        except Exception as exc:
            raise DecodeError(f"not {name}: {type(exc).__name__}: {exc}") from exc

    return loads


# --- msgpack ----------------------------------------------------------------------------------------------------------

_pack = msgspec.msgpack.Encoder().encode


def _msgpack_dumps(value: Any) -> bytes:
    return _pack(value if _json.plain(value) else _msgpackable(value, "$"))


def _msgpackable(value: Any, path: str) -> Any:
    """Reduce subclasses to msgpack's types; refuse what kombu's reader would not know."""
    if value is None or isinstance(value, bool | str | bytes | bytearray | float):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str | bytes):
                raise EncodeError(f"{path}: key of type {type(key).__name__}; msgpack readers take text and bytes only")
        return {key: _msgpackable(item, f"{path}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_msgpackable(item, f"{path}[{index}]") for index, item in enumerate(value)]
    raise EncodeError(f"{path}: object of type {type(value).__name__} cannot be written as msgpack; pass plain data")


def _refuse_extension(code: int, _data: memoryview) -> Any:
    raise DecodeError(f"unknown msgpack extension type {code}")


_unpack = msgspec.msgpack.Decoder(ext_hook=_refuse_extension).decode


# --- raw and text -----------------------------------------------------------------------------------------------------


def _raw_dumps(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise EncodeError(f"$: the raw serializer takes bytes, not {type(value).__name__}")
    return bytes(value)


def _text_dumps(value: Any) -> str:
    if not isinstance(value, str):
        raise EncodeError(f"$: the text serializer takes str, not {type(value).__name__}")
    return value


#: The default. Written out rather than registered, so that its calls carry no wrapper.
JSON = _add(Codec("json", "application/json", "utf-8", _json.dumps, _json.loads))
register("msgpack", _msgpack_dumps, _unpack, "application/x-msgpack", "binary")
register("yaml", yaml_dumps, yaml_loads, "application/x-yaml")
register("pickle", pickle_dumps, pickle_loads, "application/x-python-serialize", "binary")
register("raw", _raw_dumps, bytes, "application/data", "binary")
register("text", _text_dumps, bytes.decode, "text/plain")
