"""Compression has kombu's names and formats, and bounds what comes out."""

from __future__ import annotations

import bz2
import lzma
import zlib

import brotli
import pytest
import zstandard

from talo.errors import DecodeError, ImproperlyConfigured
from talo.wire import compress, decompress

ALIASES = {
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
READERS = {
    "application/x-gzip": zlib.decompress,
    "application/x-bz2": bz2.decompress,
    "application/x-lzma": lzma.decompress,
    "application/x-brotli": brotli.decompress,
    "application/zstd": zstandard.decompress,
}
DATA = b"what is said often packs well. " * 1000


@pytest.mark.parametrize(("alias", "kind"), ALIASES.items())
def test_an_alias_stands_for_a_header_value_and_a_format(alias: str, kind: str) -> None:
    # When
    packed, header = compress(DATA, alias)
    # Then
    assert header == kind
    assert READERS[kind](packed) == DATA
    assert decompress(packed, kind) == decompress(packed, alias) == DATA


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 4000])
def test_anything_survives(kind: str, data: bytes) -> None:
    assert decompress(compress(data, kind)[0], kind) == data


@pytest.mark.parametrize("kind", READERS)
def test_output_beyond_the_limit_is_refused(kind: str) -> None:
    packed, _ = compress(DATA, kind)
    assert decompress(packed, kind, limit=len(DATA)) == DATA
    for limit in (0, 10, len(DATA) - 1):
        with pytest.raises(DecodeError, match=f"more than {limit} bytes"):
            decompress(packed, kind, limit=limit)


@pytest.mark.parametrize("kind", READERS)
def test_corrupt_data_is_refused(kind: str) -> None:
    packed, _ = compress(DATA, kind)
    for bad in (b"", packed[:10], packed[:-3], b"junk" + packed):
        with pytest.raises(DecodeError, match=r"^corrupt "):
            decompress(bad, kind)


def test_a_zstd_stream_without_its_size_is_read() -> None:
    # Given
    stream = zstandard.ZstdCompressor().compressobj()
    packed = stream.compress(DATA) + stream.flush()
    # Then
    assert decompress(packed, "zstd") == DATA


def test_an_unknown_compression_is_an_error_that_lists_the_known() -> None:
    for call in (lambda: compress(b"", "zap"), lambda: decompress(b"", "application/x-zap")):
        with pytest.raises(ImproperlyConfigured, match=r"known are brotli, bzip"):
            call()
