"""PostgreSQL as a database of the SQL store, over psycopg 3.

Owns the way to a server: connections with deadlines, transactions, errors, LISTEN and NOTIFY. What is done in a
transaction is the roles'. Callers: ``stores.url``.
"""

from __future__ import annotations

from talo.stores.sql.postgres.database import PostgresDatabase, open_postgres

__all__ = ["PostgresDatabase", "open_postgres"]
