"""The SQL store: one implementation for databases, of which SQLite is the first dialect.

Owns tasks, results, bus and locks in tables. ``docs/internals/sql.md`` says how they work together.
"""

from __future__ import annotations

from talo.stores.sql.store import SqlStore

__all__ = ["SqlStore"]
