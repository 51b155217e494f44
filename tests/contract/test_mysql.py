"""The SQL store on MariaDB passes the contract."""

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


class TestMysql(
    StoreContract, ScheduleContract, HistoryContract, LedgerContract, ReschedulingContract, RawContract, ForkContract
):
    @pytest.fixture
    def place(self, mariadb_url: str) -> Iterator[SqlPlace]:
        place = SqlPlace(mariadb_url)
        yield place
        place.close()
