"""The keys of an app: sealing values with the first of them, opening with any.

Owns the form of what is sealed: Fernet (AES-128-CBC with HMAC-SHA256) over JSON that also names the task, so that a
sealed value cannot be opened through another task. Keys are derived from the texts of the setting ``secret_keys`` by
HKDF (RFC 5869). The one file that knows ``cryptography``; loaded by ``execution.secrets`` when a value is to be sealed.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from talo.errors import EncodeError, ImproperlyConfigured, SealError
from talo.wire._json import dumps, loads
from talo.wire.sealed import PREFIX, Sealed

__all__ = ["Keyring"]

#: Shorter texts can be guessed, and the derivation is made for keys, not for passwords.
_LEAST = 16
#: What the derived keys are for: another use of the same text gets other keys.
_PURPOSE = b"talo secret arguments 1"


class Keyring:
    """The keys of one app. ``ImproperlyConfigured`` for one that is too short."""

    def __init__(self, keys: Sequence[str]) -> None:
        if any(len(key) < _LEAST for key in keys):
            raise ImproperlyConfigured(
                f"secret_keys (in a Django project SECRET_KEY): a key is a random text of at least {_LEAST} characters"
            )
        self._fernet = MultiFernet([Fernet(_derived(key)) for key in keys])

    def seal(self, value: Any, task: str | None, anywhere: bool) -> Sealed:
        """Return a value sealed for a task (None: for any).

        ``anywhere``: it may be opened for every parameter of the task, not for the secret ones only. ``EncodeError``
        for what JSON cannot write.
        """
        try:
            data = dumps([task, anywhere, value])
        except EncodeError:
            # Its words may show what is to be hidden.
            raise EncodeError(
                f"a secret argument of {task or 'a task'} cannot be written: whatever the serializer, it is sealed as "
                f"JSON, and its type {type(value).__qualname__} or something in it has no form there"
            ) from None
        return Sealed(PREFIX + self._fernet.encrypt(data).decode())

    def open(self, text: str, task: str, secret: bool) -> Any:
        """Return the value of a sealed text that stands at a parameter of ``task``, which is ``secret`` or not.

        ``SealError`` if no key opens it, or if it was sealed for another place.
        """
        try:
            data = self._fernet.decrypt(text[len(PREFIX) :])
        except InvalidToken:
            raise SealError(
                f"an argument of {task} is sealed with a key that is none of this app's secret_keys, or was altered"
            ) from None
        owner, anywhere, value = loads(data)
        if owner not in (None, task) or not (secret or anywhere):
            raise SealError(f"an argument of {task} was sealed for {'another task' if owner != task else 'a secret'}")
        return value


def _derived(key: str) -> bytes:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(key.encode())
    return base64.urlsafe_b64encode(derived)
