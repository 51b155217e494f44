"""The way to one PostgreSQL database: a few connections, transactions, what is tried again.

Owns the connections that a process has for transactions, the schema's migrations, and the server's clock. It knows no
table's meaning. Callers: the roles of the SQL store, through ``Database``.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar

from talo.errors import ImproperlyConfigured, OperationalError, StoreUnavailable, TaloError
from talo.stores.base import Features
from talo.stores.sql._codec import MAX_MESSAGE
from talo.stores.sql.database import Database, Row, Session
from talo.stores.sql.dialect import Dialect, Migration, dialect, dollars
from talo.stores.sql.listener import Listener, Tidings
from talo.stores.sql.postgres._refusals import AGAIN, DISPOSE
from talo.stores.sql.postgres.address import Address, address
from talo.stores.sql.postgres.connection import Borrowed, Link, Runs, Trouble, translated
from talo.stores.sql.postgres.waker import Notified, NotifyWaker, channel_of, topic_channel
from talo.stores.sql.store import SqlStore

__all__ = ["PostgresDatabase", "PostgresSession", "open_postgres"]

T = TypeVar("T")

#: Seconds for which the server's clock is believed to go as ours does.
_BELIEVED = 10.0
#: Seconds before a transaction that was undone for the sake of others is run again.
_PAUSE = (0.0005, 0.01)
#: Under this advisory lock the schema is changed ("talo" in ASCII).
_MIGRATION = 0x74616C6F
#: Seconds that a change of the schema may take when somebody asks for it.
_MIGRATING = 600
_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"
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
    )
    return SqlStore(PostgresDatabase(where, timeout=timeout, auto_migrate=auto_migrate), where.url, features, **options)


class PostgresSession(Session):
    """Steps over one connection. A list is an array, and many rows are one array for each column."""

    def __init__(self, link: Runs, dialect: Dialect, now: float) -> None:
        super().__init__()
        self.now = now
        self._link = link
        self._queries = dialect.queries
        self._behind = time.time() - now

    def rows(self, step: str, *values: Any) -> list[Row]:
        found: list[Row] = []
        for text, picks in self._queries[step]:
            rows, _ = self._link.run(text, [values[at] for at in picks])
            found += rows or ()
        return found

    def run(self, step: str, *values: Any) -> int:
        changed = 0
        for text, picks in self._queries[step]:
            changed += self._link.run(text, [values[at] for at in picks])[1]
        return changed

    def many(self, step: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self.run(step, *[list(column) for column in zip(*rows, strict=True)])

    def draw(self, count: int) -> Sequence[int]:
        numbers: list[int] = self.rows("draw", count)[0][0]
        return numbers

    def here(self, moment: float) -> float:
        return moment + self._behind

    def gate(self, name: str) -> None:
        self.rows("gate", name)

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


class PostgresDatabase(Database):
    """One database on a server. Several threads work at once, each over a connection of its own."""

    def __init__(self, where: Address, *, timeout: float = 5.0, auto_migrate: bool = True) -> None:
        self.timeout = timeout
        self.dialect: Dialect = dialect("postgres", dollars)
        self.name = where.shown
        self._ears = NotifyWaker(self.connect, where.shown)
        self.waker = self._ears
        self.listener = Listener(self.tidings, where.shown)
        self._where = where
        self._auto_migrate = auto_migrate
        self._migrated = False
        self._clock: tuple[float, float] | None = None
        self._here: list[Any] = []
        self._left_behind: list[Link] = []
        self._idle: list[Link] = []
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        # A connection of the parent's is left alone: closing it here would end it there.
        self._left_behind, self._idle = self._idle, []
        self._free = threading.BoundedSemaphore(self._where.max_connections)

    @property
    def place(self) -> object:
        where = self._where.conninfo
        return (self.name, where.get("options", ""))

    def read(self, work: Callable[[Session], T], timeout: float | None = None) -> T:
        return self._transact(lambda link: work(self._look(link)), timeout, StoreUnavailable)

    def write(
        self,
        work: Callable[[Session], T],
        timeout: float | None = None,
        late: type[OperationalError] = StoreUnavailable,
    ) -> T:
        committing = False

        def attempt(link: Link) -> T:
            nonlocal committing
            session = self._begin(link, timeout)
            answer = work(session)
            notices = session.notices()
            committing = True
            # The notices go out after the commit, and in the same exchange: no lock is held while the disk is awaited.
            link.script(f"COMMIT; SELECT {notices}" if notices else "COMMIT")
            return answer

        return self._transact(attempt, timeout, late, lambda: committing)

    def join(self, connection: object) -> Session:
        borrowed = Borrowed(connection, self.name)
        if not self._here:
            self._look_here()  # first, for it makes the tables if need be
        try:
            rows, _ = borrowed.run(f"{_CLOCK}, {_PLACE}", ())
        except Trouble as error:
            raise ImproperlyConfigured(f"the connection to {self.name} cannot be used: {error}") from error
        now, *there = (rows or [()])[0]
        if there != self._here and there != self._look_here():
            raise ImproperlyConfigured(f"the connection does not lead to {self.name}, where tasks are kept")
        return PostgresSession(borrowed, self.dialect, now)

    def _look_here(self) -> list[Any]:
        """What tells this database from others; a restart of the server changes it."""
        self._here = self._transact(lambda link: list(link.script(f"SELECT {_PLACE}")[0]), None, StoreUnavailable)
        return self._here

    def write_within(self, session: Session, work: Callable[[Session], T]) -> T:
        assert isinstance(session, PostgresSession)
        try:
            answer = work(session)
            session.notify()
            return answer
        except Trouble as error:
            raise translated(error, self.name) from error

    def tidings(self) -> Tidings | None:
        return Notified(self.connect)

    def close(self) -> None:
        if self._pid != os.getpid():
            return
        self.listener.stop()
        self._ears.close()
        while self._idle:
            self._idle.pop().close()

    def connect(self, deadline: float | None = None) -> Link:
        """Return a new connection that belongs to whoever asked."""
        until = monotonic() + self.timeout if deadline is None else deadline
        return Link(self._where.conninfo, self.name, until, self.timeout)

    # Transactions

    def _transact(
        self,
        attempt: Callable[[Link], T],
        timeout: float | None,
        late: type[OperationalError],
        unsure: Callable[[], bool] = lambda: False,
        *,
        bare: bool = False,
    ) -> T:
        """Run ``attempt`` until it succeeds or there is no hope; ``bare``: without a look at the tables."""
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            link = self._take(deadline, late, bare)
            try:
                answer = attempt(link)
                link.proven = True
                return answer
            except Trouble as error:
                if not self._again(link, error, unsure(), deadline):
                    if monotonic() >= deadline:
                        raise late(f"{self.name} did not answer in time") from error
                    raise translated(error, self.name, late) from error
            finally:
                self._give(link)

    def _again(self, link: Link, error: Trouble, unsure: bool, deadline: float) -> bool:
        """Whether to run it once more: nothing of it was done, and there is a reason to hope."""
        if monotonic() >= deadline:
            return False
        if error.sqlstate in AGAIN:
            time.sleep(random.uniform(*_PAUSE))
            return True
        if link.proven and not unsure and (link.broken or error.sqlstate in DISPOSE):
            # The server has ended it, and probably the others of its age.
            link.close()
            while self._idle:
                self._idle.pop().close()
            return True
        return False

    def _take(self, deadline: float, late: type[OperationalError], bare: bool) -> Link:
        if self._pid != os.getpid():
            self._reset()
        if not self._free.acquire(timeout=max(0.0, deadline - monotonic())):
            raise late(f"all {self._where.max_connections} connections to {self.name} were in use until the deadline")
        try:
            link = self._idle.pop() if self._idle else self.connect(deadline)
        except TaloError as error:
            self._free.release()
            if monotonic() >= deadline:
                raise late(str(error)) from error
            raise
        link.until(deadline)
        try:
            if not self._migrated and not bare:
                self._check(link)
        except BaseException:
            link.close()
            self._free.release()
            raise
        return link

    def _give(self, link: Link) -> None:
        if not link.clean and not link.broken:
            try:
                link.script("ROLLBACK")
            except Trouble:
                link.close()
        if link.clean:
            self._idle.append(link)
        else:
            link.close()
        self._free.release()

    def _begin(self, link: Link, timeout: float | None) -> PostgresSession:
        limit = "" if timeout is None else f"SET LOCAL statement_timeout = {max(1, int(timeout * 1000))};"
        [(now,)] = link.script(f"BEGIN; {limit} {_CLOCK}")
        self._clock = now, monotonic()
        return PostgresSession(link, self.dialect, now)

    def _look(self, link: Link) -> PostgresSession:
        at = monotonic()
        if self._clock is None or at - self._clock[1] > _BELIEVED:
            [(now,)] = link.script(_CLOCK)
            self._clock = now, at
        return PostgresSession(link, self.dialect, self._clock[0] + at - self._clock[1])

    # Schema

    def schema(self) -> int:
        return self._transact(self._version, None, StoreUnavailable, bare=True)

    def migrate(self) -> list[Migration]:
        done = self._transact(self._migrate, _MIGRATING, StoreUnavailable, bare=True)
        self._migrated = True
        return done

    def _check(self, link: Link) -> None:
        try:
            if self._version(link) != self.dialect.migrations[-1].number:
                if not self._auto_migrate:
                    raise self.outdated()
                self._migrate(link)
        except Trouble as error:
            raise translated(error, self.name) from error
        self._migrated = True

    def _migrate(self, link: Link) -> list[Migration]:
        """Bring the schema to this release's version, in one transaction; one process at a time."""
        link.script(
            f"BEGIN; SET LOCAL statement_timeout = {_MIGRATING * 1000}; SELECT pg_advisory_xact_lock({_MIGRATION})"
        )
        link.script("CREATE TABLE IF NOT EXISTS talo_migration (number integer PRIMARY KEY, name text NOT NULL)")
        # Another process may have been quicker; and only now do we have the lock.
        at = self._number(link)
        if at > self.dialect.migrations[-1].number:
            raise self.newer(at)
        pending = [step for step in self.dialect.migrations if step.number > at]
        for step in pending:
            for statement in step.statements:
                link.script(statement)
            link.script(f"INSERT INTO talo_migration VALUES ({step.number}, '{step.name}')")
        link.script("COMMIT")
        return pending

    def _version(self, link: Link) -> int:
        if link.script("SELECT to_regclass('talo_migration')::text")[0][0] is None:
            return 0
        return self._number(link)

    @staticmethod
    def _number(link: Link) -> int:
        return int(link.script("SELECT coalesce(max(number), 0) FROM talo_migration")[0][0])
