"""Messages on their way out: where each goes, publishing, and that a queue has it.

Owns the exchange and routing key of a message, its largest size, and what happens where no queue takes it: what it
needs is declared anew, once. The bytes are ``letters``'s, confirms ``channel``'s, declaring ``topology``'s. Called by
``broker``, under the client's lock.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from talo.errors import MessageTooLarge, StoreError
from talo.stores.rabbitmq._refusals import PRECONDITION_FAILED, ChannelRefused
from talo.stores.rabbitmq.channel import Batch, Channel
from talo.stores.rabbitmq.client import Client
from talo.stores.rabbitmq.connection import Connection
from talo.stores.rabbitmq.letters import Facts, packed
from talo.stores.rabbitmq.owner import suspects_of
from talo.stores.rabbitmq.topology import Topology
from talo.wire.message import Message

__all__ = ["MAX_MESSAGE", "Begun", "Out", "Publishing"]

#: ``max_message_size`` of RabbitMQ 3.8 to 3.13, and of 4.0 and newer.
MAX_MESSAGE = 128 * 1024 * 1024
_MAX_MESSAGE_4 = 16 * 1024 * 1024
#: A delay shorter than this is none.
_AT_ONCE = 0.001


class Out(NamedTuple):
    """A message that goes out: ``direct`` to its queue and no other."""

    message: Message
    facts: Facts = Facts()
    direct: bool = False


class Begun(NamedTuple):
    """Messages that were published; not all of them are confirmed."""

    channel: Channel
    batches: list[Batch]
    #: What stands in the last batch, each in a queue or missing.
    outs: list[Out]
    #: The size of the largest body, and the largest that the server takes.
    size: int
    limit: int


class Publishing:
    """Publishes for one process."""

    def __init__(self, client: Client, topology: Topology) -> None:
        self._client = client
        self._topology = topology

    def put(self, connection: Connection, outs: Sequence[Out], deadline: float) -> None:
        """Publish, and wait until all is confirmed. What no queue takes is declared anew, once."""
        self.finish(connection, self.begin(connection, outs, deadline), deadline)

    def finish(self, connection: Connection, begun: Begun, deadline: float) -> None:
        """Wait for what was begun, as ``put``."""
        missing = self._missing(begun, deadline)
        if missing and (missing := self._missing(self.begin(connection, missing, deadline, again=True), deadline)):
            message = missing[0].message
            raise StoreError(
                f"no queue takes a message for {message.queue!r} (exchange {message.exchange!r}, key "
                f"{message.routing_key!r}): bind one to it"
            )

    def begin(
        self, connection: Connection, outs: Sequence[Out], deadline: float, *, again: bool = False
    ) -> Begun:  # fmt: skip
        """Publish; ``again`` what no queue took."""
        sure: list[tuple[str, str, bytes, bytes]] = []
        told: list[tuple[str, str, bytes, bytes]] = []
        known: list[Out] = []
        seen: set[tuple[str | None, str, str]] = set()
        largest, limit = 0, self._limit(connection)
        for out in outs:
            message = out.message
            properties, body = packed(message, out.facts)
            if len(body) > largest:
                largest = len(body)
                if largest > limit:
                    raise MessageTooLarge(largest, limit, self._client.shown)
            exchange, key, kind = self._way(connection, out, deadline, again)
            if kind in ("fanout", "topic"):
                # One publish reaches every queue that is bound; the routes name each of them.
                if (way := (message.id, exchange, key)) in seen:
                    continue
                seen.add(way)
            if kind == "fanout":
                told.append((exchange, key, properties, body))
            else:
                sure.append((exchange, key, properties, body))
                known.append(out)
        channel = self._client.publisher(connection, deadline)
        begun = Begun(channel, [], known, largest, limit)
        try:
            # Nobody need hear what is told to all.
            if told:
                begun.batches.append(channel.begin(told, deadline, mandatory=False))
            begun.batches.append(channel.begin(sure, deadline))
        except ChannelRefused as refused:
            raise self._explained(refused, begun) from refused
        return begun

    def _missing(self, begun: Begun, deadline: float) -> list[Out]:
        """Wait until all is confirmed; return what no queue takes."""
        try:
            *_, missing = [begun.channel.confirmed(batch, deadline) for batch in begun.batches]
        except ChannelRefused as refused:
            raise self._explained(refused, begun) from refused
        return [begun.outs[at] for at in missing]

    def _explained(self, refused: ChannelRefused, begun: Begun) -> Exception:
        if refused.code == PRECONDITION_FAILED and refused.about == (60, 40):
            size = begun.size
            return MessageTooLarge(size, min(size - 1, begun.limit), f"{self._client.shown} ({refused.text})")
        return refused

    def _way(self, connection: Connection, out: Out, deadline: float, again: bool) -> tuple[str, str, str]:
        """Exchange, routing key and the exchange's type."""
        message = out.message
        delay = 0.0 if message.due is None else message.due - time.time()
        if out.direct or not message.exchange or delay > _AT_ONCE:
            queue = suspects_of(message.queue) if out.facts.suspect else message.queue
            self._topology.ensure(connection, queue, deadline, again=again)
            if delay > _AT_ONCE:
                return *self._topology.delay(connection, queue, delay, deadline), "direct"
            return "", queue, "direct"
        kind = self._topology.kind(message.queue, message.exchange)
        key = message.routing_key or message.queue
        if not self._topology.ensure_exchange(connection, message.queue, deadline):
            self._topology.ensure(connection, message.queue, deadline, exchange=message.exchange, key=key, again=again)
        return message.exchange, key, kind

    def _limit(self, connection: Connection) -> int:
        version = str(connection.server.get("version", "3"))
        return MAX_MESSAGE if version.startswith("3.") else _MAX_MESSAGE_4
