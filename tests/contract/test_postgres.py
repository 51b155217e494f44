"""The SQL store on PostgreSQL passes the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from talo.testing.contract import (
    ForkContract,
    HistoryContract,
    LedgerContract,
    RawContract,
    ReschedulingContract,
    ScheduleContract,
    StoreContract,
)
from tests.contract.test_sqlite import SqlitePlace as SqlPlace


class TestPostgres(
    StoreContract, ScheduleContract, HistoryContract, LedgerContract, ReschedulingContract, RawContract, ForkContract
):
    @pytest.fixture
    def place(self, postgres_tables: str) -> Iterator[SqlPlace]:
        place = SqlPlace(postgres_tables)
        yield place
        place.close()
