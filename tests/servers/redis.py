"""Redis for tests: a database of one server, or a server of their own.

``redis_server`` is one for the whole session, not to be harmed, in which ``redis_url`` gives every test a database
number of its own, emptied at its end; ``own_redis`` is one for a single test to do anything to. With
``--redis=cluster`` both are a cluster (``redis_in_cluster``) whose users may administer nothing, and that of the
session is never at rest.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from typing import cast

import pytest

from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_in_cluster import RedisInCluster
from tests.servers.redis_process import DATABASES, RedisServer, binary, command
from tests.servers.redis_unrest import PEACEFUL, Unrest

__all__ = [
    "RedisServer",
    "binary",
    "command",
    "database_of",
    "empty_database",
    "own_redis",
    "redis_server",
    "redis_url",
]

#: Databases that tests have at this moment, and the numbers in the order in which they are given out. 0 is nobody's.
_taken: set[int] = set()
_numbers = itertools.cycle(range(1, DATABASES))


def database_of(url: str) -> int:
    """The number of the database that a ``url_of`` names."""
    found = re.search(r"(\d+)\W*$", url)
    assert found is not None, url
    return int(found[1])


@contextlib.contextmanager
def empty_database(server: RedisServer) -> Iterator[str]:
    """The URL of a database that nobody else has meanwhile, empty, and emptied at its end."""
    db = next(number for number in _numbers if number not in _taken)
    _taken.add(db)
    server.command("FLUSHDB", db=db)
    try:
        yield server.url_of(db)
    finally:
        server.command("FLUSHDB", db=db)
        _taken.discard(db)


def _in_cluster(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--redis") == "cluster")


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One server for all tests that do it no harm."""
    if not _in_cluster(request):
        with RedisServer() as server:
            yield server
        return
    inside = RedisInCluster(RedisCluster(managed=True, patience=5.0))
    try:
        inside.start()
        with Unrest(inside.cluster, PEACEFUL) as inside.unrest:
            yield cast(RedisServer, inside)
    finally:
        inside.remove()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """An empty database of the session's server."""
    with empty_database(redis_server) as url:
        yield url


@pytest.fixture
def own_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server that this test may kill, pause and restart; it keeps what it has answered."""
    cluster = RedisCluster(durable=True, managed=True)
    server = RedisInCluster(cluster) if _in_cluster(request) else RedisServer(durable=True)
    try:
        yield cast(RedisServer, server.start())
    finally:
        server.remove()
