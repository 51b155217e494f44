"""Where a RabbitMQ is and how to speak to it: the URLs and their options, checked once.

Owns reading ``amqp://``, ``amqps://`` and ``pyamqp://`` URLs, several hosts separated by ``;``, and Celery's rules for
the virtual host. Opens nothing: that is ``connection``. Called by ``store``.
"""

from __future__ import annotations

import difflib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from talo.errors import ImproperlyConfigured
from talo.stores.tls import TLS_OPTIONS as _TLS_OPTIONS
from talo.stores.tls import tls_context

__all__ = ["TLS_OPTIONS", "Address", "parse_urls"]

_PLAIN = frozenset({"amqp", "pyamqp", "rabbitmq"})
_TLS = frozenset({"amqps", "pyamqps"})
#: As Celery's client names them, with ``ssl_`` in front where they stand beside the URL.
TLS_OPTIONS = _TLS_OPTIONS | {"ssl_server_hostname"}
_QUERY = frozenset({"heartbeat", "ssl", *TLS_OPTIONS, "cacertfile", "certfile", "keyfile", "verify"})
#: RabbitMQ's own names in a URL for what Celery's client calls otherwise.
_SAME = {"cacertfile": "ssl_ca_certs", "certfile": "ssl_certfile", "keyfile": "ssl_keyfile", "verify": "ssl_cert_reqs"}


@dataclass(frozen=True, slots=True)
class Address:
    """One virtual host on one server; ``repr`` shows no password."""

    scheme: str
    host: str = "localhost"
    port: int = 5672
    vhost: str = "/"
    username: str = "guest"
    password: str = field(default="guest", repr=False)
    heartbeat: float | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    server_hostname: str | None = None

    @property
    def place(self) -> tuple[str, int, str]:
        """What tells two virtual hosts apart, whoever logs in and however."""
        host = self.host.lower()
        return "127.0.0.1" if host == "localhost" else host, self.port, self.vhost

    @property
    def shown(self) -> str:
        """The URL with its password hidden."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{quote(self.username, safe='')}:**@{host}:{self.port}/{quote(self.vhost, safe='')}"


def parse_urls(url: str, tls: Mapping[str, Any] | None = None) -> list[Address]:
    """The addresses that ``url`` means, in the order in which they are tried. ``tls`` holds ``ssl_*`` options given
    beside it. Errors: ``ImproperlyConfigured``."""
    parts = [part.strip() for part in url.split(";") if part.strip()]
    if not parts:
        raise ImproperlyConfigured("the RabbitMQ URL is empty; it looks like amqp://USER:PASSWORD@HOST:5672/VHOST")
    scheme = parts[0].partition("://")[0]
    return [_parse(part if "://" in part else f"{scheme}://{part}", tls or {}) for part in parts]


def _parse(url: str, tls: Mapping[str, Any]) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # The reason would quote the URL, password and all.
        raise ImproperlyConfigured(
            "the RabbitMQ URL cannot be read; it looks like amqp://USER:PASSWORD@HOST:5672/VHOST"
        ) from None
    scheme = parts.scheme.lower()
    if scheme not in _PLAIN | _TLS:
        raise ImproperlyConfigured(f"{scheme}:// is no scheme of RabbitMQ")
    options = {**_query(parts), **tls}
    secure = scheme in _TLS or bool(tls) or str(options.get("ssl", "")).lower() in ("true", "1")
    context = tls_context(options) if secure else None
    heartbeat = options.get("heartbeat")
    return Address(
        scheme,
        host=parts.hostname or "localhost",
        port=port or (5671 if secure else 5672),
        vhost=_vhost(parts.path),
        username=unquote(parts.username) if parts.username else "guest",
        password=unquote(parts.password) if parts.password is not None else "guest",
        heartbeat=None if heartbeat is None else float(heartbeat),
        tls=context,
        server_hostname=options.get("ssl_server_hostname"),
    )


def _vhost(path: str) -> str:
    """Celery's rule: what stands behind the first slash, decoded; nothing there, or one slash, is ``/``."""
    return unquote(path[1:]) or "/"


def _query(parts: SplitResult) -> dict[str, Any]:
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in query:
        if name not in _QUERY:
            near = difflib.get_close_matches(name, _QUERY, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(_QUERY))}"
            raise ImproperlyConfigured(f"{name} is no option of a RabbitMQ URL{hint}")
    return {_SAME.get(name, name): value for name, value in query.items()}
