"""``django://alias``: the SQL store in one of the project's own databases.

Owns which of the SQL store's databases an alias is, made from what ``DATABASES`` says of it. Whose connection work goes
over is ``_at_alias``'s, tables are made by Django's migrations (``schema``). Opened by ``stores.url``; see
``docs/internals/django.md``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from talo.django.address import alias_of
from talo.errors import ImproperlyConfigured, MissingExtra, NotSupported
from talo.stores.base import Features
from talo.stores.sql._codec import MAX_MESSAGE
from talo.stores.sql.database import Database, Session
from talo.stores.sql.sqlite import SqliteDatabase, SqliteSession
from talo.stores.sql.store import SqlStore
from talo.util.names import nearest

try:
    from django.core.exceptions import ImproperlyConfigured as DjangoImproperlyConfigured
    from django.db import connections
    from django.db.backends.base.base import BaseDatabaseWrapper
except ImportError as error:
    raise MissingExtra("django", "django") from error

from talo.django._at_alias import AtAlias

if TYPE_CHECKING:
    from talo.stores.sql.postgres.address import Address

__all__ = ["DjangoStore", "open_django"]

#: A statement is one packet there, 16 MiB unless the server is told otherwise.
MYSQL_MESSAGE = 7 * 1024 * 1024
#: The mend of every in-memory SQLite, which Django's own tests use.
_IN_MEMORY = "it is in memory, of one connection only: name a file, or use TaloTestMixin in tests"


class DjangoStore(SqlStore):
    """The SQL store in the database of an alias."""

    def __init__(self, alias: str, database: Database, features: Features, **options: Any) -> None:
        super().__init__(database, f"django://{alias}", features, **options)
        self.alias = alias

    def joined(self, connection: object) -> AbstractContextManager[None]:
        """As of ``Store``, for Django's connection objects too."""
        if isinstance(connection, BaseDatabaseWrapper):
            connection.ensure_connection()
            connection = connection.connection
        return super().joined(connection)


def open_django(url: str, *, timeout: float = 5.0, **options: Any) -> DjangoStore:
    """Return the store of this URL. Options as of ``open_store``. Errors: ``ImproperlyConfigured``, ``NotSupported``
    for a kind of database that there is no dialect for."""
    alias = alias_of(url)
    connection = _connection(alias)
    makers = {"sqlite": _sqlite, "postgresql": _postgres, "mysql": _mysql}
    if connection.vendor not in makers:
        raise NotSupported(
            f"django://{alias} is a {connection.display_name} database: tasks can be kept in {', '.join(makers)}"
        )
    database = makers[connection.vendor](alias, connection, timeout)
    features = Features(
        name=f"django+{connection.vendor}",
        atomic=True,
        shared=connection.vendor != "sqlite",
        durable=True,
        max_message=MYSQL_MESSAGE if connection.vendor == "mysql" else MAX_MESSAGE,
        transactions=True,
        schedules=True,
        history=True,
        peek=True,
        reschedules=True,
    )
    return DjangoStore(alias, database, features, **options)


def _connection(alias: str) -> BaseDatabaseWrapper:
    try:
        known = list(connections)
    except DjangoImproperlyConfigured as exc:
        raise ImproperlyConfigured(f"django://{alias} needs Django's settings: set DJANGO_SETTINGS_MODULE") from exc
    if alias not in known:
        guess = nearest(alias, known)
        meant = f"did you mean {guess!r}?" if guess else f"there are {', '.join(sorted(known))}"
        raise ImproperlyConfigured(f"DATABASES has no {alias!r} for django://{alias}: {meant}")
    found: BaseDatabaseWrapper = connections[alias]
    return found


def _sqlite(alias: str, connection: BaseDatabaseWrapper, timeout: float) -> Database:
    name = str(connection.settings_dict["NAME"])
    memory = name == ":memory:" or name.startswith("file:")
    return _Sqlite(alias, None if memory else Path(name).absolute(), timeout)


def _postgres(alias: str, connection: BaseDatabaseWrapper, timeout: float) -> Database:
    # Here, for its client library may be absent where another database is used.
    from talo.django._postgres import Postgres, address_of

    where: Address = address_of(connection)
    return Postgres(alias, where, timeout)


def _mysql(alias: str, connection: BaseDatabaseWrapper, timeout: float) -> Database:
    from talo.django._mysql import Mysql, address_of

    return Mysql(alias, address_of(connection), timeout)


class _Sqlite(AtAlias, SqliteDatabase):
    """An SQLite file of the project's; in memory only what is inside of ``atomic()`` can be kept."""

    def __init__(self, alias: str, path: Path | None, timeout: float) -> None:
        self.alias = alias
        # The name only says what it is: nothing is opened at it.
        self._memory = path is None
        super().__init__(path or Path(f"/{alias} in memory"), timeout=timeout, auto_migrate=False)
        self.name = f"django://{alias}"

    def within(self, raw: Any) -> Session:
        return SqliteSession(raw, self.dialect, self._clock())

    def _ring(self, rung: dict[str, int]) -> None:
        self.waker.ring(rung)
        self.listener.poke()

    def _connect(self) -> Any:
        if self._memory:
            raise ImproperlyConfigured(f"database {self.alias!r} cannot keep tasks: {_IN_MEMORY}")
        return super()._connect()
