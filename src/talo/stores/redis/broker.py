"""Messages on Redis: Celery's own lists, and leases in keys of Talo's own.

Owns sending, the turn, waiting and numbers; leases and dead letters are neighbours that it hands on to. What happens
inside Redis stands in ``lua/``. Called by ``app.send``, the worker and the command line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from talo.errors import MessageTooLarge, PublishTimeout
from talo.states import SUCCESS
from talo.stores.base import (
    Broker,
    DeadLetter,
    Death,
    Delivery,
    Lease,
    OwnerInfo,
    QueueStats,
    Renewal,
    ResultMeta,
    Settlement,
    Sighting,
    Turn,
    Verdict,
)
from talo.stores.history import RunRecord
from talo.stores.redis import scripts
from talo.stores.redis._keeping import CHUNK, runs_as_parts
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Connection, DeadlinePassed, Part, pack
from talo.stores.redis.dead import DeadLetters
from talo.stores.redis.deliveries import delivery_of
from talo.stores.redis.groups import part_of
from talo.stores.redis.keys import SEPARATOR, list_of, queue_of
from talo.stores.redis.leases import Leases
from talo.stores.redis.rescheduling import Rescheduling
from talo.stores.redis.waiting import Waiting
from talo.stores.redis.wake import Wake
from talo.wire.envelope import pack as pack_message
from talo.wire.message import Message

__all__ = ["MAX_MESSAGE", "RedisBroker"]

#: The longest string that Redis takes.
MAX_MESSAGE = 512 * 1024 * 1024
#: Messages and bytes of one step: what keeps a script short and a write within the server's buffers.
_STEP, _STEP_BYTES = 1000, 16 * 1024 * 1024
#: Delayed messages that one turn makes ready at most, and those that one step of a purge looks at.
_PROMOTE = 1000
#: Messages that are due and not made ready yet, of which the numbers tell at most.
_DUE = 5000

_encode = msgspec.json.Encoder().encode


class RedisBroker(Broker):
    """The broker role of ``RedisStore``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._keys = client.keys
        self._wake = Wake(client)
        self._leases = Leases(client)
        self._dead = DeadLetters(client, self.sendable)
        self._waiting = Waiting(client)
        self._rescheduling = Rescheduling(client)
        #: Runs of one chunk of history.
        self.chunk = CHUNK
        self._announced: set[str] = set()
        self._lists: dict[tuple[str, int], bytes] = {}
        self._urgency: dict[str, list[bytes]] = {}
        #: Per set of queues: the one that brought something last stands last.
        self._orders: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._delayed = self._keys.own("delayed")
        #: Declared behind the keys of a turn where the prefix has a hash tag: see docs/internals/redis.md.
        self._anchors = (self._keys.own("queues"), *self._keys.anchor) if self._keys.anchor else ()
        self._wake.watch([self._delayed, *self._anchors])

    # -- sending --------------------------------------------------------------------------------------------------

    def send(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        client = self._client
        deadline = client.deadline(timeout)
        try:
            if len(messages) == 1 and messages[0].due is None:
                message = messages[0]
                if message.queue not in self._announced:
                    self._announce([message.queue], deadline)
                client.call_packed(pack(b"LPUSH", self._list_key(message), self._packed(message)), deadline)
            elif messages:
                self._send_many(messages, deadline)
        except DeadlinePassed as error:
            raise PublishTimeout(f"not sent: {error}") from error

    def _send_many(self, messages: Sequence[Message], deadline: float) -> None:
        raws = [self._packed(message) for message in messages]
        self._announce({message.queue for message in messages}, deadline)
        for batch in _steps(messages, raws):
            keys = {self._list_key(message) for message, _ in batch}
            if len(keys) == 1 and all(message.due is None for message, _ in batch):
                self._client.call_packed(pack(b"LPUSH", *keys, *(raw for _, raw in batch)), deadline)
                continue
            parts: list[Part] = [self._keys.prefix]
            for message, raw in batch:
                parts += (self._list(message), raw, "" if message.due is None else repr(message.due))
            self._client.run(scripts.SEND, *parts, deadline=deadline)

    def _packed(self, message: Message) -> bytes:
        raw = pack_message(message)
        if len(raw) > MAX_MESSAGE:
            raise MessageTooLarge(len(raw), MAX_MESSAGE, "redis")
        return raw

    def _list(self, message: Message) -> bytes:
        key = message.queue, message.priority
        found = self._lists.get(key)
        if found is None:
            found = self._lists[key] = list_of(*key)
        return found

    def _list_key(self, message: Message) -> bytes:
        return self._keys.prefix + self._list(message)

    def sendable(self, messages: Sequence[Message]) -> list[Part]:
        """``messages`` as the scripts take them: list, raw, due; their queues are announced."""
        parts: list[Part] = []
        self._announce({message.queue for message in messages}, self._client.deadline())
        for message in messages:
            parts += (self._list(message), self._packed(message), "" if message.due is None else repr(message.due))
        return parts

    def _announce(self, queues: Iterable[str], deadline: float) -> None:
        """Note the queues where Talo and Celery look for them, once per process.

        It comes ahead of what is sent: a trouble here sends nothing.
        """
        new = [queue for queue in queues if queue not in self._announced]
        if not new:
            return
        commands = [pack(b"SADD", self._keys.own("queues"), *new)]
        for queue in new:
            name = queue.encode()
            member = name + SEPARATOR + SEPARATOR + name
            commands += (pack(b"SADD", key, member) for key in self._keys.binding(queue))
        self._client.pipeline(commands, deadline)
        self._announced.update(new)

    # -- the turn -------------------------------------------------------------------------------------------------

    def turn(self, settlements: Sequence[Settlement], owner: str, queues: Sequence[str], limit: int) -> Turn:
        limit = min(limit, _STEP)
        refused: list[Lease] = []
        while len(settlements) > _STEP:
            refused += self._turn(settlements[:_STEP], owner, (), 0, is_open=True).refused
            settlements = settlements[_STEP:]
        turn = self._turn(settlements, owner, queues, limit, is_open=True)
        if refused:
            turn.refused[:0] = refused
        return turn

    def settle(self, settlements: Sequence[Settlement]) -> list[Lease]:
        refused: list[Lease] = []
        for at in range(0, len(settlements), _STEP):
            step = settlements[at : at + _STEP]
            refused += self._turn(step, step[0].lease.owner, (), 0, is_open=False).refused
        return refused

    def fetch(self, owner: str, queues: Sequence[str], limit: int, refused: list[Lease] | None = None) -> Turn:
        turn = self._turn((), owner, queues, min(limit, _STEP), is_open=True)
        if refused:
            turn.refused[:0] = refused
        return turn

    def _turn(
        self, settlements: Sequence[Settlement], owner: str, queues: Sequence[str], limit: int, *, is_open: bool
    ) -> Turn:
        client = self._client
        deadline = client.deadline()
        names = tuple(queues)
        order = (self._orders.get(names) or self._begin(names)) if limit else ()
        keys = [self._delayed, *(each for name in order for each in self._urgency[name])] if limit else []
        plain, rich, leases, runs = self._settling(settlements, owner)
        counts = len(plain), len(leases) - len(plain)
        declared = [*keys, *self._anchors] if limit else [*self._keys.anchor]
        head: tuple[Part, ...] = (
            len(declared),
            *declared,
            self._keys.prefix,
            owner,
            int(is_open),
            limit,
            _PROMOTE,
            *counts,
        )

        def exchange(connection: Connection) -> list[Any]:
            if limit:
                self._wake.prepare(connection, deadline)
            reply: list[Any] = client.run_on(connection, scripts.TURN, (*head, *plain, *rich, *runs), deadline)
            if limit:
                self._wake.note(connection, armed=reply[2] == b"1")
            return reply

        reply = client.lend(exchange, deadline)
        turn = self._turned(reply, owner, keys, leases)
        if len(order) > 1 and turn.deliveries:
            served = dict.fromkeys(delivery.queue for delivery in turn.deliveries)
            self._orders[names] = (*(name for name in order if name not in served), *served)
        return turn

    def _turned(self, reply: list[Any], owner: str, keys: Sequence[bytes], leases: Sequence[Lease]) -> Turn:
        now, due, _, token, refused, taken, raws = reply
        deliveries: list[Delivery] = []
        at = 0
        for position, count in zip(taken[::2], taken[1::2], strict=True):
            queue = queue_of(keys[position][len(self._keys.prefix) :])
            for raw in raws[at : at + count]:
                deliveries.append(delivery_of(Lease(owner, token), queue, raw))
                token += 1
            at += count
        next_due = float(due) - float(now) + time.time() if due else None
        return Turn(deliveries, [leases[position - 1] for position in refused], next_due)

    def _settling(
        self, settlements: Sequence[Settlement], owner: str
    ) -> tuple[list[Part], list[Part], list[Lease], list[Part]]:
        """The tokens of settlements that carry nothing, the parts of the others, the leases in that order, and what
        their runs tell."""
        plain_runs: list[RunRecord | None] = []
        rich_runs: list[RunRecord | None] = []
        plain: list[Part] = []
        rich: list[Part] = []
        plain_leases: list[Lease] = []
        rich_leases: list[Lease] = []
        for settlement in settlements:
            lease = settlement.lease
            if (
                settlement.verdict == 0
                and settlement.result is None
                and not settlement.follow
                and not settlement.also
                and settlement.part is None
                and settlement.closes is None
                and lease.owner == owner
            ):
                plain.append(lease.token)
                plain_leases.append(lease)
                plain_runs.append(settlement.run)
            else:
                self._describe(settlement, owner, rich)
                rich_leases.append(lease)
                rich_runs.append(settlement.run)
        runs = runs_as_parts(plain_runs + rich_runs, self.chunk)
        return plain, rich, plain_leases + rich_leases, runs

    def _describe(self, settlement: Settlement, owner: str, parts: list[Part]) -> None:
        lease, result, also, follow = settlement.lease, settlement.result, settlement.also, settlement.follow
        results = len(also) + (result is not None)
        held = "" if lease.owner == owner else lease.owner
        part = settlement.part
        parts += (held, lease.token, int(settlement.verdict), results, len(follow), int(part is not None))
        closes = settlement.closes or ""
        parts.append(b"@" + self._keys.group(closes[7:]) if closes.startswith("celery:") else closes)
        if part is not None:
            parts += part_of(self._keys, part, self.sendable)
        if result is not None:
            parts += stored(self._keys.result(result.task_id), result)
        for other in also:
            parts += stored(self._keys.result(other.task_id), other)
        if follow:
            parts += self.sendable(follow)
        if settlement.verdict == Verdict.AGAIN:
            parts += (repr(float(settlement.delay)), int(settlement.charge), int(settlement.suspect))
        elif settlement.verdict == Verdict.DEAD:
            death = settlement.death or Death(reason="unknown")
            keep = "" if death.expires is None else repr(float(death.expires))
            parts += (int(settlement.charge), _encode(death), death.task_id or "", keep)

    def _begin(self, queues: tuple[str, ...]) -> tuple[str, ...]:
        """The first turn for these queues."""
        self._announce(queues, self._client.deadline())
        for queue in queues:
            self._urgency[queue] = keys = [self._keys.prefix + each for each in self._keys.lists(queue)]
            self._wake.watch(keys)
        self._orders[queues] = queues
        return queues

    # -- waiting --------------------------------------------------------------------------------------------------

    def wait(self, queues: Sequence[str], timeout: float, also: Sequence[int] = ()) -> bool:  # noqa: ARG002
        return self._wake.wait(timeout, also)

    def interrupt(self) -> None:
        self._wake.interrupt()

    # -- leases ---------------------------------------------------------------------------------------------------

    def open(self, owner: str, *, worker: str, slots: int, lease: float) -> None:
        self._leases.open(owner, worker, slots, lease)

    def renew(self, owners: Sequence[str], lease: float) -> Renewal:
        return self._leases.renew(owners, lease)

    def owners(self) -> list[OwnerInfo]:
        return self._leases.owners()

    def held(self, owner: str) -> list[Delivery]:
        return self._leases.held(owner)

    def take_over(self, owner: str, by: str, limit: int, *, expired: bool) -> list[Delivery]:
        return self._leases.take_over(owner, by, min(limit, _STEP), expired=expired)

    def close_owner(self, owner: str) -> None:
        self._leases.close(owner)

    # -- numbers --------------------------------------------------------------------------------------------------

    def stats(self, queues: Sequence[str] | None = None) -> list[QueueStats]:
        if queues is None:
            known = self._client.call("SMEMBERS", self._keys.own("queues"))
            queues = sorted(name.decode() for name in known)
        lists = [each for queue in queues for each in self._keys.lists(queue)]
        *numbers, holding, due = self._client.run(scripts.STATS, self._keys.prefix, _DUE, *lists)
        ready, delayed = [dict.fromkeys(queues, 0) for _ in range(2)]
        for at, name in enumerate(lists):
            ready[queue_of(name)] += numbers[2 * at]
            delayed[queue_of(name)] += numbers[2 * at + 1]
        since: dict[str, float] = {}
        for name, moment in zip(due[::2], due[1::2], strict=True):
            if (queue := queue_of(name)) in ready:
                ready[queue] += 1
                delayed[queue] -= 1
                since.setdefault(queue, float(moment))
        leased = self._leases.held_by_queue() if holding else {}
        oldest = self._waiting.oldest(lists, since)
        return [
            QueueStats(
                name=queue,
                ready=ready[queue],
                delayed=delayed[queue],
                leased=leased.get(queue, 0),
                oldest=max(0.0, oldest[queue]) if queue in oldest else None,
            )
            for queue in queues
        ]

    def peek(
        self, queue: str | None, limit: int, offset: int = 0, *, delayed: bool = False, about: str | None = None
    ) -> list[Message]:
        return self._waiting.peek(queue, limit, offset, delayed=delayed, about=about)

    def reschedule(self, task_ids: Sequence[str], due: float, *, prefix: str = "") -> set[str]:
        return self._rescheduling.reschedule(task_ids, due, prefix)

    def find(self, task_id: str, furthest: int) -> Sighting:
        return self._waiting.find(task_id, furthest)

    def undelay(self, change: Callable[[Message], Message], limit: int) -> int:
        return self._waiting.undelay(change, limit)

    def purge(self, queues: Sequence[str]) -> int:
        lists = [each for queue in queues for each in self._keys.lists(queue)]
        deleted, cursor = self._client.run(scripts.PURGE, self._keys.prefix, 0, _PROMOTE, *lists)
        while cursor != b"0":
            more, cursor = self._client.run(scripts.PURGE, self._keys.prefix, cursor, _PROMOTE, *lists)
            deleted += more
        return int(deleted)

    # -- dead letters ---------------------------------------------------------------------------------------------

    def dead(
        self, *, limit: int = 50, offset: int = 0, task: str | None = None, queue: str | None = None
    ) -> list[DeadLetter]:
        return self._dead.page(limit, offset, task, queue)

    def dead_count(self, most: int, *, task: str | None = None, queue: str | None = None) -> int:
        return self._dead.count(most, task, queue)

    def dead_get(self, ids: Sequence[str]) -> list[DeadLetter]:
        return self._dead.get(ids)

    def dead_replace(self, ids: Sequence[str], messages: Sequence[Message]) -> int:
        return self._dead.replace(ids, messages)

    def cleanup(self, limit: int) -> int:
        """Delete up to ``limit`` dead letters that have ended; return how many."""
        return self._dead.cleanup(limit)

    def close(self) -> None:
        """Give back what waiting has opened."""
        self._wake.close()


def stored(key: bytes, result: ResultMeta) -> tuple[Part, Part, Part, Part]:
    """A result as the scripts take it: key, whether it is a SUCCESS, milliseconds to keep it, payload."""
    keep = "" if result.expires is None else max(1, round(result.expires * 1000))
    return key, int(result.status == SUCCESS), keep, result.payload


def _steps(messages: Sequence[Message], raws: Sequence[bytes]) -> Iterator[list[tuple[Message, bytes]]]:
    """The batch in steps that are bounded in number and bytes, in order."""
    step: list[tuple[Message, bytes]] = []
    size = 0
    for message, raw in zip(messages, raws, strict=True):
        if step and (len(step) == _STEP or size + len(raw) > _STEP_BYTES):
            yield step
            step, size = [], 0
        step.append((message, raw))
        size += len(raw)
    if step:
        yield step
