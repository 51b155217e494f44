"""What the databases on servers have in common: a few connections, and transactions that are tried again with reason.

Owns the connections that a process has for transactions, what happens to them after trouble and after a fork, the
server's clock, and when the schema is looked at. How a connection talks is each server's own. Base of ``postgres`` and
``mysql``.
"""

from __future__ import annotations

import os
import random
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum, auto
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from talo.errors import OperationalError, StoreUnavailable, TaloError
from talo.stores.sql.database import Database, Row, Session
from talo.stores.sql.dialect import Dialect, Migration, Statement
from talo.stores.sql.listener import Listener

__all__ = ["Hope", "ServerDatabase", "ServerLink", "ServerSession"]

T = TypeVar("T")

#: Seconds for which the server's clock is believed to go as ours does.
_BELIEVED = 30.0
#: Seconds before a transaction that was undone for the sake of others is run again.
_PAUSE = (0.0005, 0.01)
#: Seconds that a change of the schema may take when somebody asks for it.
_MIGRATING = 600.0


class ServerSession(Session):
    """Steps over one connection to a server, each statement of a step one exchange."""

    def __init__(self, dialect: Dialect, now: float) -> None:
        super().__init__()
        self.now = now
        self._queries = dialect.queries
        self._behind = time.time() - now

    @abstractmethod
    def execute(self, statement: Statement, values: Sequence[Any]) -> tuple[list[Row] | None, int]:
        """Execute one statement of a step; return its rows, if it has any, and how many it concerned."""

    def rows(self, step: str, *values: Any) -> list[Row]:
        found: list[Row] = []
        for statement in self._queries[step]:
            found += self.execute(statement, values)[0] or ()
        return found

    def run(self, step: str, *values: Any) -> int:
        changed = 0
        for statement in self._queries[step]:
            rows, count = self.execute(statement, values)
            changed += count if rows is None else 0
        return changed

    def gate(self, name: str) -> None:
        self.rows("gate", name)

    def here(self, moment: float) -> float:
        return moment + self._behind


class Hope(Enum):
    """What an error leaves to hope for."""

    NONE = auto()
    #: The server undid the transaction for the sake of others.
    AGAIN = auto()
    #: The connection is gone, or leads to a server that is no good any more.
    ELSEWHERE = auto()


class ServerLink(Protocol):
    """One connection, in one thread at a time."""

    #: Whether it was ever given back in good order, so that it may have died of age.
    proven: bool

    @property
    def clean(self) -> bool:
        """Whether it is between two transactions and in order."""
        ...

    @property
    def broken(self) -> bool:
        """Whether it is gone or in the middle of something."""
        ...

    def until(self, deadline: float) -> None:
        """Every wait from now on ends at ``deadline`` (monotonic), and the connection with it."""
        ...

    def script(self, text: str) -> list[tuple[Any, ...]]:
        """Execute what has no values; return the rows of the last statement."""
        ...

    def close(self) -> None:
        """Drop it. Idempotent."""
        ...


L = TypeVar("L", bound=ServerLink)


