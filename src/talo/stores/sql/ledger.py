"""The ledger of the SQL store: one row for each message that waits on another broker, or that somebody has from there.

Owns ``talo_ledger``. Rows are written in one order, so that writers never wait for each other in a circle. Called by
``stores.noted``.
"""

from __future__ import annotations

from collections.abc import Sequence

from talo.stores.ledger import KEPT, Count, Entry, Holder, Ledger, Note
from talo.stores.records import Lease
from talo.stores.sql.database import Database, Row, Session

__all__ = ["SqlLedger"]


class SqlLedger(Ledger):
    """Rows by task and queue; what is ready and what is delayed is told by the database's clock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enter(self, entries: Sequence[Entry], timeout: float | None = None) -> None:
        def work(tx: Session) -> None:
            tx.many("enter_ledger", [(*each, each.since + KEPT) for each in sorted(entries)])

        if entries:
            self._database.write(work, timeout)

    def mark(self, ended: Sequence[Lease], held: Sequence[tuple[Entry, Holder]]) -> None:
        tokens: dict[str, list[int]] = {}
        for lease in ended:
            tokens.setdefault(lease.owner, []).append(lease.token)
        # Of two deliveries of one message the later has it.
        latest = {each[0][:2]: each for each in held}

        def work(tx: Session) -> None:
            for owner in sorted(tokens):
                tx.run("strike_ledger", owner, tokens[owner])
            rows = []
            for _, (entry, holder) in sorted(latest.items()):
                rows.append(
                    (*entry, holder.at + KEPT, holder.lease.owner, holder.lease.token, holder.worker, holder.at)
                )
            tx.many("hold_ledger", rows)

        self._database.write(work)

    def free(self, back: Sequence[tuple[Lease, float | None]]) -> None:
        def work(tx: Session) -> None:
            in_order = sorted(back, key=lambda each: (each[0].owner, each[0].token))
            tx.many("free_ledger", [(lease.owner, lease.token, since, KEPT) for lease, since in in_order])

        if back:
            self._database.write(work)

    def drop(self, entries: Sequence[Entry]) -> None:
        if entries:
            keys = sorted({each[:2] for each in entries})
            self._database.write(lambda tx: tx.many("drop_ledger", keys))

    def clear(self, queue: str, after: float, until: float) -> None:
        self._database.write(lambda tx: tx.run("clear_ledger", queue, _bounded(after), _bounded(until)))

    def find(self, task_ids: Sequence[str]) -> list[Note]:
        if not task_ids:
            return []
        return [_note(row) for row in self._database.read(lambda tx: tx.rows("find_ledger", list(task_ids)))]

    def waiting(self, queue: str, limit: int, offset: int, *, delayed: bool) -> list[Entry]:
        step = "delayed_ledger" if delayed else "ready_ledger"
        return [Entry(*row[:6]) for row in self._database.read(lambda tx: tx.rows(step, queue, tx.now, limit, offset))]

    def counts(self, queues: Sequence[str]) -> dict[str, Count]:
        rows = self._database.read(lambda tx: tx.rows("count_ledger", list(queues), tx.now))
        return {queue: Count(ready, delayed) for queue, ready, delayed in rows}

    def since(self, queue: str, rank: int) -> float | None:
        rows = self._database.read(lambda tx: tx.rows("ready_ledger", queue, _bounded(float("inf")), 1, rank))
        return rows[0][5] if rows else None

    def ahead(self, entry: Entry) -> int:
        [[number]] = self._database.read(lambda tx: tx.rows("ahead_ledger", entry.queue, entry.since))
        return int(number)

    def held(self, limit: int) -> list[Note]:
        return [_note(row) for row in self._database.read(lambda tx: tx.rows("held_ledger", limit))]


def _note(row: Row) -> Note:
    entry, (owner, token, worker, at) = Entry(*row[:6]), row[6:]
    return Note(entry, None if owner is None else Holder(Lease(owner, token), worker, at))


def _bounded(moment: float) -> float:
    """A moment that every database can compare with: no infinity."""
    return min(max(moment, -1e300), 1e300)
