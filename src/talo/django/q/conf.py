"""``Q_CLUSTER``: the settings of Django Q, and what they are with Talo.

Owns the table of its names: read here, mapped to a setting of Talo's, without effect, or refused. Called by ``apps``,
``tasks``, ``runs`` and ``scheduler``.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from talo.errors import ImproperlyConfigured
from talo.util.names import nearest

__all__ = ["Cluster", "defaults", "read"]

#: Q_CLUSTER's name -> Talo's.
MAPPED = {
    "workers": "worker_concurrency",
    "recycle": "worker_max_tasks_per_child",
    "max_rss": "worker_max_memory_per_child",
    "time_zone": "timezone",
}
#: Read by this package.
READ = frozenset(
    {
        "ALT_CLUSTERS", "ack_failures", "cached", "catch_up", "compress", "django_redis", "label", "max_attempts",
        "name", "orm", "redis", "retry", "save_limit", "save_limit_per", "scheduler", "sync", "timeout",
    }
)  # fmt: skip
#: Tuning of a machinery that is another one here.
UNUSED = frozenset(
    {"bulk", "cache", "cpu_affinity", "daemonize_workers", "error_reporter", "guard_cycle", "log_level", "poll",
     "qsize", "queue_limit"}
)  # fmt: skip
#: Brokers that there are not.
REFUSED = {
    "broker_class": "set TALO_BROKER_URL",
    "disque_nodes": "use orm or redis",
    "iron_mq": "use orm or redis",
    "mongo": "use orm or redis",
    "mongo_db": "use orm or redis",
    "sqs": "set TALO_BROKER_URL to sqs://",
}
_PER = (None, "group", "name", "func")


@dataclass(frozen=True, slots=True)
class Cluster:
    """What holds for the tasks of one cluster. Seconds, except where said."""

    name: str | None = None
    #: For a task; None: no limit.
    timeout: float | None = None
    #: Until a task that failed is tried again.
    retry: float = 60.0
    #: 0: without end.
    max_attempts: int = 0
    #: A task that failed is not tried again.
    ack_failures: bool = False
    #: Successes that are kept; 0: all, -1: none.
    save_limit: int = 250
    save_limit_per: str | None = None
    #: Results go into Django's cache: for so many seconds, or True for its default.
    cached: bool | float = False
    sync: bool = False
    #: Runs that a schedule has missed are made up for, one after the other.
    catch_up: bool = True
    scheduler: bool = True
    compress: bool = False
    #: Other clusters by name, with what differs there.
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: What Q_CLUSTER says without effect.
    unused: tuple[str, ...] = ()


def _given() -> dict[str, Any]:
    given = getattr(settings, "Q_CLUSTER", None) or {}
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"Q_CLUSTER = {type(given).__name__}: expected a dictionary")
    _check(given, "Q_CLUSTER")
    for name, more in (given.get("ALT_CLUSTERS") or {}).items():
        _check(more, f"Q_CLUSTER['ALT_CLUSTERS'][{name!r}]")
    return dict(given)


def _check(given: Mapping[str, Any], where: str) -> None:
    """``ImproperlyConfigured`` names everything that is wrong."""
    known = READ | UNUSED | MAPPED.keys()
    problems = []
    for name in sorted(given):
        if name in REFUSED and given[name]:
            problems.append(f"{where}: Talo has no {name} as broker: {REFUSED[name]}")
        elif name not in known and name not in REFUSED:
            near = nearest(name, sorted(known))
            problems.append(f"{where}: unknown setting {name!r}" + (f"; did you mean {near!r}?" if near else ""))
    if given.get("save_limit_per") not in _PER:
        problems.append(f"{where}: save_limit_per can be 'group', 'name' or 'func'")
    if problems:
        raise ImproperlyConfigured("; ".join(problems))


def read(cluster: str | None = None) -> Cluster:
    """Return what holds for a cluster, the main one if None. Errors: ``ImproperlyConfigured``."""
    given = _given()
    others = given.get("ALT_CLUSTERS") or {}
    values = {**given, **others.get(cluster, {})}
    own = {name: values[name] for name in Cluster.__dataclass_fields__ if name in values}
    own["name"] = cluster or given.get("name")
    return Cluster(**own, others=others, unused=tuple(sorted(UNUSED & given.keys())))


def defaults() -> dict[str, Any]:
    """What Q_CLUSTER means as settings of Talo; what is set for Talo itself wins."""
    if not hasattr(settings, "Q_CLUSTER"):
        return {}
    given = _given()
    found: dict[str, Any] = {MAPPED[name]: given[name] for name in MAPPED if given.get(name) is not None}
    found["broker_url"] = _broker(given)
    if given.get("name"):
        found["task_default_queue"] = given["name"]
    if given.get("compress"):
        found["task_compression"] = "gzip"
    return found


def _broker(given: Mapping[str, Any]) -> str:
    if given.get("orm"):
        return f"django://{given['orm']}"
    if given.get("django_redis"):
        location = getattr(settings, "CACHES", {}).get(given["django_redis"], {}).get("LOCATION")
        if not location:
            raise ImproperlyConfigured(f"Q_CLUSTER: CACHES has no {given['django_redis']!r} with a LOCATION")
        return str(location if isinstance(location, str) else location[0])
    redis = given.get("redis") or {}
    return redis if isinstance(redis, str) else _redis_url(redis)


def _redis_url(options: Mapping[str, Any]) -> str:
    """The URL for the arguments of redis-py's client."""
    if unknown := sorted(options.keys() - {"host", "port", "db", "password", "username", "unix_socket_path", "ssl"}):
        raise ImproperlyConfigured(f"Q_CLUSTER['redis']: write {', '.join(unknown)} into a URL: TALO_BROKER_URL")

    def quoted(name: str) -> str:
        return urllib.parse.quote(str(options.get(name) or ""), safe="")

    login = f"{quoted('username')}:{quoted('password')}@" if options.get("password") else ""
    if path := options.get("unix_socket_path"):
        return f"redis+socket://{login}{path}?virtual_host={options.get('db') or 0}"
    scheme = "rediss" if options.get("ssl") else "redis"
    return f"{scheme}://{login}{options.get('host', 'localhost')}:{options.get('port', 6379)}/{options.get('db') or 0}"
