"""Signed bodies: what is read, and what is not believed."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import Talo
from talo.errors import DecodeError, ImproperlyConfigured
from talo.wire import serializers
from talo.wire.signing import Certificates, Signer, signing_codec
from tests.servers.signers import make_signer


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """The codec is the process's: it does not outlive a test."""
    yield
    if "auth" in serializers._by_name:
        serializers.unregister("auth")


def codec(whose: str, trusted: str, *, digest: str = "sha256", password: str | None = None) -> serializers.Codec:
    signer = Signer(f"{whose}.key", password, f"{whose}.pem")
    return signing_codec(signer, Certificates(trusted), digest=digest, inner=serializers.JSON)


@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_what_a_trusted_one_has_signed_is_read(tmp_path: Path, digest: str) -> None:
    mine = make_signer(tmp_path, "mine", password="s3cret")
    theirs = make_signer(tmp_path, "theirs")
    written = codec(mine, f"{tmp_path}/*.pem", digest=digest, password="s3cret").dumps([[1, "ü"], {}, {}])
    assert codec(theirs, f"{tmp_path}/*.pem", digest=digest).loads(written) == [[1, "ü"], {}, {}]


def test_what_a_stranger_has_signed_is_not(tmp_path: Path) -> None:
    mine, stranger = make_signer(tmp_path / "in", "mine"), make_signer(tmp_path / "out", "stranger")
    written = codec(stranger, f"{stranger}.pem").dumps([1])
    with pytest.raises(DecodeError, match=r"signed by 'Tests stranger \d+', whose certificate is not in"):
        codec(mine, f"{mine}.pem").loads(written)


@pytest.mark.parametrize("field", range(5))
def test_no_field_can_be_changed(tmp_path: Path, field: int) -> None:
    mine = make_signer(tmp_path, "mine")
    auth = codec(mine, f"{mine}.pem")
    fields = b64decode(auth.dumps([1])).split(b"\x00\x01", 4)
    fields[field] = {0: b64encode(b"Tests mine 1"), 1: b64encode(b"x" * 256), 2: b"application/x-yaml"}.get(
        field, fields[field] + b" "
    )
    changed = b64encode(b"\x00\x01".join(fields))
    if field == 3:  # The encoding decides nothing.
        assert auth.loads(changed) == [1]
    else:
        with pytest.raises(DecodeError):
            auth.loads(changed)


@pytest.mark.parametrize("data", [b"", b"[[1], {}, {}]", b64encode(b"a\x00\x01b"), b"\xff\xfe"])
def test_what_is_not_signed_at_all_is_told(tmp_path: Path, data: bytes) -> None:
    mine = make_signer(tmp_path, "mine")
    with pytest.raises(DecodeError, match="not signed"):
        codec(mine, f"{mine}.pem").loads(data)


def test_a_certificate_that_has_expired_is_refused(tmp_path: Path) -> None:
    old = make_signer(tmp_path, "old", days=-1)
    with pytest.raises(ImproperlyConfigured, match=r"old\.pem has expired"):
        Certificates(f"{old}.pem")


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="there is no certificate in"):
        Certificates(str(tmp_path))


def test_a_wrong_password_is_told(tmp_path: Path) -> None:
    mine = make_signer(tmp_path, "mine", password="s3cret")
    with pytest.raises(ImproperlyConfigured, match="or its password is wrong"):
        Signer(f"{mine}.key", "guess", f"{mine}.pem")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "task_serializer = 'auth'"),
        ({"task_serializer": "auth", "accept_content": ["auth", "json"]}, "or unsigned tasks run, too"),
        ({"task_serializer": "auth", "accept_content": ["auth"]}, "security_key must be set"),
        (
            {"task_serializer": "auth", "accept_content": ["auth"], "result_serializer": "pickle"},
            "results are not signed",
        ),
    ],
)
def test_settings_that_would_not_protect_are_refused(settings: dict[str, object], told: str) -> None:
    with Talo("app", set_as_current=False, **settings) as app, pytest.raises(ImproperlyConfigured, match=told):
        app.setup_security()
