"""A broker that shows nothing of what waits in it, with a ledger beside it that does.

Owns when something is written into the ledger: before a message goes out, after one was fetched, after one has ended;
so that whoever dies leaves an entry too many rather than one too few. What it costs and what a reader makes of an
entry that is too old is in ``docs/internals/ledger.md``. Called by ``app.stores``, in place of the broker itself.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from time import monotonic

import msgspec

from talo.errors import OperationalError, PublishTimeout, TaloError
from talo.stores.base import (
    Broker,
    DeadLetter,
    Delivery,
    Lease,
    OwnerInfo,
    QueueStats,
    Renewal,
    Settlement,
    Sighting,
    Store,
    Turn,
    Verdict,
)
from talo.stores.ledger import Count, Entry, Holder, Ledger, Note
from talo.wire._times import iso
from talo.wire.message import Message
from talo.wire.sent import SENT, sent_at

__all__ = ["NotedBroker"]

log = logging.getLogger(__name__)

_AGAIN = Verdict.AGAIN
#: Bytes of the longest task id that is noted: what the keys of every database take.
_LONGEST_ID = 255
#: Ends that are remembered while the ledger is away; what is beyond stays in it until it expires.
_OWED = 10_000
#: How often what others sent is counted before it is believed.
_LOOKS = 3
#: Deliveries that are looked through for those of dead owners.
_HELD = 10_000


class NotedBroker(Broker):
    """The broker of ``store``, whose messages are noted in ``ledger``.

    What cannot be entered is not sent. What cannot be marked or struck out is told later; no turn fails by it.
    ``broadcast`` says of which queues every worker has one of its own: what is sent there is known when it is fetched.
    """

    def __init__(self, store: Store, ledger: Ledger, broadcast: Callable[[str], bool]) -> None:
        self._broker = store.broker
        self._features = store.features
        self._ledger = ledger
        self._broadcast = broadcast
        # Several brokers may have one store beside them. The URL holds no password.
        self._space = hashlib.sha256(store.url.encode()).hexdigest()[:12] + "/"
        #: The workers of the owners that were opened here.
        self._workers: dict[str, str] = {}
        self._lock = threading.Lock()
        self._owed: list[Lease] = []
        self._broker.on_own = self._enter

    # -- sending ------------------------------------------------------------------------------------------------------

    def send(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        self.begin_send(messages, timeout=timeout)()

    def begin_send(self, messages: Sequence[Message], *, timeout: float | None = None) -> Callable[[], None]:
        begun = monotonic()
        with self.noting(messages, timeout):
            left = None if timeout is None else max(0.0, timeout - (monotonic() - begun))
            finish = self._broker.begin_send(messages, timeout=left)

        def finished() -> None:
            with self._struck_if_not_sent(messages):
                finish()

        return finished

    @contextmanager
    def noting(self, messages: Sequence[Message], timeout: float | None = None) -> Iterator[None]:
        """Enter these, which are sent within this context; struck out if that fails."""
        deadline = math.inf if timeout is None else monotonic() + timeout
        try:
            self._enter(messages, timeout)
        except OperationalError as error:
            if monotonic() < deadline or isinstance(error, PublishTimeout):
                raise
            raise PublishTimeout(f"not sent: the ledger took nothing within {timeout:g} s: {error}") from error
        with self._struck_if_not_sent(messages):
            yield

    @contextmanager
    def _struck_if_not_sent(self, messages: Sequence[Message]) -> Iterator[None]:
        try:
            yield
        except BaseException:
            try:
                self._ledger.drop(self._entries(messages))
            except TaloError as error:
                log.warning("What was not sent stays in the ledger until it expires: %s", error)
            raise

    def _enter(self, messages: Sequence[Message], timeout: float | None = None) -> None:
        if entries := self._entries(messages):
            self._ledger.enter(entries, timeout)

    def _entries(self, messages: Sequence[Message]) -> list[Entry]:
        now = time.time()
        entries: dict[tuple[str, str], Entry] = {}
        for message in messages:
            task_id, queue = message.id, message.queue
            if task_id is not None and _is_short(task_id) and not self._broadcast(queue):
                entries[task_id, queue] = self._entry(message, task_id, queue, message.due or 0.0, now)
        return list(entries.values())

    def _entry(self, message: Message, task_id: str, queue: str, due: float, now: float) -> Entry:
        headers = message.headers
        root = headers.get("root_id")
        sent = sent_at(headers)
        if sent is None:
            sent = now
        if root == task_id or not isinstance(root, str):
            root = ""
        return Entry(task_id, self._space + queue, message.task or "", root, sent, due if due > sent else sent)

    # -- turns --------------------------------------------------------------------------------------------------------

    def turn(self, settlements: Sequence[Settlement], owner: str, queues: Sequence[str], limit: int) -> Turn:
        self._before(settlements)
        turn = self._broker.turn(settlements, owner, queues, limit)
        self._after(settlements, turn.refused, owner, turn.deliveries)
        return turn

    def settle(self, settlements: Sequence[Settlement]) -> list[Lease]:
        self._before(settlements)
        refused = self._broker.settle(settlements)
        self._after(settlements, refused)
        return refused

    def fetch(self, owner: str, queues: Sequence[str], limit: int, refused: list[Lease] | None = None) -> Turn:
        turn = self._broker.fetch(owner, queues, limit, refused)
        self._after((), (), owner, turn.deliveries)
        return turn

    def _before(self, settlements: Sequence[Settlement]) -> None:
        """Enter what follows, and what goes back: that is sent by the settlement."""
        follow: list[Message] = []
        back: list[tuple[Lease, float | None]] = []
        for each in settlements:
            if each.follow:
                follow += each.follow
            if each.verdict is _AGAIN:
                back.append((each.lease, time.time() + each.delay if each.delay > 0 else None))
        self._enter(follow)
        if back:
            self._ledger.free(back)

    def _after(
        self,
        settlements: Sequence[Settlement],
        refused: Sequence[Lease],
        owner: str = "",
        deliveries: Sequence[Delivery] = (),
    ) -> None:
        """Strike out what has ended, and note who has what was fetched, in one step."""
        ended = [each.lease for each in settlements if each.verdict is not _AGAIN]
        if refused:
            late = set(refused)
            ended = [lease for lease in ended if lease not in late]
        held: list[tuple[Entry, Holder]] = []
        if deliveries:
            now, worker = time.time(), self._workers.get(owner, "")
            for each in deliveries:
                message = each.message
                if message is not None and (task_id := message.id) is not None and _is_short(task_id):
                    entry = self._entry(message, task_id, each.queue, 0.0, now)
                    held.append((entry, Holder(each.lease, worker, now)))
        if ended or held or self._owed:
            self._mark(ended, held)

    def _mark(self, ended: list[Lease], held: Sequence[tuple[Entry, Holder]]) -> None:
        with self._lock:
            ended, self._owed = self._owed + ended, []
        try:
            self._ledger.mark(ended, held)
        except OperationalError as error:
            with self._lock:
                self._owed = (ended + self._owed)[:_OWED]
            log.warning("The ledger is behind, it is told later: %s", error, extra={"action": "ledger"})

    def wait(self, queues: Sequence[str], timeout: float, also: Sequence[int] = ()) -> bool:
        return self._broker.wait(queues, timeout, also)

    def interrupt(self) -> None:
        self._broker.interrupt()

    # -- owners -------------------------------------------------------------------------------------------------------

    def open(self, owner: str, *, worker: str, slots: int, lease: float) -> None:
        self._broker.open(owner, worker=worker, slots=slots, lease=lease)
        self._workers[owner] = worker

    def renew(self, owners: Sequence[str], lease: float) -> Renewal:
        return self._broker.renew(owners, lease)

    def owners(self) -> list[OwnerInfo]:
        return self._broker.owners()

    def held(self, owner: str) -> list[Delivery]:
        found = self._broker.held(owner)
        if owner in self._workers:
            # Who asks for its own takes over what a turn brought whose answer was lost.
            self._after((), (), owner, found)
        return found

    def take_over(self, owner: str, by: str, limit: int, *, expired: bool) -> list[Delivery]:
        found = self._broker.take_over(owner, by, limit, expired=expired)
        self._after((), (), by, found)
        return found

    def close_owner(self, owner: str) -> None:
        self._broker.close_owner(owner)
        self._workers.pop(owner, None)

    # -- looking ------------------------------------------------------------------------------------------------------

    def stats(self, queues: Sequence[str] | None = None) -> list[QueueStats]:
        """As the broker counts, with what the ledger knows besides: what is delayed, and the age of the oldest."""
        found = self._broker.stats(queues)
        counts = self._counts(found)
        lost = self._lost(found, counts)
        now = time.time()
        told = []
        for each in found:
            count = counts[each.name]
            since = [note.entry.since for note in lost if note.entry.queue == self._space + each.name]
            # Queues are emptied from the front: what the ledger has and the broker has not were its first.
            first = (
                self._ledger.since(self._space + each.name, max(0, count.ready - each.ready)) if each.ready else None
            )
            ages = [now - moment for moment in (first, *since) if moment is not None and moment <= now]
            delayed = count.delayed if each.delayed is None else each.delayed
            told.append(
                msgspec.structs.replace(each, delayed=delayed, oldest=max(ages) if each.ready and ages else None)
            )
        return told

    def _counts(self, stats: Sequence[QueueStats]) -> dict[str, Count]:
        found = self._ledger.counts([self._space + each.name for each in stats])
        return {each.name: found.get(self._space + each.name, Count()) for each in stats}

    def _lost(self, stats: Sequence[QueueStats], counts: dict[str, Count]) -> list[Note]:
        """What was held by owners that are gone, and waits again: looked for where more waits than was entered."""
        if self._features.hands_over or all(each.ready <= counts[each.name].ready for each in stats):
            return []
        notes = [note for note in self._ledger.held(_HELD) if note.entry.queue.startswith(self._space)]
        gone = self._gone({note.holder.lease.owner for note in notes if note.holder is not None})
        return [note for note in notes if note.holder is not None and note.holder.lease.owner in gone]

    def _gone(self, owners: set[str]) -> set[str]:
        """Which of these owners are not there any more, where the broker can tell of others' than its own."""
        return set() if self._features.hands_over else set(self._broker.renew(sorted(owners), 0.0).gone)

    def delayed_total(self) -> int | None:
        return self._broker.delayed_total()

    def peek(
        self, queue: str | None, limit: int, offset: int = 0, *, delayed: bool = False, about: str | None = None
    ) -> list[Message]:
        """As the ledger has it: without bodies and arguments, and without what others than Talo's senders sent."""
        if queue is not None:
            first = self._ledger.waiting(self._space + queue, limit, offset, delayed=delayed)
        else:
            names = [each.name for each in self._broker.stats()]
            # Each queue is in order already.
            found = [self._ledger.waiting(self._space + name, limit + offset, 0, delayed=delayed) for name in names]
            first = list(islice(heapq.merge(*found, key=lambda entry: entry.since), offset, offset + limit))
        return [
            self._message(each)
            for each in first
            if about is None or any(about in text for text in (each.id, each.task, each.root))
        ]

    def find(self, task_id: str, furthest: int) -> Sighting:
        """What the ledger has of it, wherever that waits; if nothing, how many wait that are not in it."""
        del furthest
        notes = [note for note in self._ledger.find([task_id]) if note.entry.queue.startswith(self._space)]
        if not notes:
            return Sighting(beyond=self._strangers())
        note = max(notes, key=lambda note: (note.holder is not None, note.entry.sent))
        if (holder := note.holder) is None:
            return Sighting(message=self._message(note.entry), ahead=self._ledger.ahead(note.entry))
        owner = holder.lease.owner
        left = -1.0 if self._gone({owner}) else math.inf
        info = OwnerInfo(owner=owner, worker=holder.worker, slots=1, remaining=left, held=1)
        return Sighting(message=self._message(note.entry), holder=info, lease=holder.lease)

    def _strangers(self) -> int:
        """How many wait that others have sent, as far as the broker counts. What moves between its count and the
        ledger's seems to be one: it is not the next time."""
        found = 0
        for _ in range(_LOOKS):
            if not (found := self._surplus()):
                break
        return found

    def _surplus(self) -> int:
        stats = self._broker.stats()
        counts = self._counts(stats)
        ready = sum(max(0, each.ready - counts[each.name].ready) for each in stats) - len(self._lost(stats, counts))
        delayed = (self.delayed_total() or 0) - sum(count.delayed for count in counts.values())
        return max(0, ready) + max(0, delayed)

    def _message(self, entry: Entry) -> Message:
        """What is known of a message."""
        headers = {"id": entry.id, "task": entry.task, "root_id": entry.root or entry.id, SENT: entry.sent}
        if entry.since > entry.sent:
            headers["eta"] = iso(entry.since)
        due = entry.since if entry.since > time.time() else None
        return Message(queue=entry.queue.removeprefix(self._space), headers=headers, body=b"", due=due)

    # -- changing what waits ------------------------------------------------------------------------------------------

    def reschedule(self, task_ids: Sequence[str], due: float, *, prefix: str = "") -> set[str]:
        moved = self._broker.reschedule(task_ids, due, prefix=prefix)
        self.retime(moved, due)
        return moved

    def retime(self, task_ids: set[str], due: float) -> None:
        """Note that what waits of these tasks waits until ``due`` (epoch seconds)."""
        waiting = [note.entry for note in self._ledger.find(sorted(task_ids)) if note.holder is None]
        if waiting:
            self._ledger.enter([entry._replace(since=max(due, entry.sent)) for entry in waiting])

    def undelay(self, change: Callable[[Message], Message], limit: int) -> int:
        return self._broker.undelay(change, limit)

    def purge(self, queues: Sequence[str]) -> int:
        now = time.time()
        purged = self._broker.purge(queues)
        for queue in queues:
            self._ledger.clear(self._space + queue, -math.inf, now)
            if self._features.purges_from < math.inf:
                self._ledger.clear(self._space + queue, now + self._features.purges_from, math.inf)
        return purged

    # -- dead letters -------------------------------------------------------------------------------------------------

    def dead(
        self, *, limit: int = 50, offset: int = 0, task: str | None = None, queue: str | None = None
    ) -> list[DeadLetter]:
        return self._broker.dead(limit=limit, offset=offset, task=task, queue=queue)

    def dead_count(self, most: int, *, task: str | None = None, queue: str | None = None) -> int:
        return self._broker.dead_count(most, task=task, queue=queue)

    def dead_get(self, ids: Sequence[str]) -> list[DeadLetter]:
        return self._broker.dead_get(ids)

    def dead_replace(self, ids: Sequence[str], messages: Sequence[Message]) -> int:
        with self.noting(messages):
            done = self._broker.dead_replace(ids, messages)
        if not done:
            self._ledger.drop(self._entries(messages))
        return done


def _is_short(task_id: str) -> bool:
    return len(task_id.encode()) <= _LONGEST_ID
