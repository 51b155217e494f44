"""The statements: all of them are valid, and the hot ones never look at rows they do not need."""

from __future__ import annotations

from pathlib import Path

import pytest

from talo.stores.sql.database import Session
from talo.stores.sql.dialect import dialect, marks
from talo.stores.sql.sqlite import SqliteDatabase, SqliteSession

_QUERIES = dialect("sqlite", marks).queries

#: Those that walk on purpose: numbers for people, purging, small tables, and what stops at the first row of an order.
_WALKS = {"count_ready", "count_delayed", "count_leased", "drawn", "draw", "owners", "dead"}
_WALKS |= {"purge_messages", "purge_delayed", "expired_bus", "glance", "next_due"}
_WALKS |= {"dead_count", "peek_delayed", "history_size", "oldest_history"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabase:
    return SqliteDatabase(Path(tmp_path_factory.mktemp("sql")) / "talo.db")


def _plan(database: SqliteDatabase, name: str) -> list[str]:
    def work(tx: Session) -> list[str]:
        assert isinstance(tx, SqliteSession)
        return [
            row[3]
            for text, picks in _QUERIES[name]
            for row in tx.connection.execute(f"EXPLAIN QUERY PLAN {text}", ["[]"] * len(picks)).fetchall()
        ]

    return database.read(work)


@pytest.mark.parametrize("name", sorted(_QUERIES))
def test_a_statement_is_valid_and_walks_no_table(database: SqliteDatabase, name: str) -> None:
    plan = _plan(database, name)
    walks = [step for step in plan if step.startswith("SCAN") and "CONSTANT" not in step]
    # What an inner statement has found is no table.
    lists = ("SCAN json_each", "SCAN wanted", "SCAN found", "SCAN r", "SCAN (subquery")
    assert name in _WALKS or all(step.startswith(lists) for step in walks), plan


@pytest.mark.parametrize(
    "name", ["ready", "due", "next_due", "glance", "held", "most_urgent_high_first", "less_urgent_low_first"]
)
def test_fetching_sorts_nothing(database: SqliteDatabase, name: str) -> None:
    assert not [step for step in _plan(database, name) if "TEMP B-TREE" in step]
