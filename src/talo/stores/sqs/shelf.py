"""What SQS cannot hold, kept in the side store: messages that are due late, and the dead.

Owns the queues of the side store in which they stand, their promotion to SQS, and turning what died into dead letters.
Everything is moved under a lease of the side store, so a crash repeats and never loses. Called by ``broker`` and
``schedules``. See ``docs/internals/sqs.md``."""

from __future__ import annotations

import base64
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence

import msgspec

from talo.errors import LeaseLost
from talo.stores.base import DeadLetter, Death, Delivery, Settlement, Store, Verdict
from talo.wire.message import Message

__all__ = ["Shelf"]

_DUE, _DEAD = "talo.sqs.due/", "talo.sqs.dead/"
_OWNER = "talo.sqs/"
#: Headers of a message on its way to the dead letters.
_DEATH, _DELIVERIES, _RAW = "talo-death", "talo-deliveries", "talo-raw"
#: Seconds between two looks for what is due, and for promoters that died; the lease of one.
_LOOK, _REAP, _LEASE = 5.0, 30.0, 60.0
#: Messages of one step.
_STEP = 100

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Death).decode


class Shelf:
    """The shelf of one place of SQS. ``send`` puts messages into SQS."""

    def __init__(self, side: Store, prefix: str, send: Callable[[Sequence[Message]], None]) -> None:
        self._side = side
        self._prefix = prefix
        self._send = send
        self._lock = threading.Lock()
        self._owner = f"{_OWNER}{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._queues: set[str] = set()
        #: Monotonic: when to look for what is due, when the owner was opened last, when to look for the dead.
        self.next_look = 0.0
        self._opened = -_LEASE
        self._next_reap = 0.0
        #: Epoch seconds at which the next message falls due, as far as the last look could see.
        self.next_due: float | None = None

    # -- putting ----------------------------------------------------------------------------------------------------

    def shelved(self, messages: Sequence[Message]) -> list[Message]:
        """The messages as they stand here, whatever their time."""
        return [_moved(message, _DUE + self._prefix + message.queue) for message in messages]

    def put(self, messages: Sequence[Message], timeout: float | None = None) -> None:
        """Keep messages until they are due."""
        self._side.broker.send(self.shelved(messages), timeout=timeout)
        self.hurry(min((message.due for message in messages if message.due is not None), default=None))

    def hurry(self, due: float | None) -> None:
        """Something falls due then (epoch seconds; None: now): look in time."""
        left = 0.0 if due is None else max(0.0, due - time.time())
        self.next_look = min(self.next_look, time.monotonic() + left)

    def bury(self, dead: Sequence[tuple[Delivery, Death]]) -> None:
        """Keep what has died; on return it is safe."""
        messages = []
        for delivery, death in dead:
            message = delivery.message
            headers = {_DEATH: _encode(death).decode(), _DELIVERIES: delivery.deliveries}
            if message is None:
                raw = base64.b64encode(delivery.raw or b"").decode()
                message = Message(queue=delivery.queue, headers={_RAW: raw}, body=b"")
            moved = _moved(message, _DEAD + self._prefix + delivery.queue)
            moved.headers = {**message.headers, **headers}
            moved.due = None
            messages.append(moved)
        self._side.broker.send(messages)

    # -- moving on ----------------------------------------------------------------------------------------------------

    def watch(self, queues: Sequence[str]) -> None:
        """These queues matter to this process."""
        self._queues.update(queues)

    def look(self, *, now: bool = False) -> None:
        """Send to SQS what is due, and make dead letters of what has died; at once, or if it is time."""
        if not now and time.monotonic() < self.next_look:
            return
        if not self._queues or not self._lock.acquire(blocking=now):
            return
        try:
            self.next_look = time.monotonic() + _LOOK
            self._open()
            self._reap()
            self._move_all()
        except LeaseLost:
            self._opened = -_LEASE
            self.hurry(None)
        finally:
            self._lock.release()

    def _open(self) -> None:
        if time.monotonic() - self._opened > _LEASE / 3:
            self._side.broker.open(self._owner, worker="talo.sqs", slots=0, lease=_LEASE)
            self._opened = time.monotonic()

    def _reap(self) -> None:
        if time.monotonic() < self._next_reap:
            return
        self._next_reap = time.monotonic() + _REAP
        broker = self._side.broker
        for info in broker.owners():
            if info.remaining >= 0:
                break
            if info.owner.startswith(_OWNER) and info.owner != self._owner:
                while taken := broker.take_over(info.owner, self._owner, _STEP, expired=True):
                    self._move(taken)
        # What a turn brought whose answer was lost.
        self._move(broker.held(self._owner))

    def _move_all(self) -> None:
        names = [self._prefix + name for name in sorted(self._queues)]
        queues = [kind + name for kind in (_DUE, _DEAD) for name in names]
        while True:
            turn = self._side.broker.turn([], self._owner, queues, _STEP)
            if not turn.deliveries:
                break
            self._move(turn.deliveries)
        self.next_due = turn.next_due
        if turn.next_due is not None:
            self.hurry(turn.next_due)

    def _move(self, deliveries: Sequence[Delivery]) -> None:
        """Send first, then end: a crash between sends twice."""
        due = [(each, each.message) for each in deliveries if each.queue.startswith(_DUE) and each.message is not None]
        dead = [(each, each.message) for each in deliveries if each.queue.startswith(_DEAD) and each.message]
        if due:
            self._send([_moved(message, self._name(each.queue)) for each, message in due])
        settlements = [Settlement(lease=each.lease) for each, _ in due]
        for each, message in dead:
            death = _decode(str(message.headers.get(_DEATH, "{}")))
            settlements.append(Settlement(lease=each.lease, verdict=Verdict.DEAD, death=death))
        if settlements:
            self._side.broker.settle(settlements)

    def _name(self, shelf_queue: str) -> str:
        return shelf_queue.partition("/")[2].removeprefix(self._prefix)

    # -- dead letters -------------------------------------------------------------------------------------------------

    def dead(self, limit: int, offset: int, task: str | None, queue: str | None) -> list[DeadLetter]:
        """See ``Broker.dead``."""
        found: list[DeadLetter] = []
        for letter in self._letters(task, None if queue is None else _DEAD + self._prefix + queue):
            if len(found) == limit:
                break
            if offset:
                offset -= 1
            else:
                found.append(letter)
        return found

    def _letters(self, task: str | None, queue: str | None) -> Iterator[DeadLetter]:
        at = 0
        while page := self._side.broker.dead(limit=_STEP, offset=at, task=task, queue=queue):
            at += len(page)
            yield from self._restored(page)

    def dead_get(self, ids: Sequence[str]) -> list[DeadLetter]:
        """See ``Broker.dead_get``."""
        return list(self._restored(self._side.broker.dead_get(ids)))

    def dead_replace(self, ids: Sequence[str], messages: Sequence[Message]) -> int:
        """See ``Broker.dead_replace``: one step of the side store; what is sent goes on to SQS."""
        self.watch([message.queue for message in messages])
        done = self._side.broker.dead_replace(ids, self.shelved(messages))
        if done and messages:
            self.look(now=True)
        return done

    def cleanup(self, limit: int) -> int:
        """Delete up to ``limit`` expired things of the side store."""
        return self._side.results.cleanup(limit)

    def _restored(self, letters: Sequence[DeadLetter]) -> Iterator[DeadLetter]:
        """Those that died here, as they were before they were put on the shelf."""
        for letter in letters:
            if not letter.queue.startswith(_DEAD + self._prefix) or letter.message is None:
                continue
            queue, headers = self._name(letter.queue), dict(letter.message.headers)
            deliveries, raw = headers.pop(_DELIVERIES, 0), headers.pop(_RAW, None)
            headers.pop(_DEATH, None)
            message = _moved(letter.message, queue)
            message.headers = headers
            yield DeadLetter(
                id=letter.id,
                queue=queue,
                death=letter.death,
                died=letter.died,
                deliveries=deliveries,
                message=None if raw is not None else message,
                raw=None if raw is None else base64.b64decode(raw),
            )

    # -- numbers ------------------------------------------------------------------------------------------------------

    def waiting(self, queues: Sequence[str]) -> dict[str, int]:
        """How many messages of each queue are here."""
        found = self._side.broker.stats([_DUE + self._prefix + queue for queue in queues])
        return {self._name(each.name): each.ready + each.delayed for each in found}

    def purge(self, queues: Sequence[str]) -> int:
        """Delete what waits here for these queues; return how many."""
        return self._side.broker.purge([_DUE + self._prefix + queue for queue in queues])

    def close(self) -> None:
        """Be no owner of the side store any more."""
        if self._opened > 0:
            self._side.broker.close_owner(self._owner)
            self._opened = -_LEASE


def _moved(message: Message, queue: str) -> Message:
    """The same message in another queue."""
    return Message(
        queue=queue,
        headers=message.headers,
        body=message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        properties=message.properties,
        priority=message.priority,
        exchange=message.exchange,
        routing_key=message.routing_key,
        due=message.due,
    )
