"""What the app reads, and whose word it believes.

Owns ``app.setup_security`` and the content types that results may have. How messages are signed is ``wire.signing``'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from talo.errors import ImproperlyConfigured
from talo.util.optional import load
from talo.wire import serializers
from talo.wire.serializers import SIGNED

if TYPE_CHECKING:
    from talo.settings import Settings

__all__ = ["SecurityDoors"]

#: What can be read without believing its writer.
_PLAIN = ("json", "msgpack")


class SecurityDoors:
    """The part of an app that signs and checks."""

    if TYPE_CHECKING:

        @property
        def conf(self) -> Settings: ...

    @property
    def result_accept(self) -> frozenset[str]:
        """Content types that results may have. Where only signed tasks are accepted, results, which are not signed, are
        read as they are written."""
        found = serializers.accept(self.conf.result_accept_content or self.conf.accept_content)
        return found if found != {SIGNED} else serializers.accept([self.conf.result_serializer])

    def setup_security(
        self,
        allowed_serializers: Iterable[str] | None = None,
        key: str | None = None,
        key_password: str | None = None,
        cert: str | None = None,
        store: str | None = None,
        digest: str | None = None,
        serializer: str = "json",
    ) -> None:
        """Sign what is sent, and run only what one of the trusted certificates has signed.

        Adds the serializer ``auth``, which writes with ``serializer`` and signs; it also reads what is signed in one of
        ``allowed_serializers``. What is not given comes from the ``security_*`` settings. ``ImproperlyConfigured``
        unless ``task_serializer`` is ``auth`` and ``accept_content`` is ``["auth"]``: whatever else is accepted could
        be sent by anybody.
        """
        conf = self.conf
        if conf.task_serializer != "auth" or set(conf.accept_content) - {"auth", SIGNED}:
            raise ImproperlyConfigured(
                "setup_security: set task_serializer = 'auth' and accept_content = ['auth'], or unsigned tasks run, too"
            )
        if conf.result_serializer not in _PLAIN:
            raise ImproperlyConfigured(f"setup_security: results are not signed: result_serializer is one of {_PLAIN}")
        signing = load("talo.wire.signing", "cryptography", "auth")
        signing.signing_codec(
            signing.Signer(
                _required("security_key", key or conf.security_key),
                key_password or conf.security_key_password,
                _required("security_certificate", cert or conf.security_certificate),
            ),
            signing.Certificates(_required("security_cert_store", store or conf.security_cert_store)),
            digest=digest or conf.security_digest,
            inner=serializers.get(serializer),
            accept=[serializers.get(name) for name in allowed_serializers or () if name != "auth"],
        )


def _required(setting: str, value: str | None) -> str:
    if not value:
        raise ImproperlyConfigured(f"setup_security: {setting} must be set")
    return value
