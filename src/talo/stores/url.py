"""From a URL to a store, by its scheme.

Owns the table of schemes. A store's package, and with it the client library, is imported when its scheme is used.
Callers: ``app`` (broker and result backend), the command line, tests.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any, cast

from talo.errors import ImproperlyConfigured
from talo.stores.base import Store

__all__ = ["alternatives", "open_store", "scheme_of", "schemes", "takes_side"]

_SQL = ("talo.stores.sql", "open_sqlite")
_POSTGRES = ("talo.stores.sql.postgres", "open_postgres")
_MYSQL = ("talo.stores.sql.mysql", "open_mysql")
_DJANGO = ("talo.django.store", "open_django")
_REDIS = ("talo.stores.redis", "RedisStore")
_SQS = ("talo.stores.sqs", "SqsStore")
_RABBITMQ = ("talo.stores.rabbitmq", "RabbitStore")

_STORES = {
    "sqlite": _SQL,
    "memory": _SQL,
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    "postgresql+psycopg": _POSTGRES,
    "mysql": _MYSQL,
    "mysql+pymysql": _MYSQL,
    "mariadb": _MYSQL,
    "django": _DJANGO,
    "redis": _REDIS,
    "rediss": _REDIS,
    "redis+socket": _REDIS,
    "unix": _REDIS,
    "valkey": _REDIS,
    "valkeys": _REDIS,
    "sentinel": _REDIS,
    "redis+cluster": _REDIS,
    "rediss+cluster": _REDIS,
    "valkey+cluster": _REDIS,
    "valkeys+cluster": _REDIS,
    "sqs": _SQS,
    "amqp": _RABBITMQ,
    "amqps": _RABBITMQ,
    "pyamqp": _RABBITMQ,
}

#: Stores that understand several URLs joined by ``;``; of others the first one counts.
_SEVERAL = frozenset({_REDIS, _RABBITMQ})
#: Stores that are given another one, ``side``, for what they cannot keep themselves.
_SIDED = frozenset({_SQS})


def schemes() -> list[str]:
    """Return the schemes of the stores that exist, sorted."""
    return sorted(_STORES)


def alternatives(url: str) -> str:
    """Return as much of ``url``, one or several joined by ``;``, as its store understands."""
    return url if _STORES.get(scheme_of(url)) in _SEVERAL else url.partition(";")[0]


def takes_side(url: str) -> bool:
    """Return whether the store of this URL takes another one as ``side``."""
    return _STORES.get(scheme_of(url)) in _SIDED


def scheme_of(url: str) -> str:
    """Return the scheme of a URL in lower case; a bare scheme (``redis``) is one too."""
    return url.partition("://")[0].strip().lower()


def open_store(url: str, **options: Any) -> Store:
    """Return the store of this URL; it connects on first use.

    Options: ``timeout`` (seconds, of one operation), ``priority_order`` (``high-first`` or ``low-first``),
    ``keyprefix``. ``memory://name`` is the same store for everyone in this process who says the same name.
    Errors: ``ImproperlyConfigured`` for a URL or option that cannot work, ``MissingExtra`` when the client library is
    absent.
    """
    scheme = scheme_of(url)
    if scheme not in _STORES:
        raise _unknown(scheme)
    module, name = _STORES[scheme]
    factory = getattr(importlib.import_module(module), name)
    return cast(Store, factory(url, **options))


def _unknown(scheme: str) -> Exception:
    exist = ", ".join(f"{each}://" for each in schemes())
    near = difflib.get_close_matches(scheme, _STORES, n=1)
    hint = f"; did you mean {near[0]}://?" if near else ""
    return ImproperlyConfigured(f"no store has the scheme {scheme!r}{hint} (there are {exist})")
