"""From settings to the options of a store.

Owns which settings concern the store at a URL, in its roles: as broker, as result store, or as both. What the options
mean is the store's; opening it is ``app.stores``'s, the only caller.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from talo.errors import ImproperlyConfigured
from talo.settings import Settings
from talo.settings.bags import FIXED
from talo.stores.url import scheme_of

__all__ = ["store_options"]

_REDIS = frozenset({"redis", "rediss", "redis+socket", "valkey"})
_SQL = frozenset(
    {"sqlite", "memory", "postgresql", "postgres", "postgresql+psycopg", "mysql", "mysql+pymysql", "mariadb"}
)
#: Fewer would let one that waits for work keep another from sending.
_LEAST_CONNECTIONS = 2


def store_options(conf: Settings, url: str, *, broker: bool, results: bool) -> dict[str, Any]:
    """Return the options for ``open_store``. Raises ImproperlyConfigured for a setting that this store cannot keep."""
    bag = _bag(conf, broker, results)
    options: dict[str, Any] = {
        "timeout": conf.store_timeout,
        "priority_order": conf.redis_priority_order,
        "keyprefix": bag.get("global_keyprefix", ""),
    }
    tls = dict(_tls(conf, broker, results))
    if scheme_of(url) in _SQL:
        options["auto_migrate"] = conf.db_auto_migrate
    if scheme_of(url) not in _REDIS:
        if tls:
            name = "broker_use_ssl" if broker and conf.broker_use_ssl else "redis_backend_use_ssl"
            raise ImproperlyConfigured(f"{name} is set, but {scheme_of(url)}:// has no TLS: take it away")
        return options
    limits = [conf.broker_pool_limit or sys.maxsize] if broker else []
    waits = [bag.get("socket_connect_timeout")]
    answers = [conf.store_timeout, bag.get("socket_timeout")]
    if broker:
        waits.append(conf.broker_connection_timeout)
        options["pool_timeout"] = conf.broker_pool_acquire_timeout
    if results:
        limits += [conf.redis_max_connections] if conf.redis_max_connections else []
        waits.append(conf.redis_socket_connect_timeout)
        answers.append(conf.redis_socket_timeout)
    limits += [bag["max_connections"]] if bag.get("max_connections") else []
    if limits:
        options["max_connections"] = max(_LEAST_CONNECTIONS, *limits)
    options["timeout"] = min(each for each in answers if each)
    options["connect_timeout"] = min((each for each in waits if each), default=None)
    options["client_name"] = bag.get("client_name") or (results and conf.redis_client_name) or "talo"
    for name in ("fanout_prefix", "fanout_patterns"):
        if bag.get(name) is not None:
            options[name] = bag[name]
    return {**options, **tls}


def _bag(conf: Settings, broker: bool, results: bool) -> Mapping[str, Any]:
    """The transport options that concern the store, those of the results on top."""
    bag: dict[str, Any] = {}
    for wanted, name in ((broker, "broker_transport_options"), (results, "result_backend_transport_options")):
        given = conf[name] or {} if wanted else {}
        for key, value in FIXED.items():
            if key in given and given[key] not in (value, None):
                raise ImproperlyConfigured(f"{name}: {key} is always {value!r}, as Celery's default: take it away")
        bag.update(given)
    return bag


def _tls(conf: Settings, broker: bool, results: bool) -> Iterator[tuple[str, Any]]:
    """TLS options under the names of redis-py, whether they were written so or as for RabbitMQ."""
    given = (conf.broker_use_ssl if broker else None, conf.redis_backend_use_ssl if results else None)
    for wanted in given:
        if wanted is True:
            yield "ssl_cert_reqs", "required"
        elif wanted:
            for name, value in wanted.items():
                yield name if name.startswith("ssl_") else f"ssl_{name}", value
