"""The SQL store on an SQLite file passes the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talo.stores.base import Store
from talo.stores.url import open_store
from talo.testing.contract import (
    ForkContract,
    HistoryContract,
    LedgerContract,
    RawContract,
    ReschedulingContract,
    ScheduleContract,
    StoreContract,
)


class SqlitePlace:
    """A database file of one test. Its stores have patience: what is many for a test is much for a busy machine."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opened: list[Any] = []

    def open(self, **options: Any) -> Store:
        store = open_store(self.url, **{"timeout": 60.0, **options})
        self.opened.append(store)
        return store

    def push_raw(self, queue: str, raw: bytes) -> None:
        self.opened[0].broker.push_raw(queue, raw)

    def close(self) -> None:
        for store in self.opened:
            store.close()


class TestSqlite(
    StoreContract, ScheduleContract, HistoryContract, LedgerContract, ReschedulingContract, RawContract, ForkContract
):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[SqlitePlace]:
        place = SqlitePlace(f"sqlite:///{tmp_path}/talo.sqlite3")
        yield place
        place.close()
