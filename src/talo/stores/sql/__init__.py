"""The SQL store: one implementation for databases, each with a dialect and a way to it of its own.

Owns tasks, results, bus and locks in tables. ``docs/internals/sql.md`` says how they work together.
"""

from __future__ import annotations

from talo.stores.sql.files import open_sqlite
from talo.stores.sql.store import SqlStore

__all__ = ["SqlStore", "open_sqlite"]
