"""The Redis store passes the contract on a cluster of six nodes: never at rest, and as a managed service gives it out.

Managed services let nobody administer: a user may do what an ACL names, within its own keys, and nothing else. Before
some stands a proxy that says it is a single server.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from talo.errors import StoreError
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
from tests.contract.test_redis import RedisPlace
from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.redis_cluster import NEEDED, SLOTS, RedisCluster
from tests.servers.redis_in_cluster import RedisInCluster
from tests.servers.redis_process import RedisServer
from tests.servers.redis_unrest import PEACEFUL, Unrest
from tests.support import eventually

_tests = itertools.count(1)
#: What Talo needs of a server, without what is only for speed.
FEWEST = f"{NEEDED} -client -scan"


@pytest.mark.promise("B11")
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


@pytest.mark.promise("B11")
class TestManagedRedisCluster(
    StoreContract, ScheduleContract, HistoryContract, LedgerContract, ReschedulingContract, RawContract, ForkContract
):
    """With keys of one slot and the fewest commands: no INFO, no CONFIG, no CLIENT TRACKING."""

    @pytest.fixture
    def place(self, redis_cluster: RedisCluster) -> Iterator[RedisPlace]:
        inside, number = RedisInCluster(redis_cluster), next(_tests)
        user = f"user{number}"
        rights = ("on", ">secret", f"~{inside.prefix(number)}*", "&*", *FEWEST.split())
        inside.command("ACL", "SETUSER", user, *rights, db=number)
        place = RedisPlace(inside, inside.url_of(number, login=f"{user}:secret"))
        yield place
        place.close()


class Endpoint:
    """A server of a cluster, all slots in one, as its users see it: through a proxy in which it is a single server."""

    def __init__(self) -> None:
        self.server = RedisServer(databases=1, cluster_enabled="yes", cluster_port=free_port())

    def __enter__(self) -> Endpoint:
        self.server.start()
        self.server.command("CLUSTER", "ADDSLOTSRANGE", "0", str(SLOTS - 1))
        eventually(lambda: _serves(self.server), 60)
        self.server.command("ACL", "SETUSER", "shop", "on", ">secret", "~{shop*", "&*", *FEWEST.split(), "-cluster")
        self.proxy = Proxy("127.0.0.1", self.server.port, tell=_as_single_server).start()
        self.url = self.proxy.through(self.server.url).replace("://", "://shop:secret@")
        return self

    def __exit__(self, *exc: object) -> None:
        self.proxy.stop()
        self.server.remove()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    """One for all tests of this module."""
    with Endpoint() as endpoint:
        yield endpoint


@pytest.mark.promise("B11")
class TestEndpointOfOneSlot(
    StoreContract, ScheduleContract, HistoryContract, ReschedulingContract, RawContract, ForkContract
):
    """Behind a proxy that says it is a single server, refuses a command over several slots, and knows no CLUSTER."""

    @pytest.fixture
    def place(self, endpoint: Endpoint) -> Iterator[RedisPlace]:
        prefix = f"{{shop{next(_tests)}}}:"
        place = RedisPlace(endpoint.server, endpoint.url, keyprefix=prefix)
        yield place
        place.close()

    def test_a_command_over_several_slots_is_refused(self, endpoint: Endpoint) -> None:
        store = RedisStore(endpoint.url, keyprefix="{shop1}:")
        with pytest.raises(StoreError, match="CROSSSLOT"):
            store._client.call("MGET", "{shop1}:", "{shop2}:")
        store.close()


def _as_single_server(answer: bytes) -> bytes:
    """What a HELLO is answered with."""
    return answer.replace(b"$4\r\nmode\r\n$7\r\ncluster\r\n", b"$4\r\nmode\r\n$10\r\nstandalone\r\n")


def _serves(server: RedisServer) -> None:
    assert b"cluster_state:ok" in server.command("CLUSTER", "INFO")


def _has_been_uneasy(unrest: Unrest) -> None:
    assert min(unrest.counts[trouble.__name__] for trouble in PEACEFUL) > 1
