"""The broker of the SQL store: send, turn, leases, waiting, numbers.

Owns when a transaction begins and what it is made of; the steps inside are ``_writing``'s, dead letters ``dead``'s. A
turn is one write transaction, or one look without a lock when there is nothing to settle and nothing to fetch.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from talo.errors import LeaseLost, PublishTimeout
from talo.stores.base import Delivery, Lease, OwnerInfo, QueueStats, Renewal, Settlement, Sighting, Turn
from talo.stores.sql import _writing
from talo.stores.sql._codec import Parcel, delivery, message, pack
from talo.stores.sql._fronts import Fronts
from talo.stores.sql.database import Database, Row, Session
from talo.stores.sql.dead import DeadLetters
from talo.stores.sql.dialect import asking
from talo.stores.sql.waker import poll
from talo.wire.message import Message
from talo.wire.sent import ready_since

__all__ = ["SqlBroker"]

#: More than anybody holds.
_ALL = 2**62
#: Tasks that one transaction gives another time, and how often it is looked where they are.
_STEP, _LOOKS = 100, 3
#: Seconds for which one who finds what others are just taking steps aside: at first, and at most.
_ASIDE, _LONGEST_ASIDE = 0.0005, 0.05


class SqlBroker(DeadLetters):
    """Messages in tables; where a message is, is which table names it."""

    def __init__(self, database: Database, order: str) -> None:
        super().__init__(database)
        self._order = order.replace("-", "_")
        self._fronts = Fronts()
        #: How often in a row a turn found nothing of what a look had seen.
        self._in_vain = 0
        #: Seconds between two looks of one who waits.
        self._nap = database.waker.opening_look
        self._rotation = itertools.count()
        self._interrupts: tuple[int, int] | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    # Sending

    def send(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        if messages:
            self._send(pack(messages, self._database.max_message), timeout)

    def push_raw(self, queue: str, raw: bytes) -> None:
        """Put bytes into a queue as the head of a message, whatever they are: for tests and for repairs."""
        self._send([Parcel(queue, 0, None, None, raw, b"", None)], None)

    def _send(self, parcels: Sequence[Parcel], timeout: float | None) -> None:
        self._database.write_joined(lambda tx: tx.ring(_writing.insert(tx, parcels)), timeout, PublishTimeout)

    # Settling and fetching

    def turn(self, settlements: Sequence[Settlement], owner: str, queues: Sequence[str], limit: int) -> Turn:
        if not settlements:
            return self.fetch(owner, queues, limit)
        return self._turn(_writing.Plan(settlements, self._database.max_message), owner, queues, limit)

    def settle(self, settlements: Sequence[Settlement]) -> list[Lease]:
        if not settlements:
            return []
        plan = _writing.Plan(settlements, self._database.max_message)

        def work(tx: Session) -> list[Lease]:
            refused, wake = _writing.settle(tx, plan)
            tx.ring(wake)
            return refused

        return self._database.write(work)

    def fetch(self, owner: str, queues: Sequence[str], limit: int, refused: list[Lease] | None = None) -> Turn:
        holder, ready, soon, due = self._glance(owner, queues)
        if holder is None:
            raise self._lost(owner)
        if limit <= 0 or not ready:
            self._in_vain = 0
            return Turn([], refused or [], due)
        # What the look has just said of delayed messages is not asked again: that would be two exchanges more.
        something_is_due = soon is not None and soon <= 0
        turn = self._turn(None, owner, queues, limit, promotes=something_is_due)
        turn.refused = refused or []
        if not something_is_due:
            turn.next_due = due
        return turn

    def _turn(
        self, plan: _writing.Plan | None, owner: str, queues: Sequence[str], limit: int, *, promotes: bool = True
    ) -> Turn:
        """One transaction; without ``promotes`` it leaves delayed messages alone, and does not say when one is due."""
        turn_of = next(self._rotation) % len(queues) if queues else 0
        rotated = [*queues[turn_of:], *queues[:turn_of]]

        def work(tx: Session) -> Turn:
            holder = tx.row("holder", owner)
            if holder is None:
                raise self._lost(owner)
            refused, wake = _writing.settle(tx, plan) if plan else ([], Counter[str]())
            deliveries: list[Delivery] = []
            if limit > 0:
                if promotes:
                    wake.update(_writing.promote(tx))
                deliveries = _writing.lease(tx, holder[0], owner, rotated, limit, self._order, self._fronts)
            if wake:
                wake.subtract(each.queue for each in deliveries)
                tx.ring(wake)
            due = tx.row("next_due") if promotes else None
            return Turn(deliveries, refused, tx.here(due[0]) if due else None)

        turn = self._database.write(work)
        if limit > 0:
            self._in_vain = 0 if turn.deliveries else self._in_vain + 1
        if turn.deliveries:
            self._nap = self._database.waker.first_look
        return turn

    def _glance(self, owner: str, queues: Sequence[str]) -> tuple[int | None, bool, float | None, float | None]:
        """The owner's number, whether anything is ready or due, in how many seconds the next message falls due, and
        when by the clock of this process."""

        def work(tx: Session) -> tuple[int | None, bool, float | None, float | None]:
            [(number, due, ready)] = tx.rows("glance", owner, list(queues))
            if due is None:
                return number, bool(ready), None, None
            return number, bool(ready) or due <= tx.now, due - tx.now, tx.here(due)

        return self._database.read(work)

    @staticmethod
    def _lost(owner: str) -> LeaseLost:
        return LeaseLost(f"owner {owner} is not open: it was taken over, closed, or never opened")

    # Waiting

    def wait(self, queues: Sequence[str], timeout: float, also: Sequence[int] = ()) -> bool:
        interrupt = self._interrupt_pipe()[0]
        until = time.monotonic() + timeout
        ends = (*also, interrupt)
        waker = self._database.waker
        with waker.listen(queues) as ear:
            if self._in_vain:
                # What was seen is being taken by others: to look at once would be to spin until they are done.
                aside = min(_ASIDE * 2 ** min(self._in_vain, 10), _LONGEST_ASIDE)
                poll(ear, ends, min(time.monotonic() + aside, until))
            while True:
                # The ear is open: what comes after this look rings, what came before it is seen.
                _, ready, soon, _ = self._glance("", queues)
                if ready:
                    return True
                self._in_vain = 0
                nap = min(self._nap, waker.slowest_look)
                self._nap = nap * waker.slower
                if soon is not None:
                    nap = min(nap, soon)
                heard = poll(ear, ends, min(time.monotonic() + nap, until))
                if heard == interrupt:
                    self._drain(interrupt)
                if heard is not None:
                    return True
                if time.monotonic() >= until:
                    return False

    def interrupt(self) -> None:
        try:
            os.write(self._interrupt_pipe()[1], b"!")
        except BlockingIOError:
            pass  # interrupted often enough

    def _interrupt_pipe(self) -> tuple[int, int]:
        with self._lock:
            if self._interrupts is None or self._pid != os.getpid():
                self._pid = os.getpid()
                reader, writer = os.pipe()
                os.set_blocking(reader, False)
                os.set_blocking(writer, False)
                self._interrupts = reader, writer
            return self._interrupts

    @staticmethod
    def _drain(descriptor: int) -> None:
        try:
            os.read(descriptor, 4096)
        except BlockingIOError:
            pass  # another waiter has read it; both end

    def close(self) -> None:
        """Close what waiting needs. Idempotent; the next wait opens it again."""
        with self._lock:
            if self._interrupts is not None and self._pid == os.getpid():
                for descriptor in self._interrupts:
                    os.close(descriptor)
            self._interrupts = None

    # Owners

    def open(self, owner: str, *, worker: str, slots: int, lease: float) -> None:
        self._database.write(lambda tx: tx.run("open_owner", tx.draw(1)[0], owner, worker, slots, tx.now + lease))

    def renew(self, owners: Sequence[str], lease: float) -> Renewal:
        def work(tx: Session) -> Renewal:
            alive = {owner for (owner,) in tx.rows("renew", list(owners), tx.now + lease)}
            [(first,)] = tx.rows("first_end")
            gone = [each for each in owners if each not in alive]
            return Renewal(gone, None if first is None else first - tx.now)

        return self._database.write(work) if owners else Renewal([])

    def owners(self) -> list[OwnerInfo]:
        rows = self._database.read(lambda tx: tx.rows("owners", tx.now))
        return [
            OwnerInfo(owner=owner, worker=worker, slots=slots, remaining=remaining, held=held)
            for owner, worker, slots, remaining, held in rows
        ]

    def held(self, owner: str) -> list[Delivery]:
        def work(tx: Session) -> list[Delivery]:
            holder = tx.row("find_owner", owner)
            if holder is None:
                return []
            return [delivery(owner, row[7], row) for row in tx.rows("held", holder[0], _ALL)]

        return self._database.read(work)

    def take_over(self, owner: str, by: str, limit: int, *, expired: bool) -> list[Delivery]:
        if owner == by:
            return []

        def work(tx: Session) -> list[Delivery]:
            # In one order by all, or two that take over each other would wait for each other.
            found = {name: tx.row("hold" if name == owner else "holder", name) for name in sorted((owner, by))}
            source, target = found[owner], found[by]
            # The clock of the transaction's begin: what is not over by it is not over.
            if source is None or (expired and source[1] > tx.now):
                return []
            if target is None:
                raise self._lost(by)
            taken = _writing.move(tx, source[0], target[0], by, limit)
            tx.run("close_owner", owner)
            return taken

        return self._database.write(work)

    def close_owner(self, owner: str) -> None:
        def work(tx: Session) -> None:
            # Held first: a turn that leases something to it is over then, and seen.
            if tx.row("hold", owner) is not None:
                tx.run("close_owner", owner)

        self._database.write(work)

    # Numbers

    def stats(self, queues: Sequence[str] | None = None) -> list[QueueStats]:
        def work(tx: Session) -> list[QueueStats]:
            steps = ("count_ready", "count_delayed", "count_leased")
            ready, delayed, leased = ({row[0]: row[1] for row in tx.rows(step)} for step in steps)
            due = {row[0]: (row[1], [row[2]]) for row in tx.rows("count_due", tx.now)}
            found = []
            for name in sorted({*ready, *delayed, *leased}) if queues is None else queues:
                more, since = due.get(name, (0, []))
                stats = QueueStats(name=name, ready=ready.get(name, 0) + more, leased=leased.get(name, 0))
                stats.delayed = max(0, delayed.get(name, 0) - more)
                stats.oldest = self._oldest(tx, name, since) if stats.ready else None
                found.append(stats)
            return found

        return self._database.read(work)

    def _oldest(self, tx: Session, queue: str, since: list[float]) -> float | None:
        """The age of the oldest of those that stand first, one per priority, and of what waits ``since`` then."""
        for level in self._levels(tx, queue):
            for (head,) in tx.rows("front", queue, level):
                first, _ = message(queue, level, head, b"")
                at = None if first is None else ready_since(first)
                if at is not None:
                    since.append(at)
        return max(0.0, tx.now - min(since)) if since else None

    def _levels(self, tx: Session, queue: str) -> Iterator[int]:
        """The priorities that a queue has something ready of, the most urgent first."""
        [(level,)] = tx.rows(f"most_urgent_{self._order}", queue)
        while level is not None:
            yield level
            [(level,)] = tx.rows(f"less_urgent_{self._order}", queue, level)

    def peek(
        self, queue: str | None, limit: int, offset: int = 0, *, delayed: bool = False, about: str | None = None
    ) -> list[Message]:
        text = None if about is None else about.encode()
        rows = self._database.read(lambda tx: list(self._look(tx, queue, limit, offset, text, delayed=delayed)))
        return [found for row in rows if (found := _waits(row)) is not None]

    def _look(
        self, tx: Session, queue: str | None, limit: int, offset: int, text: bytes | None, *, delayed: bool
    ) -> Iterator[Row]:
        """What waits, in its order; of a ready message its number there is the last column."""
        if delayed or queue is None:
            values: list[Any] = [queue, limit, offset, text]
            yield from tx.rows(asking("peek_delayed", values), *values)
            return
        # A priority after the other: to put them into one order a database would read all that is ready.
        before = 0
        for level in self._levels(tx, queue):
            skip = max(0, offset - before)
            values = [queue, level, offset + limit - before - skip, skip, text]
            for row in tx.rows(asking("peek_ready", values), *values):
                yield *row[:5], before + row[5]
            [(size,)] = tx.rows("ready_up_to", queue, level, offset + limit - before)
            before += size
            if before >= offset + limit:
                return

    def find(self, task_id: str, furthest: int) -> Sighting:
        def work(tx: Session) -> Sighting:
            ready: dict[str, int] = dict(tx.rows("count_ready"))
            delayed: dict[str, int] = dict(tx.rows("count_delayed"))
            # In the direction in which it goes.
            looks: list[tuple[str | None, int]] = [(None, furthest * len({*ready, *delayed}))]
            looks += ((queue, furthest) for queue in sorted(ready))
            for queue, most in looks:
                for row in self._look(tx, queue, most, 0, task_id.encode(), delayed=queue is None):
                    found = _waits(row)
                    if found is not None and found.id == task_id:
                        return Sighting(message=found, ahead=0 if queue is None else int(row[5]))
            further = [sum(delayed.values()) - looks[0][1], *(number - furthest for number in ready.values())]
            return Sighting(beyond=sum(max(0, each) for each in further))

        return self._database.read(work)

    def reschedule(self, task_ids: Sequence[str], due: float, *, prefix: str = "") -> set[str]:
        moved: set[str] = set()
        for at in range(0, len(task_ids), _STEP):
            moved |= self._reschedule(set(task_ids[at : at + _STEP]), due, prefix)
        return moved

    def _reschedule(self, wanted: set[str], due: float, prefix: str) -> set[str]:
        moved: set[str] = set()
        # What was seen delayed may be ready by now, and be seen there.
        for _ in range(_LOOKS):
            found = self._database.read(partial(self._waiting, sorted(wanted), prefix))

            def work(tx: Session, found: dict[str, list[Row]] = found) -> set[str]:
                done, wake = _writing.reschedule(tx, found, due)
                tx.ring(wake)
                return done

            done = self._database.write(work) if any(found.values()) else set()
            moved |= done
            wanted = {row[4] for rows in found.values() for row in rows} - done
            if not wanted:
                break
        return moved

    @staticmethod
    def _waiting(task_ids: list[str], prefix: str, tx: Session) -> dict[str, list[Row]]:
        """Where the messages of these tasks wait, by the step that takes them away."""
        delayed = [row for row in tx.rows("find_delayed", task_ids) if row[2].startswith(prefix)]
        others = sorted(set(task_ids) - {row[4] for row in delayed})
        ready = tx.rows("find_ready", others) if others else []
        return {"take_delayed": delayed, "take_ready": [row for row in ready if row[2].startswith(prefix)]}

    def purge(self, queues: Sequence[str]) -> int:
        wanted = list(queues)

        def work(tx: Session) -> int:
            count = tx.run("purge_messages", wanted)
            tx.run("purge_ready", wanted)
            tx.run("purge_delayed", wanted)
            return count

        return self._database.write(work) if wanted else 0

    # Dead letters

    def dead_replace(self, ids: Sequence[str], messages: Sequence[Message]) -> int:
        parcels = pack(messages, self._database.max_message)

        def work(tx: Session) -> int:
            if not self._delete_dead(tx, ids):
                return 0
            if parcels:
                tx.ring(_writing.insert(tx, parcels))
            return len(set(ids))

        return self._database.write(work)


def _waits(row: Row) -> Message | None:
    """The message of a row that begins with queue, priority, head, body, due."""
    found, _ = message(*row[:4])
    if found is not None:
        found.due = row[4]
    return found