class ServerDatabase(Database, Generic[L]):
    """One database on a server. Several threads work at once, each over a connection of its own."""

    #: What the client library raises.
    trouble: type[Exception]
    #: The statement that asks for the time, epoch seconds.
    clock: str

    def __init__(self, name: str, dialect: Dialect, *, timeout: float, connections: int, auto_migrate: bool) -> None:
        self.name = name
        self.dialect = dialect
        self.timeout = timeout
        self.listener = Listener(self.tidings, name)
        self._connections = connections
        self._auto_migrate = auto_migrate
        self._migrated = False
        #: The server's time and ours when it was asked.
        self._asked: tuple[float, float] | None = None
        self._left_behind: list[L] = []
        self._idle: list[L] = []
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        # A connection of the parent's is left alone: closing it here would end it there.
        self._left_behind, self._idle = self._idle, []
        self._free = threading.BoundedSemaphore(self._connections)

    # What each server does in its own way

    @abstractmethod
    def connect(self, deadline: float | None = None) -> L:
        """Return a new connection that belongs to whoever asked. Errors: Talo's."""

    @abstractmethod
    def hope(self, error: Any) -> Hope:
        """What this trouble leaves to hope for."""

    @abstractmethod
    def translated(self, error: Any, late: type[OperationalError] = StoreUnavailable) -> TaloError:
        """Return our error for the client library's."""

    @abstractmethod
    def session(self, link: L, now: float) -> Session:
        """Return a session over a connection."""

    @abstractmethod
    def begin(self, link: L, timeout: float | None) -> float:
        """Begin a transaction on a connection; return the server's time."""

    @abstractmethod
    def commit(self, link: L, session: Any) -> None:
        """Commit, and tell everybody what the session has rung and told."""

    @abstractmethod
    def version(self, link: L) -> int:
        """The number of the last migration that was applied."""

    @abstractmethod
    def apply(self, link: L) -> list[Migration]:
        """Apply what is pending; one process at a time."""

    # Transactions

    def read(self, work: Callable[[Session], T], timeout: float | None = None) -> T:
        return self.transact(lambda link: work(self._look(link)), timeout)

    def write(
        self,
        work: Callable[[Session], T],
        timeout: float | None = None,
        late: type[OperationalError] = StoreUnavailable,
    ) -> T:
        committing = False

        def attempt(link: L) -> T:
            nonlocal committing
            now = self.begin(link, timeout)
            self._asked = now, monotonic()
            session = self.session(link, now)
            answer = work(session)
            committing = True
            self.commit(link, session)
            return answer

        return self.transact(attempt, timeout, late, lambda: committing)

    def transact(
        self,
        attempt: Callable[[L], T],
        timeout: float | None = None,
        late: type[OperationalError] = StoreUnavailable,
        unsure: Callable[[], bool] = lambda: False,
        *,
        bare: bool = False,
    ) -> T:
        """Run ``attempt`` until it succeeds or there is no hope; ``bare``: without a look at the tables. ``unsure``
        says whether it may have been done though the answer was lost."""
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            link = self._take(deadline, late, bare)
            try:
                answer = attempt(link)
                link.proven = True
                return answer
            except self.trouble as error:
                if not self._again(link, error, unsure(), deadline):
                    if monotonic() >= deadline:
                        raise late(f"{self.name} did not answer in time") from error
                    raise self.translated(error, late) from error
            finally:
                self._give(link)

    def _again(self, link: L, error: Exception, unsure: bool, deadline: float) -> bool:
        """Whether to run it once more: nothing of it was done, and there is a reason to hope."""
        if monotonic() >= deadline:
            return False
        hope = self.hope(error)
        if hope is Hope.AGAIN:
            time.sleep(random.uniform(*_PAUSE))
            return True
        if link.proven and not unsure and (link.broken or hope is Hope.ELSEWHERE):
            # The server has ended it, and probably the others of its age.
            link.close()
            self._drop()
            return True
        return False

    def _take(self, deadline: float, late: type[OperationalError], bare: bool) -> L:
        if self._pid != os.getpid():
            self._reset()
        if not self._free.acquire(timeout=max(0.0, deadline - monotonic())):
            raise late(f"all {self._connections} connections to {self.name} were in use until the deadline")
        link: L | None = None
        try:
            link = self._pop() or self.connect(deadline)
            link.until(deadline)
            if not self._migrated and not bare:
                self._check(link)
        except BaseException as error:
            if link is not None:
                link.close()
            self._free.release()
            if isinstance(error, StoreUnavailable) and monotonic() >= deadline:
                raise late(str(error)) from error
            raise
        return link

    def _pop(self) -> L | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _give(self, link: L) -> None:
        if not link.clean and not link.broken:
            try:
                link.script("ROLLBACK")
            except self.trouble:
                link.close()
        if link.clean:
            self._idle.append(link)
        else:
            link.close()
        self._free.release()

    def _drop(self) -> None:
        while (link := self._pop()) is not None:
            link.close()

    def _look(self, link: L) -> Session:
        at = monotonic()
        if self._asked is None or at - self._asked[1] > _BELIEVED:
            [(now,)] = link.script(self.clock)
            self._asked = float(now), at
        return self.session(link, self._asked[0] + at - self._asked[1])

    def close(self) -> None:
        if self._pid == os.getpid():
            self.listener.stop()
            self._drop()

    # Schema

    def schema(self) -> int:
        return self.transact(self.version, bare=True)

    def migrate(self) -> list[Migration]:
        done = self.transact(self.apply, _MIGRATING, bare=True)
        self._migrated = True
        return done

    def _check(self, link: L) -> None:
        try:
            if self.is_behind(self.version(link), unasked=self._auto_migrate):
                self.apply(link)
        except self.trouble as error:
            raise self.translated(error) from error
        self._migrated = True
