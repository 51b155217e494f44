"""Locks and marks of the SQL store: rows that expire.

Owns both tables. Taking a lock is one statement, so there is nothing between the check and the taking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from talo.stores.base import Locks
from talo.stores.sql.database import Database, Session

__all__ = ["SqlLocks"]


class SqlLocks(Locks):
    """Short-lived rows; what has expired counts as absent before it is deleted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, name: str, holder: str, ttl: float) -> bool:
        return self._database.write(lambda tx: bool(tx.rows("acquire", name, holder, tx.now + ttl, tx.now)))

    def release(self, name: str, holder: str) -> bool:
        return self._database.write(lambda tx: tx.run("release", name, holder, tx.now) > 0)

    def mark(self, kind: str, marks: Mapping[str, float]) -> None:
        def work(tx: Session) -> None:
            tx.many("mark", [(kind, member, tx.now + marks[member]) for member in sorted(marks)])

        if marks:
            self._database.write(work)

    def marked(self, kind: str, members: Sequence[str]) -> set[str]:
        if not members:
            return set()
        return {row[0] for row in self._database.read(lambda tx: tx.rows("marked", kind, list(members), tx.now))}

    def all_marked(self, kind: str) -> set[str]:
        return {row[0] for row in self._database.read(lambda tx: tx.rows("all_marked", kind, tx.now))}

    def unmark(self, kind: str, members: Sequence[str]) -> None:
        if members:
            self._database.write(lambda tx: tx.run("unmark", kind, list(members)))
