"""A Redis Cluster of six nodes for tests: three masters and a replica of each, on private ports.

``RedisCluster`` starts the nodes, makes them one cluster, and lets a test kill, fail over and move slots. The fixture
``redis_cluster`` is one for the whole session, not to be harmed; ``own_cluster`` is one for a single test to do
anything to. Tests tell themselves apart by their key prefix: a cluster has one database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from talo.errors import TaloError
from talo.stores.redis.address import parse_url
from talo.stores.redis.connection import Connection, pack
from talo.stores.redis.place import Fixed
from tests.servers.process import free_port
from tests.servers.redis_process import RedisServer
from tests.support import eventually

__all__ = ["NEEDED", "RedisCluster", "own_cluster", "redis_cluster"]

SLOTS = 16384


#: All that Talo needs of a server, as docs/howto/stores.md names it.
NEEDED = "+@read +@write +@pubsub +@connection +eval +evalsha +time +cluster|slots -@dangerous"
#: A user who may do no more, as a managed service knows no others.
_GUEST = "guest"


class _AnyNode(Fixed):
    mode = "cluster"


class RedisCluster:
    """Six servers that are one cluster. ``nodes[:3]`` begin as masters, ``nodes[3:]`` as their replicas, in order.

    ``managed``: who comes by its URL may administer nothing. ``patience``: seconds without an answer after which a node
    counts as dead. Where nodes die, that should not take long; where none does, a busy machine should not look dead."""

    def __init__(self, *, durable: bool = False, managed: bool = False, patience: float = 2.0) -> None:
        self.durable = durable
        self._patience = patience
        self._login = f"{_GUEST}:secret" if managed else ""
        self.nodes: list[RedisServer] = []
        self._voted = 0.0

    def start(self) -> RedisCluster:
        """Start the nodes and join them; returns when every node says that all is well."""
        for _ in range(6):
            self.nodes.append(self._node().start())
        names = [self.call(node, "CLUSTER", "MYID").decode() for node in self.nodes]
        for at, node in enumerate(self.nodes[:3]):
            self.call(node, "CLUSTER", "ADDSLOTSRANGE", SLOTS * at // 3, SLOTS * (at + 1) // 3 - 1)
            self.call(node, "CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        first = self.nodes[0]
        for node in self.nodes[1:]:
            self.call(node, "CLUSTER", "MEET", "127.0.0.1", first.port, first.options["cluster_port"])
        for at, node in enumerate(self.nodes[3:]):
            self._knows(node, names[at])
            self.call(node, "CLUSTER", "REPLICATE", names[at])
        self.is_well()
        return self

    def _node(self) -> RedisServer:
        return RedisServer(
            durable=self.durable,
            databases=1,
            cluster_enabled="yes",
            cluster_port=free_port(),
            cluster_node_timeout=int(self._patience * 1000),
            cluster_replica_validity_factor=0,
            repl_diskless_sync_delay=0,
            user=f"{_GUEST} on >secret ~{{* &* {NEEDED}",
        )

    def _knows(self, node: RedisServer, name: str) -> None:
        def known() -> None:
            assert name.encode() in self.call(node, "CLUSTER", "NODES")

        eventually(known, 60, 0.05)

    def is_well(self) -> None:
        """Wait until every living node serves, and every replica is in step."""

        def well() -> None:
            for node in self.living:
                assert b"cluster_state:ok" in self.call(node, "CLUSTER", "INFO")
                info = self.call(node, "INFO", "replication")
                assert b"role:master" in info or b"master_link_status:up" in info

        eventually(well, 60, 0.05)

    @property
    def living(self) -> list[RedisServer]:
        """The nodes that run."""
        return [node for node in self.nodes if node.running]

    @property
    def masters(self) -> list[RedisServer]:
        """The nodes that run and say that they are masters."""
        return [node for node in self.living if b"role:master" in self.call(node, "INFO", "replication")]

    @property
    def url(self) -> str:
        """All nodes, as a store takes them."""
        return self.url_of()

    def url_of(self, login: str | None = None) -> str:
        """All nodes for somebody else, if there is a ``login`` (user:password)."""
        login = self._login if login is None else login
        return ";".join(f"redis+cluster://{login}{'@' * bool(login)}127.0.0.1:{node.port}" for node in self.nodes)

    def call(self, node: RedisServer, *words: str | int | bytes) -> Any:
        """One node's reply, over a connection of its own."""
        connection = Connection(_AnyNode(parse_url(node.url)))
        deadline = _soon()
        connection.connect(deadline)
        try:
            return connection.call(pack(*words), deadline)
        finally:
            connection.close()

    def master_of(self, slot: int) -> RedisServer:
        """The living node that serves a slot, as the living see it."""

        def found() -> RedisServer:
            for first, last, master, *_ in self.call(self.living[0], "CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    node = next(node for node in self.nodes if node.port == master[1])
                    assert node.running
                    return node
            raise AssertionError(f"nobody serves slot {slot}")

        return eventually(found, 60, 0.05)

    def other_master(self, slot: int) -> RedisServer:
        """A master that does not serve this slot."""
        serving = self.master_of(slot)
        masters = (self.master_of(each) for each in range(0, SLOTS, 5000))
        return next(node for node in masters if node is not serving)

    def replica_of(self, master: RedisServer) -> RedisServer:
        """A living replica of this node."""
        name = self.call(master, "CLUSTER", "MYID")

        def found() -> RedisServer:
            for node in self.living:
                fields = self.call(node, "CLUSTER", "NODES").split(b"\n")
                mine = next(line for line in fields if b"myself" in line).split(b" ")
                if mine[3] == name:
                    return node
            raise AssertionError("it has no replica")

        return eventually(found, 60, 0.05)

    @property
    def votes(self) -> bool:
        """Whether the masters vote again. Until then a fail-over fails, and its master keeps its clients waiting."""
        return time.monotonic() > self._voted + 2.5 * self._patience

    def fail_over(self, slot: int) -> RedisServer:
        """Have the replica of a slot's master take its place in good order; return the new master."""

        def may() -> None:
            assert self.votes

        eventually(may, 60, 0.05)
        self.is_well()
        heir = self.replica_of(self.master_of(slot))

        def taken() -> None:
            # A vote that fails is asked for again.
            self.call(heir, "CLUSTER", "FAILOVER")
            eventually(done, 3, 0.05)

        def done() -> None:
            assert self.master_of(slot) is heir

        eventually(taken, 60, 0.05)
        self._voted = time.monotonic()
        return heir

    def begin_to_move(self, slot: int, target: RedisServer) -> None:
        """Begin to hand a slot over; its keys are still where they were."""
        source = self.master_of(slot)
        # A node that knows no master of a slot learns of none any more while it takes the slot in.
        self._agree(slot, source)
        self._insist(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.call(source, "CLUSTER", "MYID"))
        self._insist(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.call(target, "CLUSTER", "MYID"))

    def _insist(self, node: RedisServer, *words: str | int | bytes) -> None:
        """Until it is done: a node that has not heard of everything yet refuses."""

        def done() -> None:
            try:
                self.call(node, *words)
            except TaloError as error:
                raise AssertionError from error

        eventually(done, 60, 0.05)

    def move_keys(self, slot: int, target: RedisServer, limit: int | None = None) -> int:
        """Move keys of a slot, all or the first few; return how many."""
        source, moved = self.master_of(slot), 0
        while keys := self.call(source, "CLUSTER", "GETKEYSINSLOT", slot, 100 if limit is None else limit - moved):
            self._insist(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS", *keys)
            moved += len(keys)
            if moved == limit:
                break
        return moved

    def end_move(self, slot: int, target: RedisServer) -> None:
        """Tell everyone where the slot is now."""
        name = self.call(target, "CLUSTER", "MYID")
        for node in sorted(self.masters, key=lambda node: node is not target):
            self._insist(node, "CLUSTER", "SETSLOT", slot, "NODE", name)

        self._agree(slot, target)

    def _agree(self, slot: int, master: RedisServer) -> None:
        """Wait until all that live say that this node serves the slot."""

        def agreed() -> None:
            for node in self.living:
                ranges = self.call(node, "CLUSTER", "SLOTS")
                assert [each[2][1] for each in ranges if each[0] <= slot <= each[1]] == [master.port]

        eventually(agreed, 60, 0.05)

    def remove(self) -> None:
        """Kill all and delete their data."""
        for node in self.nodes:
            node.remove()


def _soon() -> float:
    return time.monotonic() + 20


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """One cluster for all tests that do it no harm."""
    cluster = RedisCluster()
    try:
        yield cluster.start()
    finally:
        cluster.remove()


@pytest.fixture
def own_cluster() -> Iterator[RedisCluster]:
    """A cluster that this test may break, by its URL as its users see it; its nodes keep what they have answered."""
    cluster = RedisCluster(durable=True, managed=True)
    try:
        yield cluster.start()
    finally:
        cluster.remove()
