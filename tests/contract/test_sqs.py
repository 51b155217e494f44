"""The SQS store passes the contract, with an SQLite file at its side."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talo.stores.sqs import SqsStore
from talo.stores.url import open_store
from talo.testing.contract import ForkContract, ScheduleContract, StoreContract
from tests.servers.moto import sqs_endpoint  # noqa: F401

_tests = itertools.count()


class SqsPlace:
    """Queues under a prefix of this test's own."""

    def __init__(self, endpoint: str, directory: Path) -> None:
        self.options: dict[str, Any] = {
            "region": "us-east-1",
            "endpoint_url": endpoint,
            "queue_name_prefix": f"t{next(_tests)}-{uuid.uuid4().hex[:8]}-",
            "ledger": str(directory / "ledger.sqlite3"),
        }
        self._side = f"sqlite:///{directory}/side.sqlite3"
        self.opened: list[Any] = []

    def open(self, **options: Any) -> SqsStore:
        side = open_store(self._side)
        store = SqsStore("sqs://key:secret@", side=side, **self.options, **options)
        self.opened += [store, side]
        return store

    def close(self) -> None:
        for store in self.opened:
            store.close()


class TestSqs(StoreContract, ScheduleContract, ForkContract):
    @pytest.fixture
    def place(self, sqs_endpoint: str, tmp_path: Path) -> Iterator[SqsPlace]:  # noqa: F811
        place = SqsPlace(sqs_endpoint, tmp_path)
        yield place
        place.close()
