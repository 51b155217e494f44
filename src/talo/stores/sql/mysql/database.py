"""The way to one MySQL or MariaDB database: how a transaction begins and ends there, and how commits are heard of.

Owns the session over a connection and the schema's migrations. Connections and trying again are ``server``'s. MySQL
tells nobody of a commit, so those who wait look: often at first, less often the longer nothing comes. Callers: the
roles of the SQL store, through ``Database``.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

from talo.errors import OperationalError, StoreUnavailable, TaloError
from talo.stores.base import Features
from talo.stores.sql.database import RESULTS, Row
from talo.stores.sql.dialect import Dialect, Migration, Statement, dialect, percents
from talo.stores.sql.listener import Tidings
from talo.stores.sql.mysql._refusals import AGAIN, GONE
from talo.stores.sql.mysql.connection import Address, Link, Trouble, address, number_of, translated
from talo.stores.sql.server import Hope, ServerDatabase, ServerSession
from talo.stores.sql.store import SqlStore
from talo.stores.sql.waker import MemoryWaker

__all__ = ["MysqlDatabase", "open_mysql"]

#: A statement and its answer are one packet each, 16 MiB unless the server is told otherwise.
_MAX_MESSAGE = 7 * 1024 * 1024
#: Seconds between two looks of one who waits for work: at first, and at most.
_LOOK, _SLOWEST_LOOK = 0.005, 2.0
#: Seconds between two looks of those who wait for results; of those who only listen to the bus at first, and at most:
#: who asks a worker something wants to hear from it within a second.
_HEAR, _SLOWEST_HEAR = 0.01, 0.5
#: By this a pause grows with each look in vain. It is one thirtieth of the time without news: who has waited for a
#: second looks 30 times in the next, who has waited for a minute every two seconds.
_SLOWER = 1 + 1 / 30


def open_mysql(url: str, *, timeout: float = 5.0, auto_migrate: bool = True, **options: Any) -> SqlStore:
    """Return the store of this URL. Options as of ``open_store``. Errors: ``ImproperlyConfigured``."""
    where = address(url)
    features = Features(
        name="mysql",
        atomic=True,
        shared=True,
        durable=True,
        max_message=_MAX_MESSAGE,
        schedules=True,
        history=True,
        peek=True,
        reschedules=True,
    )
    return SqlStore(
        MysqlDatabase(where, timeout=timeout, auto_migrate=auto_migrate), f"mysql://{where.shown}", features, **options
    )


class MysqlSession(ServerSession):
    """Steps over one connection. A list is written as ``(a, b)``."""

    def __init__(self, link: Link, dialect: Dialect, now: float) -> None:
        super().__init__(dialect, now)
        self._link = link

    def many(self, step: str, rows: Sequence[Sequence[Any]]) -> None:
        for text, picks in self._queries[step]:
            if rows:
                self._link.many(text, [[row[at] for at in picks] for row in rows])

    def draw(self, count: int) -> Sequence[int]:
        # What the server counts up by itself is locked by nobody until a commit, and never counted again.
        rows = ", ".join(["(NULL)"] * count)
        _, _, first = self._link.run(f"INSERT INTO talo_serial (value) VALUES {rows}", ())
        last = first + (count - 1) * self._link.step
        self._link.run("DELETE FROM talo_serial WHERE value BETWEEN %s AND %s", (first, last))
        return range(first, last + 1, self._link.step)

    def execute(self, statement: Statement, values: Sequence[Any]) -> tuple[list[Row] | None, int]:
        # An empty list would be no SQL: nothing is in (NULL).
        bound = [[None] if value == [] else value for value in (values[at] for at in statement.picks)]
        rows, count, _ = self._link.run(statement.text, bound)
        return rows, count


class _Looks(MemoryWaker):
    """Who waits in this process is woken; for the others it looks, less often the longer nothing comes."""

    first_look = opening_look = _LOOK
    slowest_look, slower = _SLOWEST_LOOK, _SLOWER


class _Asked(Tidings):
    """Commits of others, supposed to have happened again and again: every few milliseconds while somebody waits for a
    result, and less and less often while there are only listeners to the bus."""

    def __init__(self) -> None:
        self._topics: frozenset[str] = frozenset()
        self._pause = self._next = 0.0

    def heard(self, topics: frozenset[str]) -> bool:
        if topics != self._topics:
            self._topics, self._pause, self._next = topics, _HEAR, 0.0
        now = monotonic()
        if now < self._next:
            return False
        self._next = now + self._pause
        if RESULTS not in topics:
            self._pause = min(self._pause * _SLOWER, _SLOWEST_HEAR)
        return True

    def close(self) -> None:
        """Nothing is open."""


class MysqlDatabase(ServerDatabase[Link]):
    """One database on a MySQL or MariaDB server."""

    trouble = Trouble
    clock = "SELECT UNIX_TIMESTAMP(NOW(6))"
    max_message = _MAX_MESSAGE

    def __init__(self, where: Address, *, timeout: float = 5.0, auto_migrate: bool = True) -> None:
        self._where = where
        self._bell = _Looks()
        self.waker = self._bell
        super().__init__(
            where.shown,
            dialect("mysql", percents),
            timeout=timeout,
            connections=where.max_connections,
            auto_migrate=auto_migrate,
        )

    @property
    def place(self) -> object:
        return self.name

    def connect(self, deadline: float | None = None) -> Link:
        return Link(self._where, monotonic() + self.timeout if deadline is None else deadline, self.timeout)

    def hope(self, error: Any) -> Hope:
        if number_of(error) in AGAIN:
            return Hope.AGAIN
        return Hope.ELSEWHERE if number_of(error) in GONE else Hope.NONE

    def translated(self, error: Any, late: type[OperationalError] = StoreUnavailable) -> TaloError:
        return translated(error, self.name, late)

    def session(self, link: Link, now: float) -> MysqlSession:
        return MysqlSession(link, self.dialect, now)

    def begin(self, link: Link, timeout: float | None) -> float:
        del timeout
        link.script("BEGIN")
        return float(link.script(self.clock)[0][0])

    def commit(self, link: Link, session: MysqlSession) -> None:
        link.script("COMMIT")
        if session.rung:
            self._bell.ring(session.rung)
        if session.told:
            self.listener.poke()

    def tidings(self) -> Tidings | None:
        return _Asked()

    def version(self, link: Link) -> int:
        there = link.script(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'talo_migration'"
        )
        if not there:
            return 0
        return int(link.script("SELECT coalesce(max(number), 0) FROM talo_migration")[0][0])

    def apply(self, link: Link) -> list[Migration]:
        """Bring the schema to this release's version. A statement that makes tables commits by itself, so a step that
        was broken off is done again: each of its statements can be."""
        link.script("SELECT GET_LOCK(CONCAT('talo:', DATABASE()), 600)")
        try:
            link.script(
                "CREATE TABLE IF NOT EXISTS talo_migration (number INT PRIMARY KEY, name VARCHAR(255) NOT NULL)"
            )
            pending = self.pending(self.version(link))
            for step in pending:
                for statement in step.statements:
                    link.script(statement)
                link.script(f"INSERT INTO talo_migration VALUES ({step.number}, '{step.name}')")
            return pending
        finally:
            if not link.broken:
                link.script("SELECT RELEASE_LOCK(CONCAT('talo:', DATABASE()))")
