"""Periodic tasks of the SQL store: plans that change by compare-and-set, and the ledger of their runs.

Owns ``talo_plan`` and ``talo_run``. A change is one transaction with the messages that it sends; how these are written
is ``_writing``'s. Called by ``beat`` and ``control.schedules``.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from talo.stores.schedules import Change, Plan, Plans, Run, Schedules
from talo.stores.sql import _writing
from talo.stores.sql._codec import Parcel, json_list, pack
from talo.stores.sql.connection import Database
from talo.stores.sql.waker import Waker

__all__ = ["SqlSchedules"]

#: Runs kept per plan, and removals kept per space for those who look at changes only.
KEPT_RUNS, KEPT_REMOVALS = 200, 1000
#: The plan of no name holds the version up to which removals are forgotten.
_FORGOTTEN = ""

_encode = msgspec.json.Encoder().encode
_plan = msgspec.json.Decoder(Plan).decode
_run = msgspec.json.Decoder(Run).decode


class SqlSchedules(Schedules):
    """Plans in rows; a version is drawn anew at every change."""

    def __init__(self, database: Database, waker: Waker, clock: Callable[[], float]) -> None:
        self._database = database
        self._queries = database.dialect.queries
        self._waker = waker
        self._clock = clock

    def read(self, space: str, since: int = 0) -> Plans:
        rows = self._rows(space, since)
        complete = since == 0 or any(name == _FORGOTTEN for name, _, _ in rows)
        if complete and since:
            rows = self._rows(space, 0)
        changed = []
        for name, version, text in rows:
            if text is not None and name:
                plan = _plan(text)
                plan.version = version
                changed.append(plan)
        return Plans(
            now=self._clock(),
            version=rows[-1][1] if rows else since,
            changed=changed,
            removed=[name for name, _, text in rows if text is None and name],
            complete=complete,
        )

    def _rows(self, space: str, since: int) -> list[tuple[str, int, bytes | None]]:
        query = self._queries["plans"]
        return self._database.read(lambda it: it.execute(query, (space, since)).fetchall())

    def change(self, space: str, changes: Sequence[Change]) -> list[int]:
        if not changes:
            return []
        # Everything that can fail by itself is done before the lock is taken.
        parcels = [pack(each.messages) for each in changes]
        plans = [None if each.plan is None else _encode(each.plan) for each in changes]

        def work(connection: sqlite3.Connection) -> tuple[list[int], Counter[str]]:
            return self._apply(connection, space, changes, plans, parcels)

        versions, wake = self._database.write(work)
        if wake:
            self._waker.ring(wake)
        return versions

    def _apply(
        self,
        connection: sqlite3.Connection,
        space: str,
        changes: Sequence[Change],
        plans: Sequence[bytes | None],
        parcels: Sequence[Sequence[Parcel]],
    ) -> tuple[list[int], Counter[str]]:
        queries, now = self._queries, self._clock()
        names = json_list([each.name for each in changes]).decode()
        there: dict[str, int] = dict(connection.execute(queries["plan_versions"], (space, names)).fetchall())
        versions: list[int] = []
        sent: list[Parcel] = []
        for change, plan, parcel in zip(changes, plans, parcels, strict=True):
            early = change.not_before is not None and change.not_before > now
            if early or there.get(change.name, 0) != change.version or (plan is None and not change.version):
                versions.append(0)
                continue
            version = _writing.draw(connection, queries, 1)
            connection.execute(queries["put_plan"], (space, change.name, version, plan))
            there[change.name] = 0 if plan is None else version
            versions.append(version)
            sent += parcel
            self._record(connection, space, change)
        if any(version and plan is None for version, plan in zip(versions, plans, strict=True)):
            self._forget(connection, space)
        return versions, _writing.insert(connection, queries, sent, now) if sent else Counter()

    def _record(self, connection: sqlite3.Connection, space: str, change: Change) -> None:
        queries: Mapping[str, str] = self._queries
        if change.plan is None:
            connection.execute(queries["drop_runs"], (space, change.name))
        elif change.runs:
            first = _writing.draw(connection, queries, len(change.runs))
            rows = [(space, change.name, first + n, _encode(run)) for n, run in enumerate(change.runs)]
            connection.executemany(queries["add_run"], rows)
            connection.execute(queries["forget_runs"], (space, change.name, KEPT_RUNS))

    def _forget(self, connection: sqlite3.Connection, space: str) -> None:
        gone = connection.execute(self._queries["forget_removed"], (space, KEPT_REMOVALS)).fetchall()
        if gone:
            connection.execute(self._queries["put_plan"], (space, _FORGOTTEN, max(row[0] for row in gone), None))

    def runs(self, space: str, name: str, limit: int) -> list[Run]:
        query = self._queries["runs"]
        rows = self._database.read(lambda it: it.execute(query, (space, name, limit)).fetchall())
        return [_run(row[0]) for row in rows]
