"""Signed messages: the codec ``auth``, in Celery's form, so that either side reads the other's.

Owns making, reading and checking that form. A message is five fields: who signed, the signature, how the body is
written (two), and the body. The signature is RSA-PSS over the body; who signed is the issuer and serial number of an
X.509 certificate, and a reader trusts the certificates of its folder and no other. Loaded by ``app.security`` when it
is asked for, as it needs ``cryptography``.

What is signed are the arguments. The headers (name of the task, id, times) are not, as with Celery: whoever may write
to the broker can still replay or redirect what somebody else has signed.
"""

from __future__ import annotations

import binascii
import datetime as dt
import glob
import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from talo.errors import DecodeError, ImproperlyConfigured
from talo.wire import serializers
from talo.wire.serializers import SIGNED, Codec

__all__ = ["Certificates", "Signer", "signing_codec"]

_SEPARATOR = b"\x00\x01"


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as exc:
        raise ImproperlyConfigured(f"{path} cannot be read: {exc.strerror}") from exc


class _Rules:
    """The padding and the digest of all signatures of one codec."""

    def __init__(self, digest: str) -> None:
        kind = getattr(hashes, digest.upper(), None)
        if kind is None:
            raise ImproperlyConfigured(f"security_digest {digest!r}: choose one like sha256 or sha512")
        self.digest = kind()
        self.padding = padding.PSS(padding.MGF1(self.digest), padding.PSS.MAX_LENGTH)


class _Certificate:
    """One certificate with an RSA key, by its issuer and serial number."""

    def __init__(self, path: str) -> None:
        try:
            found = load_pem_x509_certificate(_read(path))
        except ValueError as exc:
            raise ImproperlyConfigured(f"{path} is no certificate in PEM form: {exc}") from exc
        key = found.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise ImproperlyConfigured(f"{path}: signed messages take RSA keys only")
        self.key = key
        issuer = " ".join(str(attribute.value) for attribute in found.issuer)
        self.id = f"{issuer} {found.serial_number}".encode()
        self.ends: dt.datetime = found.not_valid_after_utc

    def has_expired(self) -> bool:
        return dt.datetime.now(dt.UTC) >= self.ends


class Signer:
    """A private key, with the certificate of its owner."""

    def __init__(self, key: str, password: str | None, certificate: str) -> None:
        try:
            found = load_pem_private_key(_read(key), None if password is None else password.encode())
        except (TypeError, ValueError) as exc:
            raise ImproperlyConfigured(f"{key} is no private key in PEM form, or its password is wrong: {exc}") from exc
        if not isinstance(found, rsa.RSAPrivateKey):
            raise ImproperlyConfigured(f"{key}: signed messages take RSA keys only")
        self._key = found
        self.id = _Certificate(certificate).id

    def sign(self, data: bytes, rules: _Rules) -> bytes:
        return self._key.sign(data, rules.padding, rules.digest)


class Certificates:
    """Those whose signatures are believed."""

    def __init__(self, place: str) -> None:
        """``place`` is a folder, all files of which count, or a glob."""
        pattern = os.path.join(place, "*") if os.path.isdir(place) else place
        self._by_id: dict[bytes, _Certificate] = {}
        for path in sorted(filter(os.path.isfile, glob.glob(pattern))):
            certificate = _Certificate(path)
            if certificate.has_expired():
                raise ImproperlyConfigured(f"{path} has expired: replace it, or take it out of {place}")
            self._by_id[certificate.id] = certificate
        if not self._by_id:
            raise ImproperlyConfigured(f"security_cert_store: there is no certificate in {place}")

    def check(self, signer: bytes, signature: bytes, data: bytes, rules: _Rules) -> None:
        """``DecodeError`` unless one of these has signed the data."""
        name = signer.decode(errors="replace")
        certificate = self._by_id.get(signer)
        if certificate is None:
            raise DecodeError(f"signed by {name!r}, whose certificate is not in security_cert_store")
        if certificate.has_expired():
            raise DecodeError(f"signed by {name!r}, whose certificate has expired")
        try:
            certificate.key.verify(signature, data, rules.padding, rules.digest)
        except InvalidSignature as exc:
            raise DecodeError(f"the signature of {name!r} is not of this content") from exc


def signing_codec(
    signer: Signer, trusted: Certificates, *, digest: str, inner: Codec, accept: Sequence[Codec] = ()
) -> Codec:
    """Make ``auth`` known to the registry: bodies written by ``inner`` and signed; read if signed by one of ``trusted``
    and written by ``inner`` or one of ``accept``."""
    rules = _Rules(digest)
    readers = {codec.content_type.encode(): codec for codec in (inner, *accept)}

    def write(value: Any) -> bytes:
        body = inner.dumps(value)
        head = (b64encode(signer.id), b64encode(signer.sign(body, rules)))
        kind = (inner.content_type.encode(), inner.content_encoding.encode())
        return b64encode(_SEPARATOR.join((*head, *kind, body)))

    def read(data: bytes) -> Any:
        try:
            who, signature, kind, _encoding, body = b64decode(data, validate=True).split(_SEPARATOR, 4)
            who, signature = b64decode(who, validate=True), b64decode(signature, validate=True)
        except (binascii.Error, ValueError) as exc:
            raise DecodeError("not signed: it has not the five fields of a signed message") from exc
        trusted.check(who, signature, body, rules)
        if kind not in readers:
            raise DecodeError(f"what is signed is written as {kind.decode(errors='replace')}, which is not accepted")
        return readers[kind].loads(body)

    return serializers.register("auth", write, read, SIGNED)
