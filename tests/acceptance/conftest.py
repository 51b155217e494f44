"""Shared by the acceptance tests: a Redis for those that want one, and a place on either store for a whole module."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import app, broker  # noqa: F401  fixtures
from tests.servers.redis import RedisServer, own_redis, redis_server, redis_url  # noqa: F401  fixtures

_databases = itertools.count(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the worker of a module writes."""
    return tmp_path_factory.mktemp("worker")


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty store, for a whole module on each store."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('store')}/talo.sqlite3"
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    db = next(_databases)
    server.command("FLUSHDB", db=db)
    yield server.url_of(db)
    server.command("FLUSHDB", db=db)
