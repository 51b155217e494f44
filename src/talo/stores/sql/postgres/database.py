"""The way to one PostgreSQL database: how a transaction begins and ends there, and how the caller's own is joined.

Owns the session over a connection and the schema's migrations. Connections and trying again are ``server``'s. Callers:
the roles of the SQL store, through ``Database``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar

from talo.errors import ImproperlyConfigured, OperationalError, StoreUnavailable, TaloError
from talo.stores.base import Features
from talo.stores.sql._codec import MAX_MESSAGE
from talo.stores.sql.database import Row, Session
from talo.stores.sql.dialect import Dialect, Migration, Statement, dialect, dollars
from talo.stores.sql.listener import Tidings
from talo.stores.sql.postgres._refusals import AGAIN, DISPOSE
from talo.stores.sql.postgres.address import Address, address
from talo.stores.sql.postgres.connection import Borrowed, Link, Runs, Trouble, translated
from talo.stores.sql.postgres.waker import Notified, NotifyWaker, channel_of, topic_channel
from talo.stores.sql.server import Hope, ServerDatabase, ServerSession
from talo.stores.sql.store import SqlStore

__all__ = ["PostgresDatabase", "PostgresSession", "open_postgres"]

T = TypeVar("T")

#: Under this advisory lock the schema is changed ("talo" in ASCII).
_MIGRATION = 0x74616C6F
#: The time, and which server, database and tables a connection leads to.
_PLACE = (
    "pg_postmaster_start_time()::text, (SELECT oid FROM pg_database WHERE datname = current_database())::text, "
    "to_regclass('talo_message')::oid::text"
)


def open_postgres(url: str, *, timeout: float = 5.0, auto_migrate: bool = True, **options: Any) -> SqlStore:
    """Return the store of this URL. Options as of ``open_store``. Errors: ``ImproperlyConfigured``."""
    where = address(url)
    features = Features(
        name="postgresql",
        atomic=True,
        shared=True,
        durable=True,
        max_message=MAX_MESSAGE,
        transactions=True,
        schedules=True,
        history=True,
        peek=True,
        reschedules=True,
    )
    return SqlStore(PostgresDatabase(where, timeout=timeout, auto_migrate=auto_migrate), where.url, features, **options)


class PostgresSession(ServerSession):
    """Steps over one connection. A list is an array, and many rows are one array for each column."""

    def __init__(self, link: Runs, dialect: Dialect, now: float) -> None:
        super().__init__(dialect, now)
        self._link = link

    def execute(self, statement: Statement, values: Sequence[Any]) -> tuple[list[Row] | None, int]:
        return self._link.run(statement.text, [values[at] for at in statement.picks])

    def many(self, step: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self.run(step, *[list(column) for column in zip(*rows, strict=True)])

    def draw(self, count: int) -> Sequence[int]:
        numbers: list[int] = self.rows("draw", count)[0][0]
        return numbers

    def notify(self) -> None:
        """Tell as part of the transaction: the server passes it on at the commit."""
        if notices := self.notices():
            self._link.run(f"SELECT {notices}", ())
            self.rung.clear()
            self.told.clear()

    def notices(self) -> str:
        """What tells everybody of this transaction, as statements; empty if there is nothing to tell."""
        channels = [channel_of(queue) for queue, count in self.rung.items() if count > 0]
        channels += [topic_channel(topic) for topic in sorted(self.told)]
        return ", ".join(f"pg_notify('{channel}', '')" for channel in channels)


class PostgresDatabase(ServerDatabase[Link]):
    """One database on a PostgreSQL server."""

    trouble = Trouble
    clock = "SELECT extract(epoch FROM clock_timestamp())::float8"

    def __init__(self, where: Address, *, timeout: float = 5.0, auto_migrate: bool = True) -> None:
        self._where = where
        self._ears = NotifyWaker(self.connect, where.shown)
        self.waker = self._ears
        self._here: list[Any] = []
        super().__init__(
            where.shown,
            dialect("postgres", dollars),
            timeout=timeout,
            connections=where.max_connections,
            auto_migrate=auto_migrate,
        )

    @property
    def place(self) -> object:
        return (self.name, self._where.conninfo.get("options", ""))

    def connect(self, deadline: float | None = None) -> Link:
        until = monotonic() + self.timeout if deadline is None else deadline
        return Link(self._where.conninfo, self.name, until, self.timeout)

    def hope(self, error: Any) -> Hope:
        if error.sqlstate in AGAIN:
            return Hope.AGAIN
        return Hope.ELSEWHERE if error.sqlstate in DISPOSE else Hope.NONE

    def translated(self, error: Any, late: type[OperationalError] = StoreUnavailable) -> TaloError:
        return translated(error, self.name, late)

    def session(self, link: Link, now: float) -> PostgresSession:
        return PostgresSession(link, self.dialect, now)

    def begin(self, link: Link, timeout: float | None) -> float:
        limit = "" if timeout is None else f"SET LOCAL statement_timeout = {max(1, int(timeout * 1000))};"
        now: float = link.script(f"BEGIN; {limit} {self.clock}")[0][0]
        return now

    def commit(self, link: Link, session: PostgresSession) -> None:
        # The notices go out after the commit, and in the same exchange: no lock is held while the disk is awaited.
        notices = session.notices()
        link.script(f"COMMIT; SELECT {notices}" if notices else "COMMIT")

    def tidings(self) -> Tidings | None:
        return Notified(self.connect)

    def close(self) -> None:
        super().close()
        self._ears.close()

    # The caller's transactions

    def join(self, connection: object) -> Session:
        borrowed = Borrowed(connection, self.name)
        if not self._here:
            self._look_here()  # first, for it makes the tables if need be
        try:
            rows, _ = borrowed.run(f"{self.clock}, {_PLACE}", ())
        except Trouble as error:
            raise ImproperlyConfigured(f"the connection to {self.name} cannot be used: {error}") from error
        now, *there = (rows or [()])[0]
        if there != self._here and there != self._look_here():
            raise ImproperlyConfigured(f"the connection does not lead to {self.name}, where tasks are kept")
        return PostgresSession(borrowed, self.dialect, now)

    def _look_here(self) -> list[Any]:
        """What tells this database from others; a restart of the server changes it."""
        self._here = self.transact(lambda link: list(link.script(f"SELECT {_PLACE}")[0]))
        return self._here

    def write_within(self, session: Session, work: Callable[[Session], T]) -> T:
        assert isinstance(session, PostgresSession)
        try:
            answer = work(session)
            session.notify()
            return answer
        except Trouble as error:
            raise self.translated(error) from error

    # Schema

    def version(self, link: Link) -> int:
        if link.script("SELECT to_regclass('talo_migration')::text")[0][0] is None:
            return 0
        return self._number(link)

    def apply(self, link: Link) -> list[Migration]:
        """Bring the schema to this release's version, in one transaction."""
        link.script(f"BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({_MIGRATION})")
        link.script("CREATE TABLE IF NOT EXISTS talo_migration (number integer PRIMARY KEY, name text NOT NULL)")
        # Another process may have been quicker; and only now do we have the lock.
        pending = self.pending(self._number(link))
        for step in pending:
            for statement in step.statements:
                link.script(statement)
            link.script(f"INSERT INTO talo_migration VALUES ({step.number}, '{step.name}')")
        link.script("COMMIT")
        return pending

    @staticmethod
    def _number(link: Link) -> int:
        return int(link.script("SELECT coalesce(max(number), 0) FROM talo_migration")[0][0])
