"""A MySQL or MariaDB database of the project's, as one of the SQL store's.

Owns reading what Django connects with, and steps over Django's own connection, whichever client library that is. The
store's own connections are PyMySQL's. In a module of its own, for PyMySQL may be absent. Called by ``store``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from talo.django._at_alias import AtAlias
from talo.errors import ImproperlyConfigured
from talo.stores.sql.database import Session
from talo.stores.sql.mysql.connection import Address, translated
from talo.stores.sql.mysql.database import MysqlDatabase, MysqlSession

__all__ = ["Mysql", "address_of"]


class Mysql(AtAlias, MysqlDatabase):
    """The database of an alias, over connections of its own or, inside ``atomic()``, over Django's."""

    def __init__(self, alias: str, where: Address, timeout: float) -> None:
        self.alias = alias
        super().__init__(where, timeout=timeout, auto_migrate=False)

    def within(self, raw: Any) -> Session:
        link = _Borrowed(raw)
        return MysqlSession(link, self.dialect, float(link.script(self.clock)[0][0]))  # type: ignore[arg-type]

    def write_within(self, session: Session, work: Any) -> Any:
        try:
            return work(session)
        except connections[self.alias].Database.Error as error:
            # mysqlclient numbers its errors as PyMySQL does: both are the server's numbers.
            raise translated(error, self.name) from error

    def _ring(self, rung: dict[str, int]) -> None:
        self._bell.ring(rung)
        self.listener.poke()


class _Borrowed:
    """What a session asks of a connection, over one of Django's: PyMySQL's or mysqlclient's."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.step: int = self.script("SELECT @@auto_increment_increment")[0][0]

    def run(self, text: str, values: Sequence[Any]) -> tuple[list[tuple[Any, ...]] | None, int, int]:
        """As of ``Link``."""
        with self._raw.cursor() as cursor:
            cursor.execute(text, values)
            rows = list(cursor.fetchall()) if cursor.description is not None else None
            return rows, cursor.rowcount, int(cursor.lastrowid or 0)

    def many(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        """As of ``Link``."""
        with self._raw.cursor() as cursor:
            cursor.executemany(text, rows)

    def script(self, text: str) -> list[tuple[Any, ...]]:
        """As of ``Link``."""
        return self.run(text.replace("%", "%%"), ())[0] or []


def address_of(connection: BaseDatabaseWrapper) -> Address:
    """Return where Django's connection leads. ``ImproperlyConfigured`` for a connection by an option file, which only
    its client library reads."""
    given = connection.settings_dict
    options = given["OPTIONS"]
    if not given["NAME"] or "read_default_file" in options:
        raise ImproperlyConfigured(
            f"django://{connection.alias} needs NAME, HOST, USER and PASSWORD in DATABASES: option files are not read"
        )
    host = given["HOST"] or "localhost"
    return Address(
        host="localhost" if host.startswith("/") else host,
        port=int(given["PORT"] or 3306),
        database=given["NAME"],
        user=given["USER"],
        password=given["PASSWORD"],
        unix_socket=host if host.startswith("/") else options.get("unix_socket"),
        ssl_ca=(options.get("ssl") or {}).get("ca"),
    )
