"""The database file: who may read it, and what is said when it does not work."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from talo.errors import ImproperlyConfigured, PublishTimeout, StoreFull, StoreUnavailable
from talo.stores.base import Store
from talo.stores.sql.database import Session
from talo.stores.sql.dialect import Migration
from talo.stores.sql.sqlite import SqliteDatabase, SqliteSession
from talo.stores.sql.store import SqlStore
from talo.stores.url import open_store
from talo.testing.contract._support import bodies, message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "talo.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{path}", timeout=0.2)
    yield store
    store.close()


def test_only_its_owner_may_read_it(path: Path, store: Store) -> None:
    store.broker.send([message()])
    store.broker.wait(["other"], 0.01)
    for each in path.parent.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) & 0o077 == 0, each


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"the directory of .*/nowhere/talo\.db does not exist: create it"):
        open_store(f"sqlite:///{tmp_path}/nowhere/talo.db").ping(5)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="is a directory"):
        open_store(f"sqlite:///{tmp_path}").ping(5)


def test_a_file_that_is_no_database_is_left_alone(path: Path, store: Store) -> None:
    path.write_bytes(b"precious letters to my aunt " * 100)
    with pytest.raises(ImproperlyConfigured, match=r"talo\.db is not an SQLite database"):
        store.broker.send([message()])
    assert path.read_bytes() == b"precious letters to my aunt " * 100


def _at_schema(path: Path, store: Store, number: int) -> None:
    store.ping(5)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM talo_migration WHERE number > ?", (number,))
        connection.execute("INSERT OR IGNORE INTO talo_migration VALUES (?, 'another')", (number,))
        connection.commit()


def test_a_newer_release_of_the_same_generation_has_only_added(path: Path, store: Store) -> None:
    _at_schema(path, store, 999)
    store.broker.send([message()])
    assert [queue.ready for queue in store.broker.stats()] == [1]


def test_a_database_of_a_newer_generation_is_left_alone(path: Path, store: Store) -> None:
    _at_schema(path, store, 1000)
    with pytest.raises(ImproperlyConfigured, match=r"written by a newer Talo \(schema 1000, this one knows \d+\)"):
        store.ping(5)


def test_a_step_into_the_next_generation_is_not_taken_unasked(path: Path) -> None:
    # Given tables of this generation and a release that begins the next one,
    open_store(f"sqlite:///{path}").ping(5)
    database = SqliteDatabase(path)
    first = Migration(1001, "less", ("CREATE TABLE talo_next (x)",))
    database.dialect = replace(database.dialect, migrations=(*database.dialect.migrations, first))
    # then its workers refuse to start on them,
    with pytest.raises(ImproperlyConfigured, match="run 'talo db migrate'"):
        database.read(lambda tx: tx.rows("drawn"))
    # and the command does it.
    assert database.migrate() == [first]
    assert database.read(lambda tx: tx.rows("drawn")) is not None


def test_a_full_disk_is_said_to_be_full_and_nothing_is_half_stored(path: Path) -> None:
    # Given a database that can hardly grow
    database = SqliteDatabase(path)

    def run(*statements: str) -> Callable[[Session], list[Any]]:
        def work(tx: Session) -> list[Any]:
            assert isinstance(tx, SqliteSession)
            return [tx.connection.execute(each).fetchall() for each in statements]

        return work

    database.write(run("CREATE TABLE witness (x)"))
    database.read(run("PRAGMA max_page_count = 40"))
    database.write(run("INSERT INTO witness VALUES ('before')"))
    # When a transaction needs more
    with pytest.raises(StoreFull, match="free some space"):
        database.write(run("INSERT INTO witness VALUES ('half')", "INSERT INTO witness VALUES (zeroblob(1000000))"))
    # Then nothing of it is kept, and the connection works
    assert database.read(run("SELECT x FROM witness")) == [[("before",)]]
    database.close()


def test_a_database_that_others_lock_ends_a_send_at_its_deadline(path: Path, store: Store) -> None:
    # Given somebody who does not let go
    store.broker.open("me", worker="w", slots=1, lease=30)
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        # Then a send ends with its own error, other verbs with theirs
        with pytest.raises(PublishTimeout, match=r"talo\.db is locked by another process"):
            store.broker.send([message()], timeout=0.05)
        with pytest.raises(StoreUnavailable, match="is locked by another process"):
            store.results.forget(["x"])
        # And reading goes on
        assert store.broker.turn([], "me", ["q"], 1).deliveries == []
        stranger.execute("ROLLBACK")
    store.broker.send([message(body="after")])
    assert bodies(store.broker.turn([], "me", ["q"], 1)) == ["after"]


def test_a_turn_with_nothing_to_do_writes_nothing(path: Path, store: Store) -> None:
    store.broker.open("me", worker="w", slots=1, lease=30)
    with closing(sqlite3.connect(path)) as watcher:
        before = watcher.execute("PRAGMA data_version").fetchone()
        for _ in range(5):
            store.broker.turn([], "me", ["q"], 10)
            store.broker.wait(["q"], 0.001)
        assert watcher.execute("PRAGMA data_version").fetchone() == before


def test_memory_does_not_pretend_to_live_in_a_child() -> None:
    store = open_store("memory://fork")
    store.ping(5)
    pid = os.fork()
    if pid == 0:
        try:
            store.ping(5)
        except StoreUnavailable:
            os._exit(42)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42


def test_time_is_the_clock_that_was_given(path: Path) -> None:
    # Given a store whose clock stands still
    now = 1_000_000.0
    store = open_store(f"sqlite:///{path}", clock=lambda: now)
    store.broker.open("me", worker="w", slots=1, lease=30)
    store.broker.send([message(body="later", due=now + 10)])
    # Then time passes when it says so
    turn = store.broker.turn([], "me", ["q"], 1)
    assert (turn.deliveries, turn.next_due) == ([], now + 10)
    now += 10
    assert bodies(store.broker.turn([], "me", ["q"], 1)) == ["later"]
    assert store.broker.owners()[0].remaining == pytest.approx(20)
    store.close()


def test_what_an_older_release_delayed_is_rescheduled(path: Path, store: Store) -> None:
    # Given a delayed message whose row does not say whose it is
    store.broker.send([message(id="a", due=time.time() + 3600), message(id="b", due=time.time() + 3600)])
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE talo_delayed SET task_id = NULL")
    # When it is given another time, then it is found by its message
    assert store.broker.reschedule(["a", "unknown"], time.time()) == {"a"}
    assert [(each.ready, each.delayed) for each in store.broker.stats(["q"])] == [(1, 1)]


def test_a_long_look_keeps_nobody_waiting(store: Store) -> None:
    # Given somebody who counts all that there is, and is in the middle of it
    assert isinstance(store, SqlStore)
    database = store.database
    begun, go_on = threading.Event(), threading.Event()
    answers: list[object] = []

    def look(tx: Session) -> object:
        begun.set()
        assert go_on.wait(60)
        return tx.rows("drawn")

    counting = threading.Thread(target=lambda: answers.append(database.read_aside(look)))
    counting.start()
    try:
        assert begun.wait(60)
        # Then others read and write meanwhile
        store.broker.send([message()])
        assert [each.ready for each in store.broker.stats(["q"])] == [1]
    finally:
        go_on.set()
        counting.join(60)
    # And the answer comes
    assert len(answers) == 1
