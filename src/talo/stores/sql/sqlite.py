"""The way to one SQLite database: opening, transactions, deadlines, errors.

Owns the one connection that a process has to a database, the lock around it, the schema's migrations and the
translation of sqlite3's errors. It knows no table's meaning. Callers: the roles of the SQL store, through ``Database``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from talo.errors import ImproperlyConfigured, OperationalError, StoreFull, StoreUnavailable, TaloError
from talo.stores.sql._codec import json_list
from talo.stores.sql.database import Database, Row, Session
from talo.stores.sql.dialect import Dialect, Migration, Statement, dialect, marks
from talo.stores.sql.listener import Listener, Tidings
from talo.stores.sql.waker import Bell, MemoryWaker, PipeWaker
from talo.util.files import make

__all__ = ["SqliteDatabase", "SqliteSession"]

T = TypeVar("T")

#: RETURNING came with this release.
_OLDEST = (3, 35, 0)
#: Seconds between two attempts to become the writer. SQLite's own busy handler sleeps ever longer, so whoever has
#: waited longest loses against newcomers; attempts at short random distances give everyone the same chance.
_PATIENCE = (0.0001, 0.001)
#: Pages in the write-ahead log after which it is folded back (4 KiB each).
_CHECKPOINT = 4000


class SqliteSession(Session):
    """Steps over one connection. A list is one value: a JSON array."""

    def __init__(self, connection: sqlite3.Connection, dialect: Dialect, now: float) -> None:
        super().__init__()
        self.connection = connection
        self.now = now
        self._queries = dialect.queries

    def rows(self, step: str, *values: Any) -> list[Row]:
        found: list[Row] = []
        for statement in self._queries[step]:
            found += self._execute(statement, values).fetchall()
        return found

    def run(self, step: str, *values: Any) -> int:
        changed = 0
        for statement in self._queries[step]:
            cursor = self._execute(statement, values)
            cursor.fetchall()
            changed += max(0, cursor.rowcount)
        return changed

    def many(self, step: str, rows: Sequence[Sequence[Any]]) -> None:
        [statement] = self._queries[step]
        if rows:
            self.connection.executemany(statement.text, rows)

    def draw(self, count: int) -> Sequence[int]:
        last: int = self.rows("draw", count)[0][0]
        return range(last - count + 1, last + 1)

    def here(self, moment: float) -> float:
        return moment

    def gate(self, name: str) -> None:
        """A transaction that writes is alone."""

    def _execute(self, statement: Statement, values: Sequence[Any]) -> sqlite3.Cursor:
        bound = [values[at] for at in statement.picks]
        for at, value in enumerate(bound):
            if value.__class__ is list:
                bound[at] = json_list(value).decode()
        return self.connection.execute(statement.text, bound)


class SqliteDatabase(Database):
    """One SQLite database, a file or (``path`` None) memory of this process.

    Reads and writes are functions of a connection; any thread may call them, one runs at a time, but for what is read
    aside: that has a connection of its own. A connection never
    outlives a fork: a file is opened anew, memory is refused.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        synchronous: str = "FULL",
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
        auto_migrate: bool = True,
    ) -> None:
        self.path = path
        self.timeout = timeout
        self.dialect: Dialect = dialect("sqlite", marks)
        self.name = str(path) if path else "memory://"
        self.waker: Bell = PipeWaker(Path(f"{path}-wake")) if path else MemoryWaker()
        # In memory nobody but this process commits; and a cycle of references would keep the memory.
        self.listener = Listener(self.tidings if path else _none, self.name)
        self._synchronous = synchronous
        self._clock = clock
        self._auto_migrate = auto_migrate
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._left_behind: sqlite3.Connection | None = None

    @property
    def place(self) -> object:
        return self if self.path is None else os.path.realpath(self.path)

    def read(self, work: Callable[[Session], T], timeout: float | None = None) -> T:
        deadline = self._deadline(timeout)
        with self._exclusive(deadline) as connection:
            return self._reading(connection, work, deadline)

    def read_aside(self, work: Callable[[Session], T], timeout: float | None = None) -> T:
        if self.path is None:
            return self.read(work, timeout)
        deadline = self._deadline(timeout)
        connection, _ = self._open(deadline, StoreUnavailable, self._check)
        with contextlib.closing(connection):
            return self._reading(connection, work, deadline)

    def _reading(self, connection: sqlite3.Connection, work: Callable[[Session], T], deadline: float) -> T:
        while True:
            try:
                return work(SqliteSession(connection, self.dialect, self._clock()))
            except sqlite3.Error as error:
                if not self._again(error, deadline):
                    raise self._translated(error) from error

    def write(
        self,
        work: Callable[[Session], T],
        timeout: float | None = None,
        late: type[OperationalError] = StoreUnavailable,
    ) -> T:
        deadline = self._deadline(timeout)
        with self._exclusive(deadline, late) as connection:
            try:
                self._begin(connection, deadline)
                session = SqliteSession(connection, self.dialect, self._clock())
                answer = work(session)
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo(connection)
                raise self._translated(error, late) from error
            except BaseException:
                self._undo(connection)
                raise
        if session.rung:
            self.waker.ring(session.rung)
        if session.told:
            self.listener.poke()
        return answer

    def join(self, connection: object) -> Session:
        if not isinstance(connection, sqlite3.Connection):
            raise ImproperlyConfigured(f"{self.name} is joined by a sqlite3.Connection, not by {_kind(connection)}")
        try:
            [file] = [row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"]
            alone = connection.isolation_level is None or getattr(connection, "autocommit", False) is True
            if alone and not connection.in_transaction:
                raise ImproperlyConfigured("the connection commits by itself: begin a transaction on it first")
        except sqlite3.ProgrammingError as error:
            raise ImproperlyConfigured("the connection is closed, or another thread's") from error
        if self.path is None or not file or os.path.realpath(file) != os.path.realpath(self.path):
            raise ImproperlyConfigured(f"the connection leads to {file or 'memory'}, and tasks are kept in {self.name}")
        if self._connection is None:
            self.read(lambda tx: tx.rows("drawn"))  # the tables are there
        return SqliteSession(connection, self.dialect, self._clock())

    def write_within(self, session: Session, work: Callable[[Session], T]) -> T:
        try:
            return work(session)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def leave(self, session: Session) -> None:
        # SQLite tells nobody of a commit. If it is still to come, those who wait find it by their slow look.
        if isinstance(session, SqliteSession) and session.rung and not session.connection.in_transaction:
            self.waker.ring(session.rung)

    def close(self) -> None:
        """Close the connection; memory is kept as long as somebody has this object. Idempotent."""
        if self.path is None or self._pid != os.getpid():
            return
        self.listener.stop()
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def tidings(self) -> Tidings | None:
        return None if self.path is None else _Versions(self)

    def another(self) -> sqlite3.Connection:
        """Return a new connection to the same file, for one who only watches it change."""
        try:
            return self._connect()
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def version(self, connection: sqlite3.Connection) -> int:
        """A number that is another one after every commit of another connection; microseconds, and no lock."""
        try:
            return int(connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise self._translated(error) from error

    @contextlib.contextmanager
    def _exclusive(
        self, deadline: float, late: type[OperationalError] = StoreUnavailable
    ) -> Iterator[sqlite3.Connection]:
        if self._pid != os.getpid():
            self._after_fork()
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise late(f"{self.name} is in use by other threads of this process and was not free in time")
        try:
            if self._connection is None:
                self._connection, _ = self._open(deadline, late, self._check)
            yield self._connection
        finally:
            self._lock.release()

    def _after_fork(self) -> None:
        if self.path is None:
            raise StoreUnavailable(f"memory:// lives in process {self._pid}: in a child use sqlite:///<file> instead")
        # The parent's connection is left alone: closing it here would drop locks that the parent's file has.
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._left_behind, self._connection = self._connection, None

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def _begin(self, connection: sqlite3.Connection, deadline: float) -> None:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not self._again(error, deadline):
                    raise

    def _again(self, error: sqlite3.Error, deadline: float) -> bool:
        if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() >= deadline:
            return False
        time.sleep(random.uniform(*_PATIENCE))
        return True

    def _undo(self, connection: sqlite3.Connection) -> None:
        """Roll back; a connection that cannot is thrown away, unless it is the memory itself."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            if self.path is not None:
                self._connection = None
                connection.close()

    def _open(
        self,
        deadline: float,
        late: type[OperationalError],
        prepare: Callable[[sqlite3.Connection, float], T],
    ) -> tuple[sqlite3.Connection, T]:
        """Return a new connection, and what ``prepare`` found on it."""
        while True:
            try:
                connection = self._connect()
                try:
                    return connection, prepare(connection, deadline)
                except BaseException:
                    connection.close()
                    raise
            except sqlite3.Error as error:
                if not self._again(error, deadline):
                    raise self._translated(error, late) from error

    def _connect(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < _OLDEST:
            raise ImproperlyConfigured(f"SQLite {sqlite3.sqlite_version} is too old: Talo needs 3.35 or newer")
        if self.path is None:
            return sqlite3.connect(":memory:", timeout=0, isolation_level=None, check_same_thread=False)
        self._create()
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
            connection.execute("PRAGMA cache_size = -16384")
            connection.execute("PRAGMA temp_store = MEMORY")
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self) -> None:
        """Make the file with mode 0600; SQLite gives its companions the same."""
        assert self.path is not None
        if not self.path.parent.is_dir():
            raise ImproperlyConfigured(f"the directory of {self.path} does not exist: create it, or name another file")
        try:
            make(self.path)
        except FileExistsError as error:
            if self.path.is_dir():
                raise ImproperlyConfigured(f"{self.path} is a directory: name a file in it") from error
            if not os.access(self.path, os.R_OK | os.W_OK):
                raise self._forbidden() from error
        except PermissionError as error:
            raise self._forbidden() from error
        except OSError as error:
            raise self._full(error) from error

    def schema(self) -> int:
        try:
            connection = self._connection or self._connect()
            try:
                return self._version(connection)
            finally:
                if connection is not self._connection:
                    connection.close()
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def migrate(self) -> list[Migration]:
        if self.path is None:
            return []  # made when it is opened, as nobody could do it before
        connection, done = self._open(self._deadline(None), StoreUnavailable, self._migrate)
        connection.close()
        return done

    def _check(self, connection: sqlite3.Connection, deadline: float) -> None:
        if self.is_behind(self._version(connection), unasked=self._auto_migrate or self.path is None):
            self._migrate(connection, deadline)

    def _migrate(self, connection: sqlite3.Connection, deadline: float) -> list[Migration]:
        self._begin(connection, deadline)
        try:
            # Another process may have been quicker; and only now do we have the lock.
            pending = self.pending(self._version(connection))
            connection.execute(
                "CREATE TABLE IF NOT EXISTS talo_migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL)"
            )
            for step in pending:
                for statement in step.statements:
                    connection.execute(statement)
                connection.execute("INSERT INTO talo_migration VALUES (?, ?)", (step.number, step.name))
            connection.execute("COMMIT")
            return pending
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'talo_migration'").fetchone():
            return 0
        return int(connection.execute("SELECT coalesce(max(number), 0) FROM talo_migration").fetchone()[0])

    def _forbidden(self) -> ImproperlyConfigured:
        return ImproperlyConfigured(
            f"{self.name} cannot be written by this user: change its permissions or its directory's"
        )

    def _full(self, error: OSError) -> TaloError:
        return (
            StoreFull(f"{self.name}: {error.strerror}")
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else StoreUnavailable(f"{self.name}: {error.strerror}")
        )

    def _translated(self, error: sqlite3.Error, late: type[OperationalError] = StoreUnavailable) -> TaloError:
        """Return our error for sqlite3's, told by its code."""
        code = _code(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return late(f"{self.name} is locked by another process and was not free in time")
        # A write that the system refuses, for a quota or a limit on the size of files, is told as an I/O error.
        if code == sqlite3.SQLITE_FULL or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_WRITE:
            return StoreFull(f"no room for {self.name}: free some space on its disk")
        if code == sqlite3.SQLITE_NOTADB:
            return ImproperlyConfigured(f"{self.name} is not an SQLite database: name another file or remove it")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
            return self._forbidden()
        if code == sqlite3.SQLITE_CORRUPT:
            return StoreUnavailable(f"{self.name} is damaged: restore it from a copy ({error})")
        return StoreUnavailable(f"{self.name}: {error}")


def _none() -> None:
    return None


class _Versions(Tidings):
    """Commits of others, noticed by asking: SQLite tells nobody."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._connection = database.another()
        self._version = -1

    def heard(self, topics: frozenset[str]) -> bool:
        del topics
        before, self._version = self._version, self._database.version(self._connection)
        return before != self._version

    def close(self) -> None:
        self._connection.close()


def _kind(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _code(error: sqlite3.Error) -> int | None:
    """Return the primary result code; the extended ones carry it in their low byte."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
