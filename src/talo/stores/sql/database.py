"""The seam between the roles and a database: transactions in which named steps run.

Owns the interface that a database has to offer (``sqlite``, ``postgres``, ``mysql``), no line of a technology. The
roles speak of steps and values only; how a list is passed, how numbers are drawn and how waiters are woken is the
database's.
Callers: the roles of the SQL store.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

from talo.errors import ImproperlyConfigured, NotSupported, OperationalError, StoreUnavailable
from talo.stores.sql.dialect import GENERATION, Dialect, Migration
from talo.stores.sql.listener import Listener, Tidings
from talo.stores.sql.waker import Waker

__all__ = ["BUS", "RESULTS", "Database", "Row", "Session"]

T = TypeVar("T")
Row = tuple[Any, ...]

#: What a listener may want to hear of.
RESULTS, BUS = "results", "bus"


#: The transaction of the caller's own that this context is in, and whose database it is.
_joined: ContextVar[tuple[Database, Session] | None] = ContextVar("talo_sql_joined", default=None)


class Session(ABC):
    """One open transaction, or one look. Steps are named as in ``queries``; a value may be a list.

    What it is told to ring and tell goes out when the transaction is committed, and never if it is not.
    """

    #: The database's clock when the transaction began, epoch seconds; during a look a near estimate of it.
    now: float

    def __init__(self) -> None:
        self.rung: Counter[str] = Counter()
        self.told: set[str] = set()

    @abstractmethod
    def rows(self, step: str, *values: Any) -> list[Row]:
        """Run a step; return its rows."""

    @abstractmethod
    def run(self, step: str, *values: Any) -> int:
        """Run a step; return how many rows it changed."""

    @abstractmethod
    def many(self, step: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a step for each of the rows, in one exchange where the database can. No row: nothing."""

    @abstractmethod
    def draw(self, count: int) -> Sequence[int]:
        """Numbers that were never drawn before, growing, above all that were drawn by who has committed."""

    @abstractmethod
    def here(self, moment: float) -> float:
        """A moment of the database's clock as the clock of this process has it."""

    @abstractmethod
    def gate(self, name: str) -> None:
        """From here to the commit one transaction at a time: numbers drawn behind one gate are seen in their order."""

    def row(self, step: str, *values: Any) -> Row | None:
        """Run a step that has at most one row."""
        found = self.rows(step, *values)
        return found[0] if found else None

    def ring(self, work: Mapping[str, int]) -> None:
        """Wake as many waiters of each queue."""
        self.rung.update(work)

    def tell(self, topic: str) -> None:
        """Let those look who listen to this topic, in every process."""
        self.told.add(topic)


class Database(ABC):
    """One database, from one process. Any thread may call; nothing of a connection outlives a fork.

    Work is a function of a session and may be called again: when the database was busy, when it ended the transaction
    for a reason of its own, or when a connection proved dead before the commit was asked for.
    """

    dialect: Dialect
    #: For messages to people; no secret in it.
    name: str
    #: Seconds for one operation.
    timeout: float
    #: Bytes of the largest message, head and body; None: what SQL takes everywhere.
    max_message: int | None = None
    waker: Waker
    listener: Listener

    @abstractmethod
    def read(self, work: Callable[[Session], T], timeout: float | None = None) -> T:
        """Return what ``work`` returns; it only reads. Within ``timeout`` seconds, else ``StoreUnavailable``."""

    def read_aside(self, work: Callable[[Session], T], timeout: float | None = None) -> T:
        """``read`` for what takes long: meanwhile no other work of this process waits for it."""
        return self.read(work, timeout)

    @abstractmethod
    def write(
        self,
        work: Callable[[Session], T],
        timeout: float | None = None,
        late: type[OperationalError] = StoreUnavailable,
    ) -> T:
        """Run ``work`` in one transaction that is committed when it returns and undone when it raises.

        ``late`` is raised when that was not done within ``timeout`` seconds (default: the operation timeout).
        """

    def write_joined(
        self,
        work: Callable[[Session], T],
        timeout: float | None = None,
        late: type[OperationalError] = StoreUnavailable,
    ) -> T:
        """``write``, or part of the caller's own transaction where this context has joined one."""
        joined = _joined.get()
        if joined is None or joined[0] is not self:
            return self.write(work, timeout, late)
        return self.write_within(joined[1], work)

    @contextlib.contextmanager
    def joined(self, connection: object) -> Iterator[None]:
        """Until its end ``write_joined`` of this context is part of the transaction on ``connection``, a connection of
        the caller's to this very database. Commit and rollback are the caller's. Errors: ``ImproperlyConfigured``."""
        session = self.join(connection)
        token = _joined.set((self, session))
        try:
            yield
        finally:
            _joined.reset(token)
            self.leave(session)

    def join(self, connection: object) -> Session:
        """Return a session over a connection of the caller's, after checking that it leads here."""
        del connection
        raise NotSupported(f"a send cannot join a transaction in {self.name}")

    def write_within(self, session: Session, work: Callable[[Session], T]) -> T:
        """Run ``work`` as a part of what ``join`` returned."""
        return work(session)

    def leave(self, session: Session) -> None:
        """The caller's transaction is left, committed or not."""
        del session

    @abstractmethod
    def schema(self) -> int:
        """The number of the last migration that was applied, 0 if none was; changes nothing."""

    @abstractmethod
    def migrate(self) -> list[Migration]:
        """Apply the migrations that are pending; return them. Several processes may call it at once: one does it."""

    def pending(self, at: int) -> list[Migration]:
        """The migrations that follow schema ``at``; ``ImproperlyConfigured`` if a newer generation has made it."""
        if at // GENERATION > self.dialect.last // GENERATION:
            raise ImproperlyConfigured(
                f"{self.name} was written by a newer Talo (schema {at}, this one knows {self.dialect.last})"
            )
        return [step for step in self.dialect.migrations if step.number > at]

    def is_behind(self, at: int, *, unasked: bool) -> bool:
        """Whether something is pending and is to be done now. ``ImproperlyConfigured`` where nothing is done
        ``unasked``; and nowhere is a step into the next generation, which older workers would not survive."""
        if not self.pending(at):
            return False
        if not unasked or (at and at // GENERATION != self.dialect.last // GENERATION):
            raise self.outdated()
        return True

    def outdated(self) -> ImproperlyConfigured:
        """What is said where tables are not changed unasked."""
        return ImproperlyConfigured(f"the tables in {self.name} are not up to date: run 'talo db migrate'")

    @abstractmethod
    def tidings(self) -> Tidings | None:
        """How to hear of the commits of other processes; None if there are none. One thread's own."""

    @abstractmethod
    def close(self) -> None:
        """Close connections; the next use opens new ones. Idempotent."""

    @property
    @abstractmethod
    def place(self) -> object:
        """The same for two databases if, and only if, they are known to be one."""
