"""Servers and stores for the tests of the Redis store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from talo.stores.redis import RedisStore
from tests.servers.redis import RedisServer

OpenStore = Callable[..., RedisStore]


@pytest.fixture
def open_store() -> Iterator[OpenStore]:
    """Opens stores that are closed when the test is over."""
    opened: list[RedisStore] = []

    def open_(url: str, **options: Any) -> RedisStore:
        opened.append(RedisStore(url, **options))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(redis_url: str, open_store: OpenStore) -> RedisStore:
    return open_store(redis_url)


@pytest.fixture
def server() -> Iterator[Callable[..., RedisServer]]:
    """Starts servers with options of their own, which are gone when the test is over."""
    started: list[RedisServer] = []

    def start(**options: Any) -> RedisServer:
        started.append(RedisServer(**options))
        return started[-1].start()

    yield start
    for each in started:
        each.remove()
