"""Compression of bodies and results: names, header values and formats as kombu has them, with a bound on the output.

Owns the formats. Note that what the field calls gzip is a zlib stream. brotli and zstd are optional packages.
Decompressing stops at a limit, because a few kilobytes can unpack to gigabytes. Called by ``protocol`` and ``results``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from talo.errors import DecodeError, ImproperlyConfigured
from talo.util.optional import load

__all__ = ["MAX_OUTPUT", "compress", "content_type", "decompress"]

#: Bytes that a body may unpack to. Far above any sensible task, far below a worker's memory.
MAX_OUTPUT = 256 * 1024 * 1024


class _Format(msgspec.Struct, frozen=True):
    """``unpack(data, limit)`` returns up to ``limit`` bytes and whether the stream ended there."""

    pack: Callable[[bytes], bytes]
    unpack: Callable[[bytes, int], tuple[bytes, bool]]


def content_type(name: str) -> str:
    """Return the header value for an alias (``gzip``) or header value. ``ImproperlyConfigured`` if unknown."""
    value = _ALIASES.get(name, name)
    if value not in _FORMATS:
        raise ImproperlyConfigured(f"no compression {name[:80]!r}; known are {', '.join(sorted(_ALIASES))}")
    return value


def compress(data: bytes, name: str) -> tuple[bytes, str]:
    """Return the compressed bytes and the header value. Errors: ``ImproperlyConfigured``, ``MissingExtra``."""
    kind = content_type(name)
    return _FORMATS[kind].pack(data), kind


def decompress(data: bytes, name: str, limit: int = MAX_OUTPUT) -> bytes:
    """Return the original bytes.

    ``DecodeError`` when the data is corrupt, ends early, or unpacks to more than ``limit`` bytes; for a format that is
    unknown ``ImproperlyConfigured``, for one whose package is missing ``MissingExtra``.
    """
    kind = content_type(name)
    try:
        out, ended = _FORMATS[kind].unpack(data, limit + 1)
    except ImproperlyConfigured:
        raise
    except Exception as exc:
        raise DecodeError(f"corrupt {kind}: {type(exc).__name__}: {exc}") from exc
    if len(out) > limit:
        raise DecodeError(f"{kind} unpacks to more than {limit} bytes")
    if not ended:
        raise DecodeError(f"corrupt {kind}: ends too early")
    return out


def _zlib_unpack(data: bytes, limit: int) -> tuple[bytes, bool]:
    stream = zlib.decompressobj()
    return stream.decompress(data, limit), stream.eof


def _bz2() -> Any:
    return load("bz2")


def _lzma() -> Any:
    return load("lzma")


def _brotli() -> Any:
    return load("brotli", "brotli", "brotli")


def _zstd() -> Any:
    return load("zstandard", "zstandard", "zstd")


def _bz2_unpack(data: bytes, limit: int) -> tuple[bytes, bool]:
    stream = _bz2().BZ2Decompressor()
    return stream.decompress(data, limit), stream.eof


def _lzma_unpack(data: bytes, limit: int) -> tuple[bytes, bool]:
    # The dictionary that a stream asks for is memory too.
    stream = _lzma().LZMADecompressor(memlimit=MAX_OUTPUT)
    return stream.decompress(data, limit), stream.eof


def _brotli_unpack(data: bytes, limit: int) -> tuple[bytes, bool]:
    stream = _brotli().Decompressor()
    out = bytearray(stream.process(data, output_buffer_limit=limit))
    # It returns short of its limit, as its own buffers fill; an empty step says that the input is used up.
    while len(out) < limit and (more := stream.process(b"", output_buffer_limit=limit - len(out))):
        out += more
    return bytes(out), stream.is_finished()


def _zstd_unpack(data: bytes, limit: int) -> tuple[bytes, bool]:
    zstandard = _zstd()
    size = zstandard.frame_content_size(data)
    with zstandard.ZstdDecompressor(max_window_size=MAX_OUTPUT // 2).stream_reader(data) as stream:
        out: bytes = stream.read(limit)
    # A frame need not say its size; then a cut one is left to the codec, which finds half a document.
    return out, size in (len(out), -1)


_FORMATS: dict[str, _Format] = {
    "application/x-gzip": _Format(zlib.compress, _zlib_unpack),
    "application/x-bz2": _Format(lambda data: _bz2().compress(data), _bz2_unpack),
    "application/x-lzma": _Format(lambda data: _lzma().compress(data), _lzma_unpack),
    "application/x-brotli": _Format(lambda data: _brotli().compress(data), _brotli_unpack),
    "application/zstd": _Format(lambda data: _zstd().ZstdCompressor().compress(data), _zstd_unpack),
}

_ALIASES = {
    "gzip": "application/x-gzip",
    "zlib": "application/x-gzip",
    "bzip2": "application/x-bz2",
    "bzip": "application/x-bz2",
    "lzma": "application/x-lzma",
    "xz": "application/x-lzma",
    "brotli": "application/x-brotli",
    "zstd": "application/zstd",
    "zstandard": "application/zstd",
}
