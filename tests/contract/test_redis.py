"""The Redis store passes the contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from talo.stores.redis import RedisStore
from talo.testing.contract import (
    ForkContract,
    HistoryContract,
    LedgerContract,
    RawContract,
    ReschedulingContract,
    ScheduleContract,
    StoreContract,
)
from tests.servers.redis import RedisServer, database_of


class Commands(Protocol):
    """Where raw commands go."""

    def command(self, *words: str | bytes, db: int = 0) -> bytes: ...


class RedisPlace:
    """One database of a test's server."""

    def __init__(self, server: Commands, url: str, **options: Any) -> None:
        self.server = server
        self.url = url
        self.options = options
        self.opened: list[RedisStore] = []

    def open(self, **options: Any) -> RedisStore:
        store = RedisStore(self.url, **self.options, **options)
        self.opened.append(store)
        return store

    def push_raw(self, queue: str, raw: bytes) -> None:
        self.server.command("LPUSH", self.options.get("keyprefix", "") + queue, raw, db=database_of(self.url))

    def close(self) -> None:
        for store in self.opened:
            store.close()


class TestRedis(
    StoreContract, ScheduleContract, HistoryContract, LedgerContract, ReschedulingContract, RawContract, ForkContract
):
    @pytest.fixture
    def place(self, redis_server: RedisServer, redis_url: str) -> Iterator[RedisPlace]:
        place = RedisPlace(redis_server, redis_url)
        yield place
        place.close()


@pytest.mark.one_server
class TestRedisWithKeyPrefix(
    StoreContract, ScheduleContract, HistoryContract, LedgerContract, ReschedulingContract, RawContract
):
    @pytest.fixture
    def place(self, redis_server: RedisServer, redis_url: str) -> Iterator[RedisPlace]:
        place = RedisPlace(redis_server, redis_url, keyprefix="pre:")
        yield place
        place.close()
