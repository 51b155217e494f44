"""The SQL store on PostgreSQL passes the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from talo.testing.contract import (
    ForkContract,
    HistoryContract,
    RawContract,
    ReschedulingContract,
    ScheduleContract,
    StoreContract,
)
from tests.contract.test_sqlite import SqlitePlace as SqlPlace
from tests.servers.postgres import PostgresServer, postgres_server, postgres_url  # noqa: F401


class TestPostgres(StoreContract, ScheduleContract, HistoryContract, ReschedulingContract, RawContract, ForkContract):
    @pytest.fixture
    def place(self, postgres_url: str) -> Iterator[SqlPlace]:  # noqa: F811
        place = SqlPlace(postgres_url)
        yield place
        place.close()
