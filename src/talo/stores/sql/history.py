"""History of the SQL store: counters in rows that are added to, runs in rows that are searched by index.

Owns ``talo_count``, ``talo_history`` and ``talo_history_detail``. What a settlement adds is written inside its
transaction by ``keep``, which ``_writing`` calls; everything else here only reads, or deletes what is old. Called by
``control.history``, the agent and the contract.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
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
from talo.stores.sql._codec import json_list
from talo.stores.sql.connection import Database

__all__ = ["SqlHistory"]

#: Runs deleted in one transaction, so that nobody waits long for the lock.
_STEP = 1000

_decode = msgspec.msgpack.Decoder(RunRecord).decode
_PARAMETER = re.compile(r"\?(\d+)")


class SqlHistory(History):
    """Counters and runs in tables."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._queries: Mapping[str, str] = database.dialect.queries
        self._clock = clock

    def record(self, runs: Sequence[RunRecord]) -> None:
        if not runs:
            return

        def work(connection: sqlite3.Connection) -> None:
            known = self._queries["in_history"]
            new = [
                run
                for run in runs
                if run.keep is None or not connection.execute(known, (run.id, run.attempt, run.ended)).fetchone()
            ]
            _writing.keep(connection, self._queries, new)

        self._database.write(work)

    # Reading

    def counters(
        self, since: float, until: float, step: int, *, name: str | None = None, queue: str | None = None
    ) -> list[Count]:
        width = period_for(since, step, self._clock())
        values = [name, queue, width, since // step * step, until]
        rows = self._rows(_asked(self._queries["counts"], values), values)
        return collect(rows, step, since, until)

    def runs(self, query: RunQuery, limit: int, cursor: str | None = None) -> Page:
        ended, seq = cursor.split("/") if cursor else (None, None)
        where = [None if ended is None else float(ended), None if seq is None else int(seq), limit]
        values = [*_values(query, self._clock()), *where]
        rows = self._rows(_asked(self._queries["history"], values), values)
        more = f"{rows[-1][1]!r}/{rows[-1][0]}" if limit and len(rows) >= limit else None
        return Page([_decode(run) for _, _, run in rows if run is not None], more)

    def count(self, query: RunQuery) -> dict[str, int]:
        values = _values(query, self._clock())
        return dict(self._rows(_asked(self._queries["count_history"], values), values))

    def attempts(self, task_id: str) -> list[RunRecord]:
        return self.runs(RunQuery(id=task_id), 1000).runs[::-1]

    def failures(self, since: float, limit: int) -> list[Failures]:
        def work(connection: sqlite3.Connection) -> list[Failures]:
            rows = connection.execute(self._queries["failures"], (since, self._clock(), limit)).fetchall()
            return [found for row in rows if (found := self._kind(connection, row)) is not None]

        return self._database.read(work)

    def _kind(self, connection: sqlite3.Connection, row: Sequence[Any]) -> Failures | None:
        fingerprint, count, first, last, seq = row
        found = connection.execute(self._queries["history_details"], (json_list([seq]).decode(),)).fetchone()
        if found is None:
            return None
        example = _decode(found[0])
        return Failures(
            fingerprint=fingerprint, name=example.name, example=example, count=count, first=first, last=last
        )

    def _rows(self, query: str, values: Sequence[Any]) -> list[Any]:
        return self._database.read(lambda it: it.execute(query, values).fetchall())

    # Deleting

    def forget(self, query: RunQuery) -> int:
        forgotten = 0
        while True:
            values = [*_values(query, self._clock()), _STEP]
            statement = _asked(self._queries["find_history"], values)
            gone = self._database.write(lambda it: self._delete(it, it.execute(statement, values).fetchall()))  # noqa: B023
            forgotten += gone
            if gone < _STEP:
                return forgotten

    def trim(self, most: int, limit: int) -> int:
        trimmed = 0
        [(size,)] = self._rows(self._queries["history_size"], ())
        while trimmed < limit:
            room = min(_STEP, limit - trimmed)
            gone = self._database.write(lambda it: self._trim(it, size - trimmed - most, room))  # noqa: B023
            trimmed += gone
            if gone < room:
                break
        return trimmed

    def _trim(self, connection: sqlite3.Connection, beyond: int, limit: int) -> int:
        queries, now = self._queries, self._clock()
        for width, kept in PERIODS:
            connection.execute(queries["old_counts"], (width, now - kept, limit))
        gone = self._delete(connection, connection.execute(queries["expired_history"], (now, limit)).fetchall())
        room = min(limit - gone, beyond - gone)
        if room > 0:
            gone += self._delete(connection, connection.execute(queries["oldest_history"], (room,)).fetchall())
        return gone

    def _delete(self, connection: sqlite3.Connection, rows: Sequence[Any]) -> int:
        if rows:
            wanted = json_list([row[0] for row in rows]).decode()
            connection.execute(self._queries["delete_history_details"], (wanted,))
            connection.execute(self._queries["delete_history"], (wanted,))
        return len(rows)


def _values(query: RunQuery, now: float) -> list[Any]:
    """The first twelve parameters of the searching statements."""
    states = list(query.states)
    text = None if query.text is None else "%" + re.sub(r"([\\%_])", r"\\\1", query.text) + "%"
    return [
        query.id,
        query.root,
        query.name,
        query.queue,
        query.worker,
        states[0] if len(states) == 1 else None,
        json_list(states).decode() if len(states) > 1 else None,
        query.fingerprint,
        query.since,
        query.until,
        text,
        now,
    ]


def _asked(query: str, values: Sequence[Any]) -> str:
    """The statement without the lines whose parameters are None: an index is used for what is asked only."""
    return "\n".join(
        line
        for line in query.split("\n")
        if all(values[int(number) - 1] is not None for number in _PARAMETER.findall(line))
    )
