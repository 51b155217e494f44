"""A broker with a ledger beside it passes the contract of what is inside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talo.stores.base import Store
from talo.stores.noted import NotedBroker
from talo.stores.url import open_store
from talo.testing.contract import (
    BrokerContract,
    DeadContract,
    ForkContract,
    LeaseContract,
    SettlingContract,
    WaitingContract,
)
from tests.contract.test_sqlite import SqlitePlace


class NotedPlace(SqlitePlace):
    """A file, and another one in which it is noted what waits in the first."""

    def __init__(self, url: str, ledger: str) -> None:
        super().__init__(url)
        self.ledger = ledger

    def open(self, **options: Any) -> Store:
        store, beside = super().open(**options), open_store(self.ledger, timeout=60.0)
        self.opened.append(beside)
        assert beside.ledger is not None
        store.broker = NotedBroker(store, beside.ledger, lambda _: False)
        return store


class TestNoted(BrokerContract, SettlingContract, WaitingContract, LeaseContract, DeadContract, ForkContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[NotedPlace]:
        place = NotedPlace(f"sqlite:///{tmp_path}/talo.sqlite3", f"sqlite:///{tmp_path}/ledger.sqlite3")
        yield place
        place.close()
