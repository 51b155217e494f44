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
from talo.settings.bags import FIXED, SQS_KEYS
from talo.stores.url import scheme_of

__all__ = ["RPC", "results_url", "store_options"]

_REDIS = frozenset(
    f"{name}{kind}" for name in ("redis", "rediss", "valkey", "valkeys") for kind in ("", "+cluster")
) | {"redis+socket", "unix", "sentinel"}
_RABBITMQ = frozenset({"amqp", "amqps", "pyamqp"})
#: ``result_backend="rpc://"``: the broker sends each result back to who asked.
RPC = "rpc"
_LOCAL = frozenset({"sqlite", "memory"})
_SQL = _LOCAL | {"postgresql", "postgres", "postgresql+psycopg", "mysql", "mysql+pymysql", "mariadb"}
#: What Celery's tests name for results: a cache in the memory of the process.
_CACHE = "cache+memory"
#: Fewer would let one that waits for work keep another from sending.
_LEAST_CONNECTIONS = 2


def results_url(conf: Settings) -> str | None:
    """Return where results go, as ``result_backend`` says; None if it says nothing.

    ``rpc://`` over a store that only Talo has (``memory://``, a database) means that store: no worker of Celery's
    can be there that would wait for an answer. ``cache+memory://`` is the memory of this process.
    """
    url = conf.result_backend
    if url is None or (scheme := scheme_of(url)) not in (RPC, _CACHE):
        return url
    broker = scheme_of(conf.broker_url)
    if scheme == RPC:
        return conf.broker_url if broker in _SQL else url
    return conf.broker_url if broker == "memory" else "memory://"


def store_options(conf: Settings, url: str, *, broker: bool, results: bool, app: Any = None) -> dict[str, Any]:
    """Return the options for ``open_store``; of ``app`` come the queues, where the store declares them. Raises
    ImproperlyConfigured for a setting that this store cannot keep."""
    bag = _bag(conf, broker, results)
    results_at = results_url(conf)
    answering = results_at is not None and scheme_of(results_at) == RPC
    if scheme_of(url) in _RABBITMQ:
        return _rabbitmq(conf, app, bag, answering)
    if answering and results:
        raise ImproperlyConfigured(
            f"result_backend is rpc://, but {scheme_of(url)}:// sends no answers: set it to the URL of a store"
        )
    if scheme_of(url) == "sqs":
        return {"timeout": conf.store_timeout, **{key: bag[key] for key in SQS_KEYS if key in bag}}
    options: dict[str, Any] = {
        "timeout": conf.store_timeout,
        "priority_order": conf.redis_priority_order,
        "keyprefix": bag.get("global_keyprefix", ""),
    }
    tls = dict(_tls(conf, broker, results))
    if scheme_of(url) in _REDIS:
        return {**options, **_redis(conf, url, bag, broker=broker, results=results), **tls}
    if tls:
        name = "broker_use_ssl" if broker and conf.broker_use_ssl else "redis_backend_use_ssl"
        raise ImproperlyConfigured(f"{name} does not concern {scheme_of(url)}://: {_tls_hint(url)}")
    if scheme_of(url) in _SQL:
        options["auto_migrate"] = conf.db_auto_migrate
    return options


def _tls_hint(url: str) -> str:
    """What to do instead of a setting about TLS."""
    if scheme_of(url) in _LOCAL:
        return "it is a file or memory and has no TLS, take the setting away"
    return "say it in the URL (?sslmode=... for PostgreSQL, ?ssl_ca=... for MySQL)"


def _redis(conf: Settings, url: str, bag: Mapping[str, Any], *, broker: bool, results: bool) -> dict[str, Any]:
    options: dict[str, Any] = {}
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
    options["failover"] = conf.broker_failover_strategy if broker else None
    if scheme_of(url) == "sentinel":
        options |= {key: bag[key] for key in ("master_name", "sentinel_kwargs") if key in bag}
    options["client_name"] = bag.get("client_name") or (results and conf.redis_client_name) or "talo"
    options |= {name: bag[name] for name in ("fanout_prefix", "fanout_patterns") if bag.get(name) is not None}
    return options


def _rabbitmq(conf: Settings, app: Any, bag: Mapping[str, Any], answering: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "timeout": conf.store_timeout,
        "connect_timeout": bag.get("connect_timeout") or conf.broker_connection_timeout,
        "heartbeat": conf.broker_heartbeat,
        "queues": lambda: {} if app is None else app.queues,
        "queue_type": conf.task_default_queue_type,
        "delayed_type": conf.broker_native_delayed_delivery_queue_type,
        "result_expires": conf.result_expires,
        **dict(_tls(conf, True, False)),
    }
    if answering:
        options["rpc"] = lambda: app.thread_oid
    return options


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
