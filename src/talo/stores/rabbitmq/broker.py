"""The broker on RabbitMQ: sending, fetching, settling, and what others ask of an owner here.

Owns the order of a settlement's steps: follow-ups, retries and dead letters are published and confirmed, then the
message is acknowledged. So a crash between repeats and never loses. How messages come is ``owner``'s, how they go
``publishing``'s, how queues are declared ``topology``'s, what is said to owners elsewhere ``mailbox``'s. Called by
``store``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

import msgspec

from talo.errors import LeaseLost, NotSupported, OperationalError, PublishTimeout
from talo.stores.base import (
    Broker,
    DeadLetter,
    Death,
    Delivery,
    Lease,
    OwnerInfo,
    QueueStats,
    Renewal,
    Settlement,
    Turn,
    Verdict,
)
from talo.stores.rabbitmq._refusals import ChannelRefused
from talo.stores.rabbitmq.client import Client
from talo.stores.rabbitmq.connection import Connection
from talo.stores.rabbitmq.dead import DEAD, DeadLetters
from talo.stores.rabbitmq.letters import Facts, buried
from talo.stores.rabbitmq.mailbox import Mailbox
from talo.stores.rabbitmq.owner import Held, Owner, suspects_of
from talo.stores.rabbitmq.publishing import Out, Publishing
from talo.stores.rabbitmq.topology import Topology
from talo.wire._ids import new_id
from talo.wire.message import Message

__all__ = ["RabbitBroker"]

#: Every settlement is asked for these; to look one up through its class takes Python 3.11 long.
_AGAIN, _DEAD = Verdict.AGAIN, Verdict.DEAD
#: Seconds that remain of a lease that ends with its connection only.
_ENDLESS = 1e9

Results = Callable[[Connection, Sequence[Settlement], Sequence[Held], float], None]


class RabbitBroker(Broker):
    """The broker role of ``RabbitStore``. A lease is an unacknowledged delivery on a connection, and ends with it."""

    def __init__(self, client: Client, topology: Topology) -> None:
        self._client = client
        self._topology = topology
        self._publishing = Publishing(client, topology)
        self._dead = DeadLetters(client)
        self._mailbox = Mailbox(client, self)
        self._owners: dict[str, Owner] = {}
        self._tokens = itertools.count(1)
        #: Which owner each thread turned for last, to wait for it.
        self._local = threading.local()
        self._latest = ""
        self._alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        #: Where results go that are sent back to who asked; set by ``store``.
        self.answer: Results | None = None
        #: Told of every sending, before it.
        self.before_send: Callable[[Connection, Sequence[Message], float], None] | None = None
        client.on_lost.append(self._owners.clear)
        client.on_idle.append(self._look_after)

    # -- sending ------------------------------------------------------------------------------------------------------

    def send(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        self.begin_send(messages, timeout=timeout)()

    def begin_send(self, messages: Sequence[Message], *, timeout: float | None = None) -> Callable[[], None]:
        if not messages:
            return lambda: None
        client = self._client
        deadline = client.deadline(timeout)
        with self._in_time(deadline, timeout), client.using(deadline) as connection:
            for message in messages:
                if message.priority:
                    self._topology.mind_priority(message.queue)
            if self.before_send is not None:
                self.before_send(connection, messages, deadline)
            begun = self._publishing.begin(connection, [Out(message) for message in messages], deadline)
        left = deadline - monotonic()

        def finish() -> None:
            # What the caller does meanwhile is not the server's time.
            until = monotonic() + left
            with self._in_time(until, timeout), client.using(until) as connection:
                self._publishing.finish(connection, begun, until)

        return finish

    @contextlib.contextmanager
    def _in_time(self, deadline: float, timeout: float | None) -> Iterator[None]:
        """Say of what was not sent in time that it was not."""
        try:
            yield
        except OperationalError as error:
            if timeout is not None and monotonic() >= deadline and not isinstance(error, PublishTimeout):
                raise PublishTimeout(f"{self._client.shown} took nothing within {timeout:g} s: {error}") from error
            raise

    def _give_back(
        self, connection: Connection, messages: Sequence[tuple[Message, Facts]], deadline: float
    ) -> None:  # fmt: skip
        """Back to their queues, at the end: AMQP cannot put them to the head and say that they never ran."""
        self._publishing.put(connection, [Out(message, facts, direct=True) for message, facts in messages], deadline)

    # -- turns --------------------------------------------------------------------------------------------------------

    def turn(self, settlements: Sequence[Settlement], owner: str, queues: Sequence[str], limit: int) -> Turn:
        deadline = self._client.deadline()
        with self._client.using(deadline) as connection:
            own = self._own(owner)
            own.leave(queues, deadline)
            refused = self._settle(connection, settlements, deadline, queues)
            deliveries = self._fetch(connection, own, queues, limit, deadline)
        return Turn(deliveries, refused)

    def settle(self, settlements: Sequence[Settlement]) -> list[Lease]:
        deadline = self._client.deadline()
        with self._client.using(deadline) as connection:
            return self._settle(connection, settlements, deadline)

    def fetch(self, owner: str, queues: Sequence[str], limit: int, refused: list[Lease] | None = None) -> Turn:
        deadline = self._client.deadline()
        with self._client.using(deadline) as connection:
            deliveries = self._fetch(connection, self._own(owner), queues, limit, deadline)
        return Turn(deliveries, refused or [])

    def _own(self, name: str) -> Owner:
        owner = self._owners.get(name)
        if owner is None or not owner.channel.open:
            # With its channel went what it held: it may have kept a message for longer than the server allows.
            self._owners.pop(name, None)
            raise LeaseLost(f"owner {name} is not open")
        return owner

    def _fetch(
        self, connection: Connection, own: Owner, queues: Sequence[str], limit: int, deadline: float
    ) -> list[Delivery]:  # fmt: skip
        self._local.owner = self._latest = own.name
        self._answer_mail(connection, deadline)
        if limit:
            self._ensure(connection, queues, deadline)
        try:
            return own.fetch(connection, queues, limit, self._tokens, deadline)
        except ChannelRefused:
            # The channel is gone, and with it what this owner held.
            self._owners.pop(own.name, None)
            raise

    def _ensure(self, connection: Connection, queues: Sequence[str], deadline: float) -> None:
        """Let the queues be there, with those of their suspects: what is made in the middle of a trouble may be what
        the server forgets by it."""
        for queue in queues:
            lasts = self._topology.lasts(queue)
            # What does not last may be gone since; asking for it also tells the server that it is used.
            self._topology.ensure(connection, queue, deadline, again=not lasts)
            if lasts:
                self._topology.ensure(connection, suspects_of(queue), deadline)

    # -- settling -----------------------------------------------------------------------------------------------------

    def _settle(
        self,
        connection: Connection,
        settlements: Sequence[Settlement],
        deadline: float,
        asked: Sequence[str] | None = None,
    ) -> list[Lease]:
        """Settle; ``asked`` are the queues of which this turn asks for more."""
        refused: list[Lease] = []
        ours: list[tuple[Settlement, Owner, Held]] = []
        elsewhere: dict[str, list[Settlement]] = {}
        seen: set[Lease] = set()
        for settlement in settlements:
            lease = settlement.lease
            owner = self._owners.get(lease.owner)
            if owner is None:
                elsewhere.setdefault(lease.owner, []).append(settlement)
            elif (held := owner.held.get(lease.token)) is None or lease in seen:
                refused.append(lease)
            else:
                seen.add(lease)
                ours.append((settlement, owner, held))
        if ours:
            self._end(connection, ours, deadline, asked)
        for name, theirs in elsewhere.items():
            refused += self._mailbox.settle(connection, name, theirs, deadline)
        return refused

    def _end(
        self,
        connection: Connection,
        ends: Sequence[tuple[Settlement, Owner, Held]],
        deadline: float,
        asked: Sequence[str] | None,
    ) -> None:
        if self.answer is not None:
            self.answer(connection, [each[0] for each in ends], [each[2] for each in ends], deadline)
        outs: list[Out] = []
        graves = []
        for settlement, _, held in ends:
            # A retry of a message that an exchange had given to many queues is this queue's alone.
            outs += [
                Out(self._asked_by(it, held), direct=it.id is not None and it.id == held.message.id)
                for it in settlement.follow
            ]
            if settlement.verdict is _AGAIN:
                paused = asked is not None and held.message.queue not in asked
                outs.append(_back(settlement, held, ahead=paused))
            elif settlement.verdict is _DEAD:
                death = settlement.death or Death(reason="unknown")
                queue = death.queue or held.message.queue
                graves.append(buried(held.message, new_id(), queue, held.facts.deliveries, death))
        if outs:
            self._publishing.put(connection, outs, deadline)
            if any(out.facts.suspect for out in outs):
                for owner in self._owners.values():
                    owner.look_for_suspects()
        if graves:
            self._dead.ensure(connection, deadline)
            publisher = self._client.publisher(connection, deadline)
            publisher.publish([("", DEAD, *grave) for grave in graves], deadline)
        tokens: dict[str, list[int]] = {}
        for settlement, owner, _ in ends:
            tokens.setdefault(owner.name, []).append(settlement.lease.token)
        for name, done in tokens.items():
            self._owners[name].done(done, deadline)

    def _asked_by(self, message: Message, held: Held) -> Message:
        """What follows answers whom its forerunner answered, where answers are sent back."""
        asked_by = held.message.properties.get("reply_to")
        if self.answer is None or asked_by is None or message.properties.get("reply_to") == asked_by:
            return message
        return msgspec.structs.replace(message, properties={**message.properties, "reply_to": asked_by})

    # -- waiting ------------------------------------------------------------------------------------------------------

    def wait(self, queues: Sequence[str], timeout: float, also: Sequence[int] = ()) -> bool:
        def something(connection: Connection) -> bool:
            deadline = self._client.deadline()
            self._answer_mail(connection, deadline)
            owner = self._owners.get(getattr(self._local, "owner", self._latest))
            if owner is None or not owner.channel.open:
                return True  # The next turn says what has become of it.
            if owner.ready:
                return True  # What came now would wait behind that.
            self._ensure(connection, queues, deadline)
            owner.listen(queues, deadline)
            connection.take_in()
            return owner.ready

        woken = self._client.await_(something, monotonic() + timeout, (self._alarm, *also))
        self._hush()
        return woken

    def interrupt(self) -> None:
        os.eventfd_write(self._alarm, 1)

    def _hush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._alarm)

    # -- owners -------------------------------------------------------------------------------------------------------

    def open(self, owner: str, *, worker: str, slots: int, lease: float) -> None:  # noqa: ARG002
        deadline = self._client.deadline()
        with self._client.using(deadline) as connection:
            if owner not in self._owners:
                made = Owner(owner, worker, slots, connection.channel(deadline), self._give_back, self._topology.ready)
                self._mailbox.open(made, deadline)
                self._owners[owner] = made

    def renew(self, owners: Sequence[str], lease: float) -> Renewal:  # noqa: ARG002
        """A lease lives as long as its connection; this only tells who is not there any more."""
        deadline = self._client.deadline()
        with self._client.using(deadline) as connection:
            strangers = [name for name in owners if name not in self._owners]
            return Renewal(self._mailbox.absent(connection, strangers, deadline))

    def owners(self) -> list[OwnerInfo]:
        """The owners of this process: the server tells nobody whose a delivery is."""
        return [
            OwnerInfo(owner=own.name, worker=own.worker, slots=own.slots, remaining=_ENDLESS, held=len(own.held))
            for own in list(self._owners.values())
        ]

    def held(self, owner: str) -> list[Delivery]:
        deadline = self._client.deadline()
        with self._client.using(deadline) as connection:
            own = self._owners.get(owner)
            return own.deliveries() if own is not None else self._mailbox.held(connection, owner, deadline)

    def take_over(self, owner: str, by: str, limit: int, *, expired: bool) -> list[Delivery]:  # noqa: ARG002
        """Nothing: what a dead connection held has been handed out again by the server itself."""
        return []

    def close_owner(self, owner: str) -> None:
        own = self._owners.get(owner)
        if own is None or own.held:
            return
        deadline = self._client.deadline()
        with self._client.using(deadline) as connection:
            if self._owners.get(owner) is own:
                own.release(connection, deadline)
                del self._owners[owner]

    def _look_after(self) -> bool:
        """The keeper's part: while tasks run, answer what others ask, and give back what waits here."""
        deadline = self._client.deadline()
        with self._client.using(deadline) as connection:
            self._answer_mail(connection, deadline)
            for owner in list(self._owners.values()):
                owner.tidy(connection, deadline)
        return any(owner.ready for owner in self._owners.values())

    def _answer_mail(self, connection: Connection, deadline: float) -> None:
        for owner in list(self._owners.values()):
            while owner.mail:
                self._mailbox.answer(connection, owner, owner.mail.popleft(), deadline)

    def settle_here(
        self, connection: Connection, settlements: Sequence[Settlement], deadline: float
    ) -> list[Lease]:  # fmt: skip
        """Settle for an owner of this process what another process has brought."""
        known = [each for each in settlements if each.lease.owner in self._owners]
        unknown = [each.lease for each in settlements if each.lease.owner not in self._owners]
        return unknown + self._settle(connection, known, deadline)

    # -- numbers ------------------------------------------------------------------------------------------------------

    def stats(self, queues: Sequence[str] | None = None) -> list[QueueStats]:
        deadline = self._client.deadline()
        names = sorted(self._topology.names()) if queues is None else queues
        with self._client.using(deadline) as connection:
            ready = {
                name: sum(self._topology.ready(connection, each, deadline) or 0 for each in (name, suspects_of(name)))
                for name in names
            }
            leased = dict.fromkeys(names, 0)
            for owner in self._owners.values():
                for held in owner.held.values():
                    leased[held.message.queue] = leased.get(held.message.queue, 0) + 1
        return [QueueStats(name=name, ready=ready[name], delayed=None, leased=leased[name]) for name in names]

    def delayed_total(self) -> int | None:
        deadline = self._client.deadline()
        with self._client.using(deadline) as connection:
            return self._topology.delayed(connection, deadline)

    def reschedule(self, task_ids: Sequence[str], due: float, *, prefix: str = "") -> set[str]:
        del task_ids, due, prefix
        raise NotSupported(
            "RabbitMQ cannot reach what waits in it: for tasks that are to be rescheduled set "
            "broker_delays_in_result_backend, with result_backend a store that keeps them (redis://, postgresql://)"
        )

    def undelay(self, change: Callable[[Message], Message], limit: int) -> int:  # noqa: ARG002
        """Nothing to do: what is delayed waits in Celery's own exchanges, and comes into its queue by itself."""
        return 0

    def purge(self, queues: Sequence[str]) -> int:
        deadline = self._client.deadline()
        purged = 0
        with self._client.using(deadline) as connection:
            for name in (each for queue in queues for each in (queue, suspects_of(queue))):
                if self._topology.ready(connection, name, deadline) is not None:
                    purged += self._client.publisher(connection, deadline).purge(name, deadline)
        return purged

    # -- dead letters -------------------------------------------------------------------------------------------------

    def dead(
        self, *, limit: int = 50, offset: int = 0, task: str | None = None, queue: str | None = None
    ) -> list[DeadLetter]:
        return self._dead.page(limit, offset, task, queue)

    def dead_get(self, ids: Sequence[str]) -> list[DeadLetter]:
        return self._dead.get(ids)

    def dead_replace(self, ids: Sequence[str], messages: Sequence[Message]) -> int:
        def send(connection: Connection, deadline: float) -> None:
            self._publishing.put(connection, [Out(message, direct=True) for message in messages], deadline)

        return self._dead.replace(ids, send)


def _back(settlement: Settlement, held: Held, *, ahead: bool) -> Out:
    """What goes back to its queue: to the end, for AMQP knows no other place, or ``ahead`` of it, to the suspects,
    since a queue that is paused has to go on in its order."""
    ahead = ahead and settlement.delay <= 0
    facts = Facts(held.facts.deliveries + settlement.charge, ahead or settlement.suspect or held.facts.suspect)
    message = held.message
    if settlement.delay > 0:
        message = message.anew(message.headers, message.body, time.time() + settlement.delay)
    return Out(message, facts, direct=True)
