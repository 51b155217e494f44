"""A PostgreSQL database of the project's, as one of the SQL store's.

Owns reading what Django connects with. In a module of its own, for psycopg may be absent. Called by ``store``.
"""

from __future__ import annotations

import time
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from talo.django._at_alias import AtAlias
from talo.errors import MissingExtra
from talo.stores.sql.database import Session
from talo.stores.sql.postgres.address import Address
from talo.stores.sql.postgres.connection import Borrowed
from talo.stores.sql.postgres.database import PostgresDatabase, PostgresSession

try:
    from psycopg import pq
except ImportError as error:
    raise MissingExtra("psycopg", "postgres") from error

__all__ = ["Postgres", "address_of"]


class Postgres(AtAlias, PostgresDatabase):
    """The database of an alias, over connections of its own or, inside ``atomic()``, over Django's."""

    def __init__(self, alias: str, where: Address, timeout: float) -> None:
        self.alias = alias
        super().__init__(where, timeout=timeout, auto_migrate=False)

    def within(self, raw: Any) -> Session:
        """Django's connection leads here by its settings: nobody has to ask the server where it is."""
        borrowed = Borrowed(raw, self.name)
        rows, _ = borrowed.run(self.clock, ())
        return PostgresSession(borrowed, self.dialect, rows[0][0] if rows else time.time())


def address_of(connection: BaseDatabaseWrapper) -> Address:
    """Return where Django's connection leads, with the user, the password and libpq's own options that it has."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    given = connection.get_connection_params()
    conninfo = {key: str(value) for key, value in given.items() if key in known and value is not None}
    if role := connection.settings_dict["OPTIONS"].get("assume_role"):
        conninfo["options"] = f"{conninfo.get('options', '')} -c role={role}".strip()
    shown = f"{conninfo.get('host', 'localhost')}:{conninfo.get('port', '5432')}/{conninfo.get('dbname', '')}"
    return Address({"application_name": "talo", **conninfo}, shown)
