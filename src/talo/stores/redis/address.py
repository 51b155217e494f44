"""Where a Redis is and how to speak to it: the URL and its options, checked once.

Owns reading one ``redis://``, ``valkey://``, ``redis+socket://``, ``unix://``, ``sentinel://`` or ``redis+cluster://``
URL (with TLS ``rediss`` and ``valkeys``). Opens nothing: that is ``connection``. Called by ``store`` and ``sentinel``.
"""

from __future__ import annotations

import difflib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from talo.errors import ImproperlyConfigured
from talo.stores.tls import TLS_OPTIONS, tls_context

__all__ = ["Address", "keyprefix_of", "parse_url"]

_PLAIN = frozenset({"redis", "valkey", "sentinel", "redis+cluster", "valkey+cluster"})
_TLS = frozenset({"rediss", "valkeys", "rediss+cluster", "valkeys+cluster"})
_SOCKET = frozenset({"redis+socket", "unix"})

#: Options that a URL may carry in its query: Celery's names for what is the address.
_QUERY = frozenset(
    {
        "virtual_host",
        "db",
        "username",
        "password",
        "global_keyprefix",
        *TLS_OPTIONS,
    }
)


@dataclass(frozen=True, slots=True)
class Address:
    """One Redis database. ``path`` is set for a local socket, ``host`` and ``port`` otherwise; ``repr`` shows no
    password."""

    scheme: str
    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    @property
    def place(self) -> tuple[str, int]:
        """What tells two databases apart, whoever logs in and however."""
        if self.path is not None:
            return self.path, self.db
        host = self.host.lower()
        return f"{'127.0.0.1' if host == 'localhost' else host}:{self.port}", self.db

    @property
    def shown(self) -> str:
        """The URL with its password hidden."""
        login = quote(self.username or "", safe="") + (":**" if self.password else "")
        at = f"{login}@" if login else ""
        if self.path is not None:
            return f"{self.scheme}://{at}{self.path}?virtual_host={self.db}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{at}{host}:{self.port}/{self.db}"


def parse_url(url: str, tls: Mapping[str, Any] | None = None) -> Address:
    """The address that ``url`` means. ``tls`` holds ``ssl_*`` options given beside it. Errors:
    ``ImproperlyConfigured``."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # The reason would quote the URL, password and all.
        raise ImproperlyConfigured(
            "the Redis URL cannot be read; it looks like redis://:PASSWORD@HOST:6379/0"
        ) from None
    query = _query(parts)
    options = {**query, **(tls or {})}
    scheme = parts.scheme.lower()
    username = options.get("username") or _unquoted(parts.username)
    password = options.get("password") or _unquoted(parts.password)
    if scheme in _SOCKET:
        path = unquote(parts.path)
        if not path:
            raise ImproperlyConfigured(f"{scheme}:// names no socket; it looks like {scheme}:///run/redis/redis.sock")
        db = _database(str(options.get("virtual_host", options.get("db", "0"))))
        return Address(scheme, path=path, db=db, username=username, password=password)
    if scheme not in _PLAIN | _TLS:
        raise ImproperlyConfigured(f"{scheme}:// is no scheme of Redis")
    named = str(options.get("virtual_host", options.get("db", ""))) or unquote(parts.path)
    context = tls_context(options) if scheme in _TLS or tls else None
    return Address(
        scheme,
        host=parts.hostname or "localhost",
        port=port or 6379,
        db=_database(named),
        tls=context,
        username=username,
        password=password,
    )


def keyprefix_of(urls: Sequence[str], given: str = "") -> str:
    """The key prefix that ``urls`` name in their query, else ``given``. ``ImproperlyConfigured`` if they differ."""
    name = "global_keyprefix"
    named = {query[name] for each in urls if name in (query := dict(parse_qsl(each.partition("?")[2])))}
    if len(named | ({given} if given else set())) > 1:
        raise ImproperlyConfigured(f"{name} is said twice and not the same: once in the URL is enough")
    return named.pop() if named else given


def _unquoted(text: str | None) -> str | None:
    return unquote(text) if text else None


def _query(parts: SplitResult) -> dict[str, str]:
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in query:
        if name not in _QUERY:
            near = difflib.get_close_matches(name, _QUERY, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(_QUERY))}"
            raise ImproperlyConfigured(f"{name} is no option of a Redis URL{hint}")
    return query


def _database(text: str) -> int:
    text = text.strip("/")
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        raise ImproperlyConfigured(f"a Redis database is a number, not {text!r}")
    return int(text)
