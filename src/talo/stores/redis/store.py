"""The Redis store: one address, all roles.

Owns the options and putting the roles together; each role has its own module. Called by ``stores.url``.
"""

from __future__ import annotations

import difflib
from typing import Any, Literal

from talo.errors import AccessRefused, ImproperlyConfigured
from talo.stores.base import Features, Store
from talo.stores.redis.address import Address, keyprefix_of, parse_url
from talo.stores.redis.broker import MAX_MESSAGE, RedisBroker
from talo.stores.redis.bus import Fanout, RedisBus
from talo.stores.redis.client import Client
from talo.stores.redis.cluster import Cluster, tagged
from talo.stores.redis.connection import Connecting, pack
from talo.stores.redis.groups import Groups
from talo.stores.redis.history import RedisHistory
from talo.stores.redis.keys import Keys
from talo.stores.redis.ledger import RedisLedger
from talo.stores.redis.locks import RedisLocks
from talo.stores.redis.place import Fixed, Place, Several, checked_order
from talo.stores.redis.pool import Limits
from talo.stores.redis.results import RedisResults
from talo.stores.redis.schedules import RedisSchedules
from talo.stores.redis.sentinel import sentinel_place
from talo.stores.tls import TLS_OPTIONS

__all__ = ["RedisStore"]

#: Releases that share it understand each other's keys, scripts and values: see ``docs/internals/upgrading.md``.
GENERATION = b"1"

_NAMED = (
    "max_connections",
    "pool_timeout",
    "connect_timeout",
    "client_name",
    "failover",
    "master_name",
    "sentinel_kwargs",
    "fanout_prefix",
    "fanout_patterns",
)


class RedisStore(Store):
    """Broker, results, bus, locks, schedules and history in one Redis (or Valkey) database, or one slot of a cluster.

    ``url``: one, or several joined by ``;``: alternatives, sentinels (then ``master_name`` and ``sentinel_kwargs`` say
    more), or nodes of a cluster. ``failover``: ``round-robin`` or ``shuffle``, the order of alternatives.

    ``timeout``: seconds for one operation. ``priority_order``: ``high-first`` (9 is the most urgent) or ``low-first``
    (0 is, as in Celery on Redis). ``keyprefix`` stands in front of every key; the URL may name it too
    (``?global_keyprefix=``). ``max_connections`` bounds the connections of one process, those that listen for results
    or on the bus aside; ``pool_timeout`` the wait for a free one and ``connect_timeout`` connecting, in seconds, both
    within the operation's own time. ``client_name`` is what the server calls them. ``fanout_prefix`` and
    ``fanout_patterns`` name the channels of events and remote control, as in Celery. ``ssl_*``: as in redis-py, for
    ``rediss://``.
    """

    broker: RedisBroker
    results: RedisResults
    ledger: RedisLedger

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 5.0,
        priority_order: Literal["high-first", "low-first"] = "high-first",
        keyprefix: str = "",
        max_connections: int = 3,
        pool_timeout: float | None = None,
        connect_timeout: float | None = None,
        client_name: str = "talo",
        failover: str | None = None,
        master_name: str | None = None,
        sentinel_kwargs: dict[str, Any] | None = None,
        fanout_prefix: bool | str = True,
        fanout_patterns: bool = True,
        **options: Any,
    ) -> None:
        _check(options)
        if priority_order not in ("high-first", "low-first"):
            raise ImproperlyConfigured(f"priority_order is high-first or low-first, not {priority_order!r}")
        if not timeout > 0:
            raise ImproperlyConfigured(f"timeout is a number of seconds above 0, not {timeout!r}")
        if max_connections < 2:
            raise ImproperlyConfigured("max_connections is at least 2: one may wait for work while another sends")
        urls = [each for each in url.split(";") if each]
        scheme = urls[0].partition("://")[0].lower() if urls else ""
        made = Connecting(client_name, connect_timeout)
        keyprefix = keyprefix_of(urls, keyprefix)
        if scheme.endswith("+cluster"):
            keyprefix = tagged(keyprefix)
            place: Place = Cluster([parse_url(each, options) for each in urls], keyprefix, made)
        elif scheme == "sentinel":
            place = sentinel_place(urls, made, options, master_name, sentinel_kwargs)
        else:
            place = _alternatives([parse_url(each, options) for each in urls], checked_order(failover))
        keys = Keys(keyprefix, high_first=priority_order == "high-first")
        self._client = Client(place, keys, timeout, Limits(max_connections, pool_timeout), made)
        self.features = Features(
            name="redis",
            atomic=True,
            shared=True,
            durable=True,
            max_message=MAX_MESSAGE,
            schedules=True,
            history=True,
            peek=True,
            reschedules=True,
            foreign=True,
        )
        self.broker = RedisBroker(self._client)
        self.ledger = RedisLedger(self._client)
        self.results = RedisResults(self._client, self._cleanup, Groups(self._client, self.broker.sendable))
        self.bus = RedisBus(self._client, Fanout(fanout_prefix, fanout_patterns))
        self.locks = RedisLocks(self._client)
        self.history = RedisHistory(self._client)
        self.schedules = RedisSchedules(self._client, self.broker.sendable)

    def _cleanup(self, limit: int) -> int:
        """Delete what does not expire by itself."""
        deleted = self.broker.cleanup(limit)
        return deleted + self.ledger.cleanup(limit - deleted) if deleted < limit else deleted

    def __repr__(self) -> str:
        return f"<RedisStore {self.url}>"

    @property
    def url(self) -> str:
        return self._client.place.shown

    def ping(self, timeout: float) -> None:
        """Reach the store; ``ImproperlyConfigured`` if another generation of Talo keeps its keys there."""
        deadline, key = self._client.deadline(timeout), self._client.keys.own("generation")
        found = self._client.call_packed(pack("GET", key), deadline)
        if found is None:
            self._client.call_packed(pack("SET", key, GENERATION, "NX"), deadline)
        elif found != GENERATION:
            raise ImproperlyConfigured(
                f"{self.url} holds the tasks of another generation of Talo ({found.decode()}, this release is of "
                f"{GENERATION.decode()}): let its workers empty it first"
            )

    def same_as(self, other: Store) -> bool:
        if not isinstance(other, RedisStore):
            return False
        mine, theirs = self._client, other._client
        return mine.place.identity == theirs.place.identity and mine.keys.text == theirs.keys.text

    def concerns(self) -> list[str]:
        """What in this server's configuration may lose tasks, a sentence each; none if it is sound or does not say."""
        try:
            info = self._client.call("INFO")
        except AccessRefused:
            return []  # this user may not ask
        text = info.decode("utf-8", "replace") if isinstance(info, bytes) else str(info)
        facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        found = []
        policy = facts.get("maxmemory_policy", "noeviction")
        if facts.get("maxmemory", "0") != "0" and policy != "noeviction":
            found.append(f"{self.url} may evict tasks when its memory is full: set maxmemory-policy to noeviction")
        if facts.get("aof_enabled") == "0":
            found.append(f"{self.url} forgets what it was told last when it dies: set appendonly to yes")
        return found

    def close(self) -> None:
        self.results.close()
        self.broker.close()
        self._client.pool.close()


def _alternatives(addresses: list[Address], order: str | None) -> Place:
    return Fixed(addresses[0]) if len(addresses) == 1 else Several(addresses, order)


def _check(options: dict[str, Any]) -> None:
    for name in options:
        if name not in TLS_OPTIONS:
            known = [*TLS_OPTIONS, "timeout", "priority_order", "keyprefix", *_NAMED]
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ImproperlyConfigured(f"{name} is no option of the Redis store{hint}")
