"""From a URL to a store, by its scheme.

Owns the table of schemes. A store's package, and with it the client library, is imported when its scheme is used.
Callers: ``app`` (broker and result backend), the command line, tests.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any, cast

from talo.errors import ImproperlyConfigured, NotSupported
from talo.stores.base import Store

__all__ = ["open_store", "scheme_of", "schemes"]

_SQL = ("talo.stores.sql", "open_sqlite")
_POSTGRES = ("talo.stores.sql.postgres", "open_postgres")
_DJANGO = ("talo.django.store", "open_django")
_REDIS = ("talo.stores.redis", "RedisStore")

_STORES = {
    "sqlite": _SQL,
    "memory": _SQL,
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    "postgresql+psycopg": _POSTGRES,
    "django": _DJANGO,
    "redis": _REDIS,
    "rediss": _REDIS,
    "redis+socket": _REDIS,
    "valkey": _REDIS,
}

#: Celery's names for stores that Talo does not have (yet), and what people call them.
_ABSENT = {
    "amqp": "RabbitMQ",
    "amqps": "RabbitMQ",
    "pyamqp": "RabbitMQ",
    "mysql": "MySQL",
    "sqs": "Amazon SQS",
}


def schemes() -> list[str]:
    """Return the schemes of the stores that exist, sorted."""
    return sorted(_STORES)


def scheme_of(url: str) -> str:
    """Return the scheme of a URL in lower case; a bare scheme (``redis``) is one too."""
    return url.partition("://")[0].strip().lower()


def open_store(url: str, **options: Any) -> Store:
    """Return the store of this URL; it connects on first use.

    Options: ``timeout`` (seconds, of one operation), ``priority_order`` (``high-first`` or ``low-first``),
    ``keyprefix``. ``memory://name`` is the same store for everyone in this process who says the same name.
    Errors: ``ImproperlyConfigured`` for a URL or option that cannot work, ``MissingExtra`` when the client library is
    absent, ``NotSupported`` for a scheme whose store this release does not have.
    """
    scheme = scheme_of(url)
    if scheme not in _STORES:
        raise _unknown(scheme)
    module, name = _STORES[scheme]
    factory = getattr(importlib.import_module(module), name)
    return cast(Store, factory(url, **options))


def _unknown(scheme: str) -> Exception:
    exist = ", ".join(f"{each}://" for each in schemes())
    if product := _ABSENT.get(scheme):
        return NotSupported(f"this release of Talo has no store for {product} ({scheme}://); it has {exist}")
    near = difflib.get_close_matches(scheme, _STORES, n=1)
    hint = f"; did you mean {near[0]}://?" if near else ""
    return ImproperlyConfigured(f"no store has the scheme {scheme!r}{hint} (there are {exist})")
