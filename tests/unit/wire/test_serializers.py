"""The registry of codecs, and the codecs that are not JSON."""

from __future__ import annotations

import collections
import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from talo.errors import DecodeError, EncodeError, ImproperlyConfigured, MissingExtra
from talo.util.optional import load
from talo.wire import serializers


@pytest.mark.parametrize(
    ("name", "content_type", "encoding"),
    [
        ("json", "application/json", "utf-8"),
        ("yaml", "application/x-yaml", "utf-8"),
        ("msgpack", "application/x-msgpack", "binary"),
        ("pickle", "application/x-python-serialize", "binary"),
        ("raw", "application/data", "binary"),
        ("text", "text/plain", "utf-8"),
    ],
)
def test_codecs_are_found_by_name_and_by_content_type(name: str, content_type: str, encoding: str) -> None:
    codec = serializers.get(name)
    assert codec is serializers.get(content_type) is serializers.get(codec)
    assert (codec.name, codec.content_type, codec.content_encoding) == (name, content_type, encoding)


def test_an_unknown_codec_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"no serializer 'jsn'; known are json, msgpack"):
        serializers.get("jsn")


def test_accept_takes_names_and_content_types() -> None:
    assert serializers.accept(["json", "application/x-yaml"]) == {"application/json", "application/x-yaml"}


@pytest.mark.parametrize("name", ["msgpack", "yaml", "pickle"])
def test_plain_data_survives_every_codec(name: str) -> None:
    # Given
    value = {"a": [1, -2.5, None, True, "é", b"\xff"], "b": {"c": []}}
    codec = serializers.get(name)
    # Then
    assert codec.loads(codec.dumps(value)) == value


class Text(str):
    pass


@pytest.mark.parametrize("name", ["msgpack", "yaml"])
def test_subclasses_are_written_as_what_they_extend(name: str) -> None:
    codec = serializers.get(name)
    value = collections.OrderedDict(a=(1, Text("x")))
    assert codec.loads(codec.dumps(value)) == {"a": [1, "x"]}


@pytest.mark.parametrize("value", [dt.datetime(2026, 1, 1), {1}, object(), 2**64, {1: 2}])
def test_msgpack_refuses_what_other_readers_do_not_know(value: Any) -> None:
    with pytest.raises(EncodeError, match=r"^\$"):
        serializers.get("msgpack").dumps(value)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("msgpack", b""),
        ("msgpack", b"\xc1"),
        ("msgpack", b"\xd4\x05a"),
        ("msgpack", b"\x81\xc0"),
        ("yaml", b"a: [1"),
        ("yaml", b"!!python/object/apply:os.getpid []"),
        ("yaml", b'!!int ""'),
        ("yaml", b"2026-99-99"),
        ("yaml", b"\xff\xfe\xff"),
        ("pickle", b""),
        ("pickle", b"cnowhere\nnothing\n."),
        ("text", b"\xff"),
    ],
)
def test_what_cannot_be_read_is_a_decode_error(name: str, data: bytes) -> None:
    with pytest.raises(DecodeError):
        serializers.get(name).loads(data)


@pytest.fixture
def hexes() -> Iterator[serializers.Codec]:
    codec = serializers.register(
        "hexes", lambda text: text.encode().hex(), lambda data: bytes.fromhex(data.decode()), "x/hex"
    )
    yield codec
    if "hexes" in serializers._by_name:
        serializers.unregister("hexes")


def test_users_register_codecs_of_their_own(hexes: serializers.Codec) -> None:
    # Text becomes bytes; what the functions raise becomes our errors.
    assert serializers.get("x/hex").dumps("a") == b"61"
    assert hexes.loads(b"61") == b"a"
    with pytest.raises(EncodeError, match="cannot be written as hexes: AttributeError"):
        hexes.dumps(5)
    with pytest.raises(DecodeError, match="not hexes: ValueError"):
        hexes.loads(b"zz")


def test_an_unregistered_codec_is_gone(hexes: serializers.Codec) -> None:
    serializers.unregister("hexes")
    for key in ("hexes", hexes.content_type):
        with pytest.raises(ImproperlyConfigured):
            serializers.get(key)


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(MissingExtra, match=r"Nothing is not installed: pip install 'talo\[some\]'"):
        load("talo_has_no_such_module", "Nothing", "some")


def test_a_missing_part_of_the_standard_library_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match="built without its module talo_has_no_such_module"):
        load("talo_has_no_such_module")


def test_reading_json_imports_no_other_format() -> None:
    # Given
    code = (
        "import sys\n"
        "from talo.wire import make_message, decode, serializers, encode_result, decode_result\n"
        "accept = serializers.accept(['json'])\n"
        "decode(make_message('a', 'b', (1,), queue='q'), accept)\n"
        "decode_result(encode_result('a', 'FAILURE', ValueError('x')), accept).value\n"
        "print([name for name in ('pickle', 'yaml', 'bz2', 'lzma', 'brotli', 'zstandard') if name in sys.modules])"
    )
    # When
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Then
    assert done.stdout.strip() == "[]"
