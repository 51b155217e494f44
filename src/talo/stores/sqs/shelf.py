"""What SQS cannot hold, kept in the side store: messages that are due late, and the dead.

Owns the queues of the side store in which they stand, their promotion to SQS, and turning what died into dead letters.
A ``Carrier`` moves them, so a crash repeats and never loses. Called by ``broker`` and ``schedules``. See
``docs/internals/sqs.md``."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from talo.stores.base import DeadLetter, Death, Delivery, Settlement, Store, Verdict
from talo.stores.carrier import Carrier
from talo.wire.message import COPY, Message

__all__ = ["Shelf"]

_DUE, _DEAD = "talo.sqs.due/", "talo.sqs.dead/"
_OWNER = "talo.sqs/"
#: Headers of a message on its way to the dead letters.
_DEATH, _DELIVERIES, _RAW = "talo-death", "talo-deliveries", "talo-raw"
#: A copy that gets its name when it is sent.
_UNNAMED = ""
#: Seconds between two looks for what is due.
_LOOK = 5.0
#: Dead letters of one page.
_PAGE = 100

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Death).decode


class Shelf:
    """The shelf of one place of SQS. ``send`` puts messages into SQS."""

    def __init__(self, side: Store, prefix: str, send: Callable[[Sequence[Message]], None]) -> None:
        self._side = side
        self._prefix = prefix
        self._send = send
        self._lock = threading.Lock()
        self._carrier = Carrier(side, f"{_OWNER}{prefix}/", self._move)
        self._queues: set[str] = set()
        #: Monotonic: when to look for what is due.
        self.next_look = 0.0
        #: Epoch seconds at which the next message falls due, as far as the last look could see.
        self.next_due: float | None = None

    # -- putting ----------------------------------------------------------------------------------------------------

    def shelved(self, messages: Sequence[Message], *, copied: bool = False) -> list[Message]:
        """The messages as they stand here, whatever their time. ``copied``: their ids are nobody else's, so of one
        that gets to SQS twice only one copy is to be started."""
        extra = {COPY: _UNNAMED} if copied else {}
        return [_moved(message, _DUE + self._prefix + message.queue, **extra) for message in messages]

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
            message, queue = delivery.message, death.queue or delivery.queue
            # In the side store it is a dead letter of the queue in which it stands here.
            death = msgspec.structs.replace(death, queue=None)
            headers = {_DEATH: _encode(death).decode(), _DELIVERIES: delivery.deliveries}
            if message is None:
                raw = base64.b64encode(delivery.raw or b"").decode()
                message = Message(queue=queue, headers={_RAW: raw}, body=b"")
            moved = _moved(message, _DEAD + self._prefix + queue)
            moved.headers = {**message.headers, **headers}
            moved.due = None
            messages.append(moved)
            self.watch([queue])
        self._side.broker.send(messages)

    def reschedule(self, task_ids: Sequence[str], due: float) -> set[str]:
        """See ``Broker.reschedule``, of what is here."""
        kind = _DUE + self._prefix
        moved = self._side.broker.reschedule(task_ids, due, prefix=kind)
        if moved and due <= time.time():
            # Whoever asked need not wait for the next look of a worker.
            self.watch([self._name(each.name) for each in self._side.broker.stats() if each.name.startswith(kind)])
            self.look(now=True)
        return moved

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
            names = [self._prefix + name for name in sorted(self._queues)]
            self.next_due = self._carrier.carry([kind + name for kind in (_DUE, _DEAD) for name in names])
            if self.next_due is not None:
                self.hurry(self.next_due)
        finally:
            self._lock.release()

    def _move(self, deliveries: Sequence[Delivery]) -> None:
        """Send first, then end: a crash between sends twice."""
        due = [(each, each.message) for each in deliveries if each.queue.startswith(_DUE) and each.message is not None]
        dead = [(each, each.message) for each in deliveries if each.queue.startswith(_DEAD) and each.message]
        if due:
            self._send([self._unshelved(each.queue, message) for each, message in due])
        settlements = [Settlement(lease=each.lease) for each, _ in due]
        for each, message in dead:
            death = _decode(str(message.headers.get(_DEATH, "{}")))
            settlements.append(Settlement(lease=each.lease, verdict=Verdict.DEAD, death=death))
        if settlements:
            self._side.broker.settle(settlements)

    def _unshelved(self, shelf_queue: str, message: Message) -> Message:
        moved = _moved(message, self._name(shelf_queue))
        return moved.copied() if moved.headers.get(COPY) == _UNNAMED else moved

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
        while page := self._side.broker.dead(limit=_PAGE, offset=at, task=task, queue=queue):
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
        return {self._name(each.name): each.ready + (each.delayed or 0) for each in found}

    def purge(self, queues: Sequence[str]) -> int:
        """Delete what waits here for these queues; return how many."""
        return self._side.broker.purge([_DUE + self._prefix + queue for queue in queues])

    def close(self) -> None:
        """Be no owner of the side store any more."""
        self._carrier.close()


def _moved(message: Message, queue: str, **headers: str) -> Message:
    """The same message in another queue, with more headers."""
    return Message(
        queue=queue,
        headers={**message.headers, **headers},
        body=message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        properties=message.properties,
        priority=message.priority,
        exchange=message.exchange,
        routing_key=message.routing_key,
        due=message.due,
    )
