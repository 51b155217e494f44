"""Queues, exchanges and bindings, as Celery declares them.

Owns what is declared and when: a queue that exists is used as it is, a new one is made as the application describes it,
as a quorum queue where nothing speaks against it. Also the exchanges in which delayed messages wait (Celery 5.5's
delayed delivery, ``DELAY`` and its 28 levels, in the same names and forms). Called by ``broker`` under the client's
lock.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from talo.errors import ImproperlyConfigured, NotSupported
from talo.stores.rabbitmq._refusals import NOT_FOUND, PRECONDITION_FAILED, RESOURCE_LOCKED, ChannelRefused
from talo.stores.rabbitmq.channel import Ask, Channel, exchange_bound, exchange_declared, queue_bound, queue_declared
from talo.stores.rabbitmq.connection import Connection
from talo.wire.queues import Broadcast, Exchange, Queue

__all__ = ["MAX_DELAY", "Topology"]

log = logging.getLogger(__name__)

#: How the names of Talo's own queues begin.
OWN = "talo."
_LEVELS = 28
_TOP = _LEVELS - 1
#: Milliseconds that a queue which deletes itself outlives its last reader. AMQP's own flag would take it, with what is
#: in it, whenever a child pauses between two consumers.
_LINGER = 3_600_000
#: Seconds.
MAX_DELAY = 2**_LEVELS - 1
DELAY = "celery_delayed_delivery"

Queues = Callable[[], Mapping[str, Queue]]


class Topology:
    """What this connection has declared. ``queues`` gives the application's, by name; one that is not among them is
    direct, with exchange and key of its name."""

    def __init__(self, queues: Queues, queue_type: str, delayed_type: str) -> None:
        self._queues = queues
        self._queue_type = queue_type
        self._delayed_type = delayed_type
        self._generation = 0
        self._declared: set[tuple[str, str, str]] = set()
        self._delays: set[str] = set()
        #: Asked for things that may not be there; the server closes it then.
        self._channel: Channel | None = None
        #: Every queue that was declared here, ever.
        self.known: set[str] = set()
        #: Queues of which it was seen whether they know priorities.
        self._minded: set[str] = set()

    def queue(self, name: str) -> Queue:
        """The description of a queue."""
        queues = self._queues()
        # Asking for a missing one would add it to the application's.
        found = queues.get(name)
        if name.startswith(OWN):
            # Reached over the default exchange only.
            return Queue(name)
        return found if found is not None else Queue(name, exchange=Exchange(name, type="direct"), routing_key=name)

    def lasts(self, name: str) -> bool:
        """Whether a queue outlives its connections."""
        spec = self.queue(name)
        return spec.durable and not spec.exclusive and not spec.auto_delete

    def names(self) -> set[str]:
        """The queues that the application has and those that were declared here."""
        return {queue.name for queue in self._queues().values()} | self.known

    def ensure(
        self, connection: Connection, name: str, deadline: float, *,
        exchange: str = "", key: str = "", again: bool = False,
    ) -> None:  # fmt: skip
        """Let the queue be there, bound as it should be, and also to ``exchange`` with ``key`` where that is another
        one. ``again`` although it was declared: somebody has deleted it."""
        self._begin(connection)
        known = (name, exchange, key)
        if known in self._declared and not again:
            return
        spec = self.queue(name)
        self._make(connection, spec, deadline)
        if exchange and exchange != spec.exchange.name:
            self._bind(connection, name, Exchange(exchange), key, deadline)
        self._declared.add(known)
        if not name.startswith(OWN):
            self.known.add(name)

    def ensure_exchange(self, connection: Connection, name: str, deadline: float) -> bool:
        """For who sends to a broadcast: let its exchange be there, and no queue of the sender's own, which nobody
        would read. False if this queue is none of a broadcast."""
        self._begin(connection)
        spec = self.queue(name)
        if not isinstance(spec, Broadcast):
            return False
        if (known := ("", spec.exchange.name, "")) not in self._declared:
            self._declare_exchange(self._asking(connection, deadline), spec.exchange, deadline)
            self._declared.add(known)
        return True

    def kind(self, name: str, exchange: str) -> str:
        """The type of the exchange through which a message for this queue goes."""
        spec = self.queue(name)
        ways = [spec.exchange, *(binding.exchange for binding in spec.bindings)]
        return next((each.type for each in ways if each.name == exchange), "direct")

    def mind_priority(self, name: str) -> None:
        """A message with a priority goes to this queue: say once, by its name, if the queue knows none."""
        if name in self._minded:
            return
        self._minded.add(name)
        spec = self.queue(name)
        if spec.max_priority is None and "x-max-priority" not in (spec.queue_arguments or {}):
            log.warning(
                "Queue %s knows no priorities, so those that are asked for change nothing: give it a highest one "
                "(Queue(%r, max_priority=9), or task_queue_max_priority), and delete it on the server if it exists "
                "without",
                name,
                name,
                extra={"action": "priority-ignored", "queue": name},
            )

    def ready(self, connection: Connection, name: str, deadline: float) -> int | None:
        """The number of ready messages; None if there is no such queue."""
        self._begin(connection)
        try:
            return self._asking(connection, deadline).declare_queue(name, deadline, passive=True)[1]
        except ChannelRefused as refused:
            if refused.code == NOT_FOUND:
                return None
            if refused.code == RESOURCE_LOCKED:  # another's, and its alone
                return 0
            raise

    def delay(self, connection: Connection, queue: str, seconds: float, deadline: float) -> tuple[str, str]:
        """Exchange and routing key by which a message comes to the queue after so many seconds, rounded up to whole
        ones."""
        whole = math.ceil(seconds)
        if whole > MAX_DELAY:
            raise NotSupported(f"RabbitMQ keeps a delayed task {MAX_DELAY} s at most, not {whole}")
        self._begin(connection)
        if queue not in self._delays:
            self._ensure_delays(connection, deadline)
            # All 28 digits and then the very name: "#." in front of it would also take "x.name".
            self._asking(connection, deadline).bind(queue, DELAY, "*." * _LEVELS + queue, deadline)
            self._delays.add(queue)
        digits = ".".join(format(whole, f"0{_LEVELS}b"))
        # It enters where it waits first. The levels above would only hand it down, each at the cost of a publish.
        return _level(whole.bit_length() - 1), f"{digits}.{queue}"

    # -- making -------------------------------------------------------------------------------------------------------

    def _begin(self, connection: Connection) -> None:
        if connection.generation != self._generation:
            self._generation = connection.generation
            self._declared.clear()
            self._delays.clear()
            self._channel = None

    def _asking(self, connection: Connection, deadline: float) -> Channel:
        if self._channel is None or not self._channel.open:
            self._channel = connection.channel(deadline)
        return self._channel

    def _make(self, connection: Connection, spec: Queue, deadline: float) -> None:
        if self.ready(connection, spec.name, deadline) is None:
            try:
                self._asking(connection, deadline).declare_queue(
                    spec.name,
                    deadline,
                    durable=spec.durable,
                    exclusive=spec.exclusive,
                    auto_delete=spec.auto_delete and spec.exclusive,
                    arguments=self._arguments(spec),
                )
            except ChannelRefused as refused:
                # Somebody made it, otherwise, in this very moment.
                if refused.code != PRECONDITION_FAILED or self.ready(connection, spec.name, deadline) is None:
                    raise _misfit(refused, f"queue {spec.name!r}") from refused
        if spec.exchange.name:
            self._bind(connection, spec.name, spec.exchange, spec.routing_key, deadline, spec.binding_arguments)
        for binding in spec.bindings:
            if binding.exchange.name:
                self._bind(connection, spec.name, binding.exchange, binding.routing_key, deadline, binding.arguments)

    def _bind(
        self, connection: Connection, queue: str, exchange: Exchange, key: str, deadline: float, arguments: Any = None
    ) -> None:  # fmt: skip
        channel = self._asking(connection, deadline)
        try:
            self._declare_exchange(channel, exchange, deadline)
            channel.bind(queue, exchange.name, key or "", deadline, arguments)
        except ChannelRefused as refused:
            raise _misfit(refused, f"exchange {exchange.name!r}") from refused

    def _declare_exchange(self, channel: Channel, exchange: Exchange, deadline: float) -> None:
        if not exchange.no_declare and not exchange.name.startswith("amq."):
            channel.declare_exchange(
                exchange.name,
                exchange.type,
                deadline,
                durable=exchange.durable,
                auto_delete=exchange.auto_delete,
                passive=exchange.passive,
                arguments=exchange.arguments,
            )

    def _arguments(self, spec: Queue) -> dict[str, Any]:
        arguments = dict(spec.queue_arguments or {})
        for name, value in (
            ("x-expires", spec.expires and int(spec.expires * 1000)),
            ("x-message-ttl", spec.message_ttl and int(spec.message_ttl * 1000)),
            ("x-max-length", spec.max_length),
            ("x-max-length-bytes", spec.max_length_bytes),
            ("x-max-priority", spec.max_priority),
        ):
            if value is not None:
                arguments.setdefault(name, value)
        if spec.auto_delete and not spec.exclusive:
            arguments.setdefault("x-expires", _LINGER)
        if (
            self._queue_type == "quorum"
            and self.lasts(spec.name)
            and not {"x-queue-type", "x-max-priority"} & arguments.keys()
        ):
            arguments["x-queue-type"] = "quorum"
        return arguments

    # -- delays -------------------------------------------------------------------------------------------------------

    def delayed(self, connection: Connection, deadline: float) -> int:
        """How many messages wait in the queues of delays, whoever sent them and wherever they go."""
        if self.ready(connection, _level(_TOP), deadline) is None:
            return 0
        return sum(self.ready(connection, _level(each), deadline) or 0 for each in range(_LEVELS))

    def _ensure_delays(self, connection: Connection, deadline: float) -> None:
        """Let the levels be there, made in one exchange: one by one they are more than a hundred, which take a server
        under load longer than a send may."""
        exchanges = [exchange_declared(each, "topic") for each in (DELAY, *map(_level, range(_LEVELS)))]
        exchanges.append(exchange_bound(DELAY, _level(0), "*." * _TOP + "0.#"))
        queues = [queue_declared(_level(each), arguments=self._delay_arguments(each)) for each in range(_LEVELS)]
        # The topmost comes last: where it is, the others are; it is bound again in case its maker died over it.
        asks = _bound(_TOP)
        if self.ready(connection, _level(_TOP), deadline) is None:
            asks = [*exchanges, *chain.from_iterable((queues[each], *_bound(each)) for each in range(_LEVELS))]
        try:
            self._asking(connection, deadline).call_all(asks, deadline)
        except ChannelRefused as refused:
            if refused.code != PRECONDITION_FAILED:
                raise
            # Somebody has made some of them, and otherwise. They are used as they are.
            there = {each for each in range(_LEVELS) if self.ready(connection, _level(each), deadline) is not None}
            asks = [ask for ask in asks if ask not in {queues[each] for each in there}]
            self._asking(connection, deadline).call_all(asks, deadline)

    def _delay_arguments(self, level: int) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "x-overflow": "reject-publish",
            "x-message-ttl": 2**level * 1000,
            "x-dead-letter-exchange": _level(level - 1) if level else DELAY,
        }
        if self._delayed_type == "quorum":
            arguments |= {"x-queue-type": "quorum", "x-dead-letter-strategy": "at-least-once"}
        return arguments


def _level(level: int) -> str:
    """The exchange and the queue in which a delay with this bit waits."""
    return f"celery_delayed_{level}"


def _bound(level: int) -> list[Ask]:
    """A level takes what waits for its bit, and hands down what does not."""
    stars = "*." * (_TOP - level)
    own = queue_bound(_level(level), _level(level), f"{stars}1.#")
    return [own, exchange_bound(_level(level - 1), _level(level), f"{stars}0.#")] if level else [own]


def _misfit(refused: ChannelRefused, what: str) -> Exception:
    if refused.code == PRECONDITION_FAILED:
        return ImproperlyConfigured(
            f"{what} exists with other arguments than this application asks for: delete it on the server, or "
            f"describe it as it is in task_queues ({refused.text})"
        )
    return refused
