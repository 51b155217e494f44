"""MySQL and MariaDB as a database of the SQL store, over PyMySQL.

Owns the way to a server: connections with deadlines, transactions, errors. What is done in a transaction is the roles'.
Callers: ``stores.url``.
"""

from __future__ import annotations

from talo.stores.sql.mysql.database import MysqlDatabase, open_mysql

__all__ = ["MysqlDatabase", "open_mysql"]
