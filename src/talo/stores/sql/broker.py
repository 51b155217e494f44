"""The broker of the SQL store: send, turn, leases, waiting, numbers.

Owns when a transaction begins and what it is made of; the steps inside are ``_writing``'s, dead letters ``dead``'s. A
turn is one write transaction, or one look without a lock when there is nothing to settle and nothing to fetch.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from talo.errors import LeaseLost, PublishTimeout
from talo.stores.base import Delivery, Lease, OwnerInfo, QueueStats, Settlement, Turn
from talo.stores.sql import _writing
from talo.stores.sql._codec import Parcel, delivery, json_list, message, pack
from talo.stores.sql.connection import Database
from talo.stores.sql.dead import DeadLetters
from talo.stores.sql.listener import Listener
from talo.stores.sql.waker import Waker, poll
from talo.wire.message import Message
from talo.wire.sent import ready_since

__all__ = ["SqlBroker"]

#: Seconds between two looks of one who waits, in case a wake-up was lost with the process that took it.
LOOK = 0.5
#: SQLite's word for no limit.
_ALL = -1


class SqlBroker(DeadLetters):
    """Messages in tables; where a message is, is which table names it."""

    def __init__(
        self, database: Database, waker: Waker, listener: Listener, clock: Callable[[], float], order: str
    ) -> None:
        super().__init__(database, clock)
        self._waker = waker
        self._listener = listener
        self._order = order.replace("-", "_")
        self._rotation = itertools.count()
        self._interrupts: tuple[int, int] | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    # Sending

    def send(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        if messages:
            self._send(pack(messages), timeout)

    def push_raw(self, queue: str, raw: bytes) -> None:
        """Put bytes into a queue as the head of a message, whatever they are: for tests and for repairs."""
        self._send([Parcel(queue, 0, None, None, raw, b"", None)], None)

    def _send(self, parcels: Sequence[Parcel], timeout: float | None) -> None:
        def work(connection: sqlite3.Connection) -> Counter[str]:
            return _writing.insert(connection, self._queries, parcels, self._clock())

        self._waker.ring(self._database.write(work, timeout, PublishTimeout))

    # Settling and fetching

    def turn(self, settlements: Sequence[Settlement], owner: str, queues: Sequence[str], limit: int) -> Turn:
        if not settlements:
            return self.fetch(owner, queues, limit)
        return self._turn(_writing.Plan(settlements), owner, queues, limit)

    def settle(self, settlements: Sequence[Settlement]) -> list[Lease]:
        if not settlements:
            return []
        plan = _writing.Plan(settlements)

        def work(connection: sqlite3.Connection) -> tuple[list[Lease], Counter[str]]:
            return _writing.settle(connection, self._queries, plan, self._clock())

        refused, wake = self._database.write(work)
        self._tell(plan, wake)
        return refused

    def fetch(self, owner: str, queues: Sequence[str], limit: int, refused: list[Lease] | None = None) -> Turn:
        holder, due, ready = self._glance(owner, queues)
        if holder is None:
            raise self._lost(owner)
        if limit <= 0 or not (ready or (due is not None and due <= self._clock())):
            return Turn([], refused or [], due)
        turn = self._turn(None, owner, queues, limit)
        turn.refused = refused or []
        return turn

    def _turn(self, plan: _writing.Plan | None, owner: str, queues: Sequence[str], limit: int) -> Turn:
        turn_of = next(self._rotation) % len(queues) if queues else 0
        rotated = [*queues[turn_of:], *queues[:turn_of]]

        def work(connection: sqlite3.Connection) -> tuple[Turn, Counter[str]]:
            now, queries = self._clock(), self._queries
            holder = connection.execute(queries["holder"], (owner,)).fetchone()
            if holder is None:
                raise self._lost(owner)
            refused, wake = _writing.settle(connection, queries, plan, now) if plan else ([], Counter[str]())
            deliveries: list[Delivery] = []
            if limit > 0:
                wake.update(_writing.promote(connection, queries, now))
                deliveries = _writing.lease(connection, queries, holder[0], owner, rotated, limit, self._order)
            due = connection.execute(queries["next_due"]).fetchone()
            return Turn(deliveries, refused, due[0] if due else None), wake

        turn, wake = self._database.write(work)
        if wake:
            wake.subtract(each.queue for each in turn.deliveries)
        self._tell(plan, wake)
        return turn

    def _tell(self, plan: _writing.Plan | None, wake: Counter[str]) -> None:
        if wake:
            self._waker.ring(wake)
        if plan is not None and plan.results:
            self._listener.poke()

    def _glance(self, owner: str, queues: Sequence[str]) -> tuple[int | None, float | None, bool]:
        wanted = json_list(list(queues)).decode()
        row = self._database.read(lambda it: it.execute(self._queries["glance"], (owner, wanted)).fetchone())
        return row[0], row[1], bool(row[2])

    @staticmethod
    def _lost(owner: str) -> LeaseLost:
        return LeaseLost(f"owner {owner} is not open: it was taken over, closed, or never opened")

    # Waiting

    def wait(self, queues: Sequence[str], timeout: float, also: Sequence[int] = ()) -> bool:
        interrupt = self._interrupt_pipe()[0]
        until = time.monotonic() + timeout
        ends = (*also, interrupt)
        with self._waker.listen(queues) as ear:
            while True:
                # The ear is open: what comes after this look rings, what came before it is seen.
                _, due, ready = self._glance("", queues)
                soon = None if due is None else due - self._clock()
                if ready or (soon is not None and soon <= 0):
                    return True
                nap = time.monotonic() + (LOOK if soon is None else min(LOOK, soon))
                heard = poll(ear, ends, min(nap, until))
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
        def work(connection: sqlite3.Connection) -> None:
            number = _writing.draw(connection, self._queries, 1)
            connection.execute(self._queries["open_owner"], (number, owner, worker, slots, self._clock() + lease))

        self._database.write(work)

    def renew(self, owners: Sequence[str], lease: float) -> list[str]:
        if not owners:
            return []
        wanted = json_list(list(owners)).decode()

        def work(connection: sqlite3.Connection) -> set[str]:
            rows = connection.execute(self._queries["renew"], (wanted, self._clock() + lease)).fetchall()
            return {row[0] for row in rows}

        alive = self._database.write(work)
        return [each for each in owners if each not in alive]

    def owners(self) -> list[OwnerInfo]:
        rows = self._database.read(lambda it: it.execute(self._queries["owners"], (self._clock(),)).fetchall())
        return [
            OwnerInfo(owner=owner, worker=worker, slots=slots, remaining=remaining, held=held)
            for owner, worker, slots, remaining, held in rows
        ]

    def held(self, owner: str) -> list[Delivery]:
        def work(connection: sqlite3.Connection) -> list[Delivery]:
            holder = connection.execute(self._queries["holder"], (owner,)).fetchone()
            if holder is None:
                return []
            rows = connection.execute(self._queries["held"], (holder[0], _ALL)).fetchall()
            return [delivery(owner, row[7], row) for row in rows]

        return self._database.read(work)

    def take_over(self, owner: str, by: str, limit: int, *, expired: bool) -> list[Delivery]:
        if owner == by:
            return []

        def work(connection: sqlite3.Connection) -> list[Delivery]:
            source = connection.execute(self._queries["holder"], (owner,)).fetchone()
            if source is None or (expired and source[1] > self._clock()):
                return []
            target = connection.execute(self._queries["holder"], (by,)).fetchone()
            if target is None:
                raise self._lost(by)
            taken = _writing.move(connection, self._queries, source[0], target[0], by, limit)
            connection.execute(self._queries["close_owner"], (owner,))
            return taken

        return self._database.write(work)

    def close_owner(self, owner: str) -> None:
        self._database.write(lambda connection: connection.execute(self._queries["close_owner"], (owner,)).rowcount)

    # Numbers

    def stats(self, queues: Sequence[str] | None = None) -> list[QueueStats]:
        def work(connection: sqlite3.Connection) -> list[dict[str, int]]:
            names = ("count_ready", "count_delayed", "count_leased")
            return [dict(connection.execute(self._queries[name]).fetchall()) for name in names]

        ready, delayed, leased = self._database.read(work)
        names = sorted({*ready, *delayed, *leased}) if queues is None else queues
        return [
            QueueStats(
                name=name,
                ready=ready.get(name, 0),
                delayed=delayed.get(name, 0),
                leased=leased.get(name, 0),
                oldest=self._oldest(name) if ready.get(name) else None,
            )
            for name in names
        ]

    def _oldest(self, queue: str) -> float | None:
        """The age of the oldest of those that stand first, one per priority."""

        def work(connection: sqlite3.Connection) -> list[Message | None]:
            heads = []
            level = connection.execute(self._queries["most_urgent_high_first"], (queue,)).fetchone()[0]
            while level is not None:
                row = connection.execute(self._queries["front"], (queue, level)).fetchone()
                if row is not None:
                    heads.append(message(queue, level, row[0], b"")[0])
                level = connection.execute(self._queries["less_urgent_high_first"], (queue, level)).fetchone()[0]
            return heads

        found = self._database.read(work)
        since = [at for each in found if each is not None and (at := ready_since(each)) is not None]
        return max(0.0, self._clock() - min(since)) if since else None

    def peek(self, queue: str, limit: int, offset: int = 0, *, delayed: bool = False) -> list[Message]:
        query = self._queries["peek_delayed" if delayed else f"peek_ready_{self._order}"]
        rows = self._database.read(lambda it: it.execute(query, (queue, limit, offset)).fetchall())
        found = []
        for name, priority, head, body, *due in rows:
            each, _ = message(name, priority, head, body)
            if each is not None:
                each.due = due[0] if due else None
                found.append(each)
        return found

    def purge(self, queues: Sequence[str]) -> int:
        wanted = json_list(list(queues)).decode()

        def work(connection: sqlite3.Connection) -> int:
            count = connection.execute(self._queries["purge_messages"], (wanted,)).rowcount
            connection.execute(self._queries["purge_ready"], (wanted,))
            connection.execute(self._queries["purge_delayed"], (wanted,))
            return count

        return self._database.write(work)

    # Dead letters

    def dead_replace(self, ids: Sequence[str], messages: Sequence[Message]) -> int:
        parcels = pack(messages)

        def work(connection: sqlite3.Connection) -> Counter[str] | None:
            if not self._delete_dead(connection, ids):
                return None
            return _writing.insert(connection, self._queries, parcels, self._clock()) if parcels else Counter()

        wake = self._database.write(work)
        if wake is None:
            return 0
        self._waker.ring(wake)
        return len(set(ids))
