"""Locks and marks of the SQL store: rows that expire.

Owns both tables. Taking a lock is one statement, so there is nothing between the check and the taking.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence

from talo.stores.base import Locks
from talo.stores.sql._codec import json_list
from talo.stores.sql.connection import Database

__all__ = ["SqlLocks"]


class SqlLocks(Locks):
    """Short-lived rows; what has expired counts as absent before it is deleted."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._queries = database.dialect.queries
        self._clock = clock

    def acquire(self, name: str, holder: str, ttl: float) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            now = self._clock()
            return bool(connection.execute(self._queries["acquire"], (name, holder, now + ttl, now)).fetchall())

        return self._database.write(work)

    def release(self, name: str, holder: str) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            return connection.execute(self._queries["release"], (name, holder, self._clock())).rowcount > 0

        return self._database.write(work)

    def mark(self, kind: str, marks: Mapping[str, float]) -> None:
        if not marks:
            return

        def work(connection: sqlite3.Connection) -> None:
            now = self._clock()
            rows = [(kind, member, now + seconds) for member, seconds in marks.items()]
            connection.executemany(self._queries["mark"], rows)

        self._database.write(work)

    def marked(self, kind: str, members: Sequence[str]) -> set[str]:
        if not members:
            return set()
        values = (kind, json_list(list(members)).decode(), self._clock())
        return self._members("marked", values)

    def all_marked(self, kind: str) -> set[str]:
        return self._members("all_marked", (kind, self._clock()))

    def unmark(self, kind: str, members: Sequence[str]) -> None:
        values = (kind, json_list(list(members)).decode())
        self._database.write(lambda it: it.execute(self._queries["unmark"], values).rowcount)

    def _members(self, query: str, values: tuple[object, ...]) -> set[str]:
        rows = self._database.read(lambda it: it.execute(self._queries[query], values).fetchall())
        return {row[0] for row in rows}
