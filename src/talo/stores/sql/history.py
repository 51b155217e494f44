"""History of the SQL store: counters in rows that are added to, runs in rows that are searched by index.

Owns ``talo_count``, ``talo_history`` and ``talo_history_detail``. What a settlement adds is written inside its
transaction by ``keep``, which ``_writing`` calls; everything else here only reads, or deletes what is old. Called by
``control.history``, the agent and the contract.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from talo.stores.history import (
    PERIODS,
    Count,
    Failures,
    History,
    Page,
    RunQuery,
    RunRecord,
    collect,
    period_for,
)
from talo.stores.sql import _writing
from talo.stores.sql.database import Database, Row, Session
from talo.stores.sql.dialect import asking

__all__ = ["SqlHistory"]

#: Runs deleted in one transaction, so that nobody waits long for the lock.
_STEP = 1000

_decode = msgspec.msgpack.Decoder(RunRecord).decode


class SqlHistory(History):
    """Counters and runs in tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, runs: Sequence[RunRecord]) -> None:
        if not runs:
            return

        def work(tx: Session) -> None:
            new = [
                run for run in runs if run.keep is None or tx.row("in_history", run.id, run.attempt, run.ended) is None
            ]
            _writing.keep(tx, new)

        self._database.write(work)

    # Reading

    def counters(
        self, since: float, until: float, step: int, *, name: str | None = None, queue: str | None = None
    ) -> list[Count]:
        def work(tx: Session) -> list[Row]:
            values = [name, queue, period_for(since, step, tx.now), since // step * step, until]
            return tx.rows(asking("counts", values), *values)

        rows = self._database.read(work)
        return collect((_whole(row) for row in rows), step, since, until)

    def runs(self, query: RunQuery, limit: int, cursor: str | None = None) -> Page:
        ended, seq = cursor.split("/") if cursor else (None, None)
        where = [None if ended is None else float(ended), None if seq is None else int(seq), limit]
        rows = self._asked("history", query, where)
        more = f"{rows[-1][1]!r}/{rows[-1][0]}" if limit and len(rows) >= limit else None
        return Page([_decode(run) for _, _, run in rows if run is not None], more)

    def count(self, query: RunQuery) -> dict[str, int]:
        return {state: int(number) for state, number in self._asked("count_history", query, [])}

    def attempts(self, task_id: str) -> list[RunRecord]:
        return self.runs(RunQuery(id=task_id), 1000).runs[::-1]

    def failures(self, since: float, limit: int) -> list[Failures]:
        def work(tx: Session) -> list[Failures]:
            rows = tx.rows("failures", since, tx.now, limit)
            return [found for row in rows if (found := _kind(tx, row)) is not None]

        return self._database.read(work)

    def _asked(self, step: str, query: RunQuery, more: list[Any]) -> list[Row]:
        def work(tx: Session) -> list[Row]:
            values = [*_values(query, tx.now), *more]
            return tx.rows(asking(step, values), *values)

        return self._database.read(work)

    # Deleting

    def forget(self, query: RunQuery) -> int:
        def work(tx: Session) -> int:
            values = [*_values(query, tx.now), _STEP]
            return _delete(tx, tx.rows(asking("find_history", values), *values))

        forgotten = 0
        while True:
            gone = self._database.write(work)
            forgotten += gone
            if gone < _STEP:
                return forgotten

    def trim(self, most: int, limit: int) -> int:
        [(size,)] = self._database.read(lambda tx: tx.rows("history_size"))
        trimmed = 0
        while trimmed < limit:
            room, beyond = min(_STEP, limit - trimmed), size - trimmed - most
            gone = self._database.write(lambda tx: _trim(tx, beyond, room))  # noqa: B023  called before the next round
            trimmed += gone
            if gone < room:
                break
        return trimmed


def _kind(tx: Session, row: Row) -> Failures | None:
    fingerprint, count, first, last, seq = row
    found = tx.row("history_details", [seq])
    if found is None:
        return None
    example = _decode(found[0])
    return Failures(
        fingerprint=fingerprint, name=example.name, example=example, count=int(count), first=first, last=last
    )


def _trim(tx: Session, beyond: int, limit: int) -> int:
    for width, kept in PERIODS:
        tx.run("old_counts", width, tx.now - kept, limit)
    gone = _delete(tx, tx.rows("expired_history", tx.now, limit))
    room = min(limit - gone, beyond - gone)
    return gone + (_delete(tx, tx.rows("oldest_history", room)) if room > 0 else 0)


def _delete(tx: Session, rows: Sequence[Row]) -> int:
    if rows:
        wanted = [row[0] for row in rows]
        tx.run("delete_history_details", wanted)
        tx.run("delete_history", wanted)
    return len(rows)


def _whole(row: Row) -> tuple[int, str, str, str, str, int, int, int]:
    """A row of counters; some databases sum integers into decimals."""
    start, name, queue, state, kind, bucket, count, micros = row
    return start, name, queue, state, kind, bucket, int(count), int(micros)


def _values(query: RunQuery, now: float) -> list[Any]:
    """The first twelve values of the searching steps."""
    states = list(query.states)
    return [
        query.id,
        query.root,
        query.name,
        query.queue,
        query.worker,
        states[0] if len(states) == 1 else None,
        states if len(states) > 1 else None,
        query.fingerprint,
        query.since,
        query.until,
        None if query.text is None else "%" + re.sub(r"([\\%_])", r"\\\1", query.text) + "%",
        now,
    ]
