"""Whose connection work goes over: Django's inside ``atomic()`` on the alias, else one of the store's own.

Owns ``AtAlias``, which stands before each of the SQL store's databases, and the look whether Django made the tables.
Base of ``store``'s databases; see ``docs/internals/django.md``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from talo.django.transactions import is_unbound
from talo.errors import ImproperlyConfigured, OperationalError, StoreUnavailable
from talo.stores.sql.database import Database, Session
from talo.stores.sql.dialect import Migration

__all__ = ["AtAlias"]

T = TypeVar("T")


class AtAlias(Database):
    """Mixed in before a database: work inside ``atomic()`` of its alias is a part of that transaction, in a savepoint
    of its own, so that what fails there leaves the rest of it whole."""

    alias: str
    #: Whether the tables were there when somebody looked.
    _tables_seen: bool = False

    @abstractmethod
    def within(self, raw: Any) -> Session:
        """A session over the raw connection inside Django's."""

    def read(self, work: Callable[[Session], T], timeout: float | None = None) -> T:
        connection = self._joining()
        return super().read(work, timeout) if connection is None else self._within(connection, work)  # type: ignore[safe-super]

    def read_aside(self, work: Callable[[Session], T], timeout: float | None = None) -> T:
        # What a transaction has written is seen inside it only.
        return super().read_aside(work, timeout) if self._joining() is None else self.read(work, timeout)

    def write(
        self,
        work: Callable[[Session], T],
        timeout: float | None = None,
        late: type[OperationalError] = StoreUnavailable,
    ) -> T:
        connection = self._joining()
        return super().write(work, timeout, late) if connection is None else self._within(connection, work)  # type: ignore[safe-super]

    def _joining(self) -> BaseDatabaseWrapper | None:
        """Django's connection of this thread, if a transaction is open on it."""
        connection: BaseDatabaseWrapper = connections[self.alias]
        return connection if connection.in_atomic_block and not is_unbound() else None

    def _within(self, connection: BaseDatabaseWrapper, work: Callable[[Session], T]) -> T:
        try:
            with transaction.atomic(using=self.alias):
                connection.ensure_connection()
                self._require_tables(connection)
                session = self.within(connection.connection)
                answer = self.write_within(session, work)
        except DatabaseError as exc:
            raise StoreUnavailable(f"{self.name}: the transaction that this belongs to has failed: {exc}") from exc
        rung = dict(session.rung)
        if rung:
            # SQLite tells nobody of a commit; a server has the notices in the transaction, and nothing is left here.
            transaction.on_commit(lambda: self._ring(rung), using=self.alias)
        return answer

    def _ring(self, rung: dict[str, int]) -> None:
        """Wake those who wait, after the commit."""
        del rung

    def _require_tables(self, connection: BaseDatabaseWrapper) -> None:
        """Make sure that the tables are those of this release."""
        if self._tables_seen:
            return
        at = 0
        with connection.cursor() as cursor:
            if "talo_migration" in connection.introspection.table_names(cursor):
                cursor.execute("SELECT max(number) FROM talo_migration")
                at = cursor.fetchone()[0] or 0
        self.is_behind(at, unasked=False)
        self._tables_seen = True

    def migrate(self) -> list[Migration]:
        """Refused: the tables are Django's to make."""
        raise self.outdated()

    def outdated(self) -> ImproperlyConfigured:
        return ImproperlyConfigured(
            f"database {self.alias!r} has no tables for tasks, or those of another release: "
            f"run manage.py migrate --database {self.alias} (with 'talo.django' in INSTALLED_APPS)"
        )
