"""Passwords and tokens, as the access file keeps them.

Owns the two hash forms: ``scrypt$N$r$p$salt$key`` for what people remember, ``sha256$digest`` for 32 random bytes,
which need no stretching. Called by ``access`` and the command line."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets

__all__ = ["hash_password", "hash_token", "is_hash", "matches_password", "matches_token", "new_token"]

#: RFC 7914 and OWASP's password storage cheat sheet: N = 2^16, r = 8, p = 1, which takes 64 MiB and about 0.2 s.
_N, _R, _P = 1 << 16, 8, 1
#: What a file may ask for at most, so that a slip in it does not eat the machine.
_MOST_MEMORY = 512 * 1024 * 1024


def hash_password(password: str) -> str:
    """Return the hash of a password under a new salt."""
    salt = os.urandom(16)
    return f"scrypt${_N}${_R}${_P}${_text(salt)}${_text(_derived(password, salt, _N, _R, _P))}"


def matches_password(password: str, hashed: str) -> bool:
    """Whether this is the password. Takes as long for a wrong one. ``ValueError`` for what is no hash."""
    n, r, p, salt, key = _parsed(hashed)
    return hmac.compare_digest(_derived(password, salt, n, r, p), key)


def is_hash(hashed: str) -> bool:
    """Whether ``matches_password`` can read this."""
    try:
        _parsed(hashed)
    except ValueError:
        return False
    return True


def new_token() -> str:
    """Return a new token: 32 random bytes as text."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Return the hash of a token."""
    return "sha256$" + hashlib.sha256(token.encode()).hexdigest()


def matches_token(token: str, hashed: str) -> bool:
    """Whether this is the token."""
    return hmac.compare_digest(hash_token(token).encode(), hashed.encode())


def _parsed(hashed: str) -> tuple[int, int, int, bytes, bytes]:
    parts = hashed.split("$")
    if len(parts) != 6 or parts[0] != "scrypt":
        raise ValueError("it is no scrypt hash: make one with talo dashboard --make-password NAME")
    try:
        n, r, p = (int(part) for part in parts[1:4])
        salt, key = (base64.b64decode(part, validate=True) for part in parts[4:])
    except (ValueError, binascii.Error) as error:
        raise ValueError("its scrypt hash is damaged") from error
    if n < 1 << 14 or n & (n - 1) or r < 1 or p < 1 or 128 * n * r * p > _MOST_MEMORY or len(key) < 16:
        raise ValueError("its scrypt hash is too weak or too large")
    return n, r, p, salt, key


def _derived(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    memory = 128 * n * r * p + 1024 * 1024
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=2 * memory, dklen=32)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
