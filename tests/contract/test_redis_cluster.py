"""The Redis store passes the contract on a cluster of six nodes: never at rest, and as a managed service gives it out.

Managed services let nobody administer: a user may do what an ACL names, within its own keys, and nothing else.
"""

from __future__ import annotations

import itertools
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
from tests.contract.test_redis import RedisPlace
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_in_cluster import RedisInCluster
from tests.servers.redis_unrest import PEACEFUL, Unrest
from tests.support import eventually

_tests = itertools.count(1)
#: All that Talo needs of a server, as docs/howto/stores.md names it, without what is only for speed.
NEEDED = "+@read +@write +@pubsub +@connection +eval +evalsha +time +cluster|slots -@dangerous -client"


class TestRedisCluster(
    StoreContract, ScheduleContract, HistoryContract, LedgerContract, ReschedulingContract, RawContract, ForkContract
):
    """While the test's slot moves from master to master, and masters step down."""

    @pytest.fixture(scope="class")
    def uneasy(self) -> Iterator[RedisInCluster]:
        inside = RedisInCluster(RedisCluster())
        try:
            inside.start()
            with Unrest(inside.cluster, PEACEFUL) as inside.unrest:
                yield inside
                # However few of the tests ran in this process, there was unrest.
                eventually(lambda: _has_been_uneasy(inside.unrest), 60)
        finally:
            inside.remove()

    @pytest.fixture
    def place(self, uneasy: RedisInCluster) -> Iterator[RedisPlace]:
        place = RedisPlace(uneasy, uneasy.url_of(next(_tests)))
        yield place
        place.close()


class TestManagedRedisCluster(
    StoreContract, ScheduleContract, HistoryContract, LedgerContract, ReschedulingContract, RawContract, ForkContract
):
    """With keys of one slot and the fewest commands: no INFO, no CONFIG, no CLIENT TRACKING."""

    @pytest.fixture
    def place(self, redis_cluster: RedisCluster) -> Iterator[RedisPlace]:
        inside, number = RedisInCluster(redis_cluster), next(_tests)
        user = f"user{number}"
        rights = ("on", ">secret", f"~{inside.prefix(number)}*", "&*", *NEEDED.split())
        inside.command("ACL", "SETUSER", user, *rights, db=number)
        place = RedisPlace(inside, inside.url_of(number).replace("://", f"://{user}:secret@"))
        yield place
        place.close()


def _has_been_uneasy(unrest: Unrest) -> None:
    assert min(unrest.counts[trouble.__name__] for trouble in PEACEFUL) > 1
