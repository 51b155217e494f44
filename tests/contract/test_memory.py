"""The memory store passes the contract: the same implementation, in one process."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from talo.testing.contract import (
    HistoryContract,
    LedgerContract,
    RawContract,
    ReschedulingContract,
    ScheduleContract,
    StoreContract,
)
from tests.contract.test_sqlite import SqlitePlace


class TestMemory(StoreContract, ScheduleContract, HistoryContract, LedgerContract, ReschedulingContract, RawContract):
    @pytest.fixture
    def place(self) -> Iterator[SqlitePlace]:
        place = SqlitePlace(f"memory://{uuid.uuid4().hex}")
        yield place
        place.close()
