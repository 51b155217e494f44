"""History of the SQL store: counters in rows that are added to, runs in rows that are searched by index.

Owns ``talo_counter``, ``talo_history`` and ``talo_history_detail``. What a settlement adds is written inside its
transaction by ``keep``, which ``_writing`` calls; everything else here only reads, or deletes what is old. Called by
``control.history``, the agent and the contract.
"""

from __future__ import annotations

import re
from collections import Counter
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

__all__ = ["SqlHistory", "values_of"]

#: Runs deleted in one transaction, so that nobody waits long for the lock.
_STEP = 1000
#: Runs that are looked through at a time where each is read, for an argument (a row of another table) or an error.
_LOOKS = 8_000

#: Where a search stopped: when the last run that it looked at had ended, and its number.
Last = tuple[float, int] | None

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
            values = [name, queue, period_for(since, step, tx.now), since // step * step, until, step]
            return tx.rows(asking("counts", values), *values)

        rows = self._database.read(work)
        return collect(((*row[:4], row[4:]) for row in rows), step, since, until)

    def runs(self, query: RunQuery, limit: int, cursor: str | None = None) -> Page:
        found, last = self._database.read(lambda tx: _search(tx, query, limit, cursor))
        runs = [run for _, run in found]
        return Page(runs) if last is None else Page(runs, _cursor(last), last[0] if len(runs) < limit else None)

    def count(self, query: RunQuery, most: int | None = None) -> dict[str, int]:
        if query.argument is not None:
            return self._count_records(query, most)

        def work(tx: Session) -> list[Row]:
            values = [*values_of(query, tx.now), most]
            return tx.rows(asking("count_history", values), *values)

        # Unbounded it may take a second.
        read = self._database.read_aside if most is None else self._database.read
        return {state: int(number) for state, number in read(work)}

    def _count_records(self, query: RunQuery, most: int | None) -> dict[str, int]:
        sums: Counter[str] = Counter()
        cursor: str | None = None
        while (room := _STEP if most is None else min(_STEP, most - sums.total())) > 0:
            page = self.runs(query, room, cursor)
            sums.update(run.state for run in page.runs)
            cursor = page.cursor
            if cursor is None:
                break
        return dict(sums)

    def attempts(self, task_id: str) -> list[RunRecord]:
        return self.runs(RunQuery(id=task_id), 1000).runs[::-1]

    def failures(self, since: float, limit: int) -> list[Failures]:
        def work(tx: Session) -> list[Failures]:
            rows = tx.rows("failures", since, tx.now, limit)
            return [found for row in rows if (found := _kind(tx, row)) is not None]

        return self._database.read(work)

    # Deleting

    def forget(self, query: RunQuery, most: int | None = None) -> int:
        forgotten = 0
        cursor: str | None = None
        while True:
            gone, cursor = self._database.write(lambda tx: _forget(tx, query, cursor))  # noqa: B023  called at once
            forgotten += gone
            if cursor is None or (most is not None and forgotten >= most):
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


def _search(tx: Session, query: RunQuery, limit: int, cursor: str | None) -> tuple[list[tuple[int, RunRecord]], Last]:
    """Return number and run of what fits, the latest first, and where it stopped if there may be more."""
    ended, seq = cursor.split("/") if cursor else (None, None)
    last: Last = None if ended is None or seq is None else (float(ended), int(seq))
    text = None if query.argument is None else query.argument.encode()
    found: list[tuple[int, RunRecord]] = []
    looked, size = 0, limit if text is None else max(limit, _STEP)
    while len(found) < limit and looked < _LOOKS:
        values = [*values_of(query, tx.now), *(last or (None, None)), size, text]
        rows = tx.rows(asking("history", values), *values)
        for number, end, record in rows:
            last = float(end), number
            if record is not None and query.in_arguments(run := _decode(record)):
                found.append((number, run))
                if len(found) == limit:
                    return found, last
        if len(rows) < size:
            return found, None
        looked, size = looked + size, max(size, min(4 * size, 4 * _STEP))
    return found, last


def _cursor(last: tuple[float, int]) -> str:
    return f"{last[0]!r}/{last[1]}"


def _forget(tx: Session, query: RunQuery, cursor: str | None) -> tuple[int, str | None]:
    """Delete some of what fits; return how many, and where to go on, None at the end."""
    if query.argument is not None:
        found, last = _search(tx, query, _STEP, cursor)
        return _delete(tx, found), None if last is None else _cursor(last)
    values = [*values_of(query, tx.now), _STEP]
    gone = _delete(tx, tx.rows(asking("find_history", values), *values))
    return gone, "" if gone == _STEP else None


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


def _delete(tx: Session, rows: Sequence[Sequence[Any]]) -> int:
    if rows:
        wanted = [row[0] for row in rows]
        tx.run("delete_history_details", wanted)
        tx.run("delete_history", wanted)
    return len(rows)


def values_of(query: RunQuery, now: float) -> list[Any]:
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
