"""The RabbitMQ store: one virtual host, as broker and bus, and as the way back for results (``rpc``).

Owns the options and putting the roles together; each role has its own module. Called by ``stores.url``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from talo.errors import ImproperlyConfigured
from talo.stores.base import Features, Store
from talo.stores.rabbitmq.absent import NoLocks, NoResults
from talo.stores.rabbitmq.address import TLS_OPTIONS, parse_urls
from talo.stores.rabbitmq.broker import RabbitBroker
from talo.stores.rabbitmq.bus import RabbitBus
from talo.stores.rabbitmq.client import Client
from talo.stores.rabbitmq.publishing import MAX_MESSAGE
from talo.stores.rabbitmq.results import RpcResults
from talo.stores.rabbitmq.topology import MAX_DELAY, Topology
from talo.wire.queues import Queue

__all__ = ["RabbitStore"]

#: Seconds: ``consumer_timeout`` of a server whose operator has not set it.
ACKNOWLEDGEMENT_TIMEOUT = 1800.0
_OPTIONS = ("timeout", "connect_timeout", "heartbeat", "queues", "queue_type", "delayed_type", "rpc", "result_expires")


class RabbitStore(Store):
    """Broker and bus in one virtual host of RabbitMQ.

    ``timeout``: seconds for one operation. ``connect_timeout``: for one host, within that. ``heartbeat``: seconds, 0
    for none. ``queues`` gives the application's queues by name. ``queue_type`` and ``delayed_type`` (``quorum``,
    ``classic``): of new queues, and of those in which delayed messages wait. ``rpc`` gives the reply queue of the
    calling thread: then results are sent back to who asked; ``result_expires``: seconds after which an abandoned reply
    queue is deleted. ``ssl_*``: for TLS.
    """

    broker: RabbitBroker
    bus: RabbitBus

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 5.0,
        connect_timeout: float | None = None,
        heartbeat: float | None = 120.0,
        queues: Callable[[], Mapping[str, Queue]] = dict,
        queue_type: str = "quorum",
        delayed_type: str = "quorum",
        rpc: Callable[[], str] | None = None,
        result_expires: float | None = 86400.0,
        **options: Any,
    ) -> None:
        _check(options)
        for name, value in (("queue_type", queue_type), ("delayed_type", delayed_type)):
            if value not in ("quorum", "classic"):
                raise ImproperlyConfigured(f"{name} is quorum or classic, not {value!r}")
        if not timeout > 0:
            raise ImproperlyConfigured(f"timeout is a number of seconds above 0, not {timeout!r}")
        self._client = Client(parse_urls(url, options), timeout, heartbeat or 0.0, connect_timeout)
        self.features = Features(
            name="rabbitmq",
            atomic=False,
            shared=True,
            durable=True,
            max_delay=MAX_DELAY,
            max_message=MAX_MESSAGE,
            foreign=True,
            locks=False,
            results=rpc is not None,
            hands_over=False,
            tells_owners=False,
            wakes_one=True,
            exchanges=True,
            max_hold=ACKNOWLEDGEMENT_TIMEOUT,
            purges_from=float("inf"),
        )
        self.broker = RabbitBroker(self._client, Topology(queues, queue_type, delayed_type))
        self.bus = RabbitBus(self._client)
        self.locks = NoLocks()
        self.results = NoResults()
        if rpc is not None:
            self.results = results = RpcResults(self._client, rpc, result_expires)
            self.broker.before_send = results.before_send
            self.broker.answer = results.answer

    def __repr__(self) -> str:
        return f"<RabbitStore {self.url}>"

    @property
    def url(self) -> str:
        return ";".join(address.shown for address in self._client.addresses)

    def ping(self, timeout: float) -> None:
        with self._client.using(self._client.deadline(timeout)):
            return

    def same_as(self, other: Store) -> bool:
        if not isinstance(other, RabbitStore):
            return False
        return self._client.addresses[0].place == other._client.addresses[0].place

    def close(self) -> None:
        self._client.close()


def _check(options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in TLS_OPTIONS:
            near = difflib.get_close_matches(name, [*TLS_OPTIONS, *_OPTIONS], 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ImproperlyConfigured(f"{name} is no option of the RabbitMQ store{hint}")
