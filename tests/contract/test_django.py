"""The store over Django's databases passes the contract; its tables come from Django's migrations.

The settings are made here, in this process: no project, no apps. What ``atomic()`` means to it is shown in
``tests/django/test_store.py``.
"""

from __future__ import annotations

import importlib
import itertools
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from django.conf import settings
from django.db import connections, transaction
from django.db.migrations.state import ProjectState

from talo.django.schema import StoreTables
from talo.django.transactions import unbound
from talo.stores.sql.dialect import dialect, dollars, marks, percents
from talo.testing.contract import (
    ForkContract,
    HistoryContract,
    LedgerContract,
    RawContract,
    ReschedulingContract,
    ScheduleContract,
    StoreContract,
)
from talo.testing.contract._support import message
from tests.contract.test_sqlite import SqlitePlace as SqlPlace

#: Django's apps are not loaded here, and nothing of them is asked for.
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the database during app init:RuntimeWarning")
_numbers = itertools.count(1)


def operations() -> list[StoreTables]:
    """What the migrations of ``talo.django`` do with the tables of tasks, in their order."""
    folder = Path(str(importlib.import_module("talo.django.migrations").__path__[0]))
    found = []
    for file in sorted(folder.glob("0*.py")):
        migration = importlib.import_module(f"talo.django.migrations.{file.stem}").Migration
        found += [each for each in migration.operations if isinstance(each, StoreTables)]
    return found


class DjangoPlace(SqlPlace):
    """One alias of Django's, migrated."""

    def __init__(self, **database: Any) -> None:
        if not settings.configured:
            settings.configure(USE_TZ=True)
        self.alias = f"contract{next(_numbers)}"
        made = connections.configure_settings({"default": {}, self.alias: database})
        connections.settings[self.alias] = made[self.alias]
        super().__init__(f"django://{self.alias}")
        state = ProjectState()
        with connections[self.alias].schema_editor() as editor:
            for operation in operations():
                operation.database_forwards("talo_django", editor, state, state)
        connections[self.alias].close()

    @classmethod
    def on_postgres(cls, url: str) -> DjangoPlace:
        """An alias of what this URL of PostgreSQL's leads to, its schema included."""
        where = urllib.parse.urlsplit(url)
        return cls(
            ENGINE="django.db.backends.postgresql",
            NAME=where.path.strip("/"),
            USER=where.username,
            PASSWORD=urllib.parse.unquote(where.password or ""),
            HOST=where.hostname,
            PORT=where.port,
            OPTIONS=dict(urllib.parse.parse_qsl(where.query)),
        )

    def close(self) -> None:
        super().close()
        connections[self.alias].close()
        del connections[self.alias]
        del connections.settings[self.alias]


class Undone(Exception):
    """Rolls back."""


class TransactionContract:
    """Inside ``atomic()`` the store's work is part of the transaction, whatever the database."""

    def test_a_send_inside_atomic_goes_where_the_transaction_goes(self, place: DjangoPlace) -> None:
        # Given what is sent in a transaction that is rolled back, with a savepoint inside
        store, other = place.open(), place.open()
        with pytest.raises(Undone), transaction.atomic(using=place.alias):
            store.broker.send([message(body="lost")])
            with pytest.raises(Undone), transaction.atomic(using=place.alias):
                store.broker.send([message(body="lost, too"), message(body="with it")])
                raise Undone
            assert store.broker.stats(["q"])[0].ready == 1
            raise Undone
        assert store.broker.stats(["q"])[0].ready == 0
        # When one commits, nobody but itself sees it before, and who waits is woken
        with transaction.atomic(using=place.alias):
            store.broker.send([message(body="kept"), message(body="for later", due=time.time() + 600)])
            with unbound():
                assert other.broker.stats(["q"])[0].ready == 0
        assert other.broker.wait(["q"], 30)
        stats = other.broker.stats(["q"])[0]
        assert (stats.ready, stats.delayed) == (1, 1)


@pytest.mark.promise("J05")
class TestDjangoOnSqlite(
    StoreContract,
    ScheduleContract,
    HistoryContract,
    LedgerContract,
    ReschedulingContract,
    RawContract,
    ForkContract,
    TransactionContract,
):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[DjangoPlace]:
        place = DjangoPlace(ENGINE="django.db.backends.sqlite3", NAME=tmp_path / "site.sqlite3")
        yield place
        place.close()


@pytest.mark.promise("J05")
class TestDjangoOnPostgres(
    StoreContract,
    ScheduleContract,
    HistoryContract,
    LedgerContract,
    ReschedulingContract,
    RawContract,
    ForkContract,
    TransactionContract,
):
    @pytest.fixture
    def place(self, postgres_tables: str) -> Iterator[DjangoPlace]:
        place = DjangoPlace.on_postgres(postgres_tables)
        yield place
        place.close()


@pytest.mark.promise("J05")
class TestDjangoOnMysql(
    StoreContract,
    ScheduleContract,
    HistoryContract,
    LedgerContract,
    ReschedulingContract,
    RawContract,
    ForkContract,
    TransactionContract,
):
    @pytest.fixture
    def place(self, mariadb_url: str) -> Iterator[DjangoPlace]:
        # Django's own client library needs a compiler to install; PyMySQL stands in for it, by its own means.
        pymysql.install_as_MySQLdb()
        where = urllib.parse.urlsplit(mariadb_url)
        place = DjangoPlace(
            ENGINE="django.db.backends.mysql",
            NAME=where.path.strip("/"),
            USER=where.username,
            PASSWORD=urllib.parse.unquote(where.password or ""),
            HOST=where.hostname,
            PORT=where.port,
            OPTIONS={"ssl_disabled": True},
        )
        yield place
        place.close()


@pytest.mark.parametrize(("name", "style"), [("sqlite", marks), ("postgres", dollars), ("mysql", percents)])
def test_every_migration_of_the_store_is_in_one_of_djangos(name: str, style: Any) -> None:
    done = [number for each in operations() for number in range(each.after + 1, each.upto + 1)]
    assert done == [step.number for step in dialect(name, style).migrations]
