"""The Redis store on a cluster: moving slots, fail-overs, and what cannot be a cluster."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from talo.errors import ImproperlyConfigured, PublishTimeout, StoreUnavailable
from talo.stores.base import Post, Settlement
from talo.stores.redis import RedisStore
from talo.stores.redis.cluster import slot_of, tagged
from talo.stores.redis.connection import set_name_lookup
from tests.servers.redis import RedisServer
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_unrest import Trouble, master_steps_down, slot_moves
from tests.support import eventually
from tests.unit.redis.conftest import OpenStore
from tests.unit.redis.messages import bodies, document, message

TAG = "shop:"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """One whose nodes the tests of this module hand slots and places to and fro."""
    cluster = RedisCluster()
    try:
        yield cluster.start()
    finally:
        cluster.remove()


# -- the rule of the tag -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "expected"), [("", "{talo}"), ("shop:", "{shop:}"), ("{shop}", "{shop}"), ("a:{b}:c", "a:{b}:c")]
)
def test_a_prefix_gets_a_hash_tag(prefix: str, expected: str) -> None:
    assert tagged(prefix) == expected


@pytest.mark.parametrize("prefix", ["{", "{}", "a{}b", "a{b"])
def test_a_prefix_without_a_usable_tag_is_refused(prefix: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="hash tag"):
        tagged(prefix)


def test_slots_are_those_of_the_server(cluster: RedisCluster) -> None:
    for tag in ("talo", "shop:", "ü", "x" * 100):
        assert cluster.call(cluster.nodes[0], "CLUSTER", "KEYSLOT", f"a{{{tag}}}b") == slot_of(tag)


@pytest.mark.promise("B11")
def test_every_key_is_in_the_slot_of_the_tag(cluster: RedisCluster, open_store: OpenStore) -> None:
    store = open_store(cluster.url, keyprefix="onlyhere:")
    store.broker.send([message(), message("other", due=2e9)])
    store.results.store([document("t")])
    store.locks.acquire("l", "me", 60)
    owner = cluster.master_of(slot_of("onlyhere:"))
    keys = cluster.call(owner, "CLUSTER", "GETKEYSINSLOT", slot_of("onlyhere:"), 100)
    assert len(keys) > 8
    for node in cluster.nodes[:3]:
        found = cluster.call(node, "KEYS", "*onlyhere:*")
        assert sorted(found) == (sorted(keys) if node is owner else [])


def test_prefixes_spread_over_the_nodes() -> None:
    thirds = {slot_of(f"app{n}:") * 3 // 16384 for n in range(20)}
    assert thirds == {0, 1, 2}


# -- what is no cluster ----------------------------------------------------------------------------------------------


def test_a_plain_url_of_a_cluster_says_so(cluster: RedisCluster, open_store: OpenStore) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"redis\+cluster://"):
        open_store(cluster.nodes[0].url).ping(5)


@pytest.mark.one_server
def test_a_cluster_url_of_a_plain_server_says_so(redis_server: RedisServer, open_store: OpenStore) -> None:
    with pytest.raises(ImproperlyConfigured, match="no node of a cluster"):
        open_store(f"redis+cluster://127.0.0.1:{redis_server.port}").ping(5)


def test_a_cluster_has_one_database(open_store: OpenStore) -> None:
    with pytest.raises(ImproperlyConfigured, match="one database"):
        open_store("redis+cluster://127.0.0.1:1/3")


def test_any_node_that_lives_will_do(cluster: RedisCluster, open_store: OpenStore) -> None:
    replica = cluster.nodes[-1]
    store = open_store(f"redis+cluster://127.0.0.1:1;redis+cluster://127.0.0.1:{replica.port}", keyprefix="any:")
    store.broker.send([message(body="1")])
    assert store.broker.stats(["q"])[0].ready == 1


@pytest.mark.promise("B11")
def test_nodes_that_are_silent_leave_time_for_the_others(cluster: RedisCluster, open_store: OpenStore) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as another:
        silent = [f"redis+cluster://127.0.0.1:{each.getsockname()[1]}" for each in (one, another)]
        store = open_store(";".join([*silent, cluster.nodes[0].url.replace("redis", "redis+cluster")]), timeout=3.0)
        assert [each.ready for each in store.broker.stats(["q"])] == [0]


# -- slots that move -------------------------------------------------------------------------------------------------


@pytest.fixture
def store(cluster: RedisCluster, open_store: OpenStore) -> RedisStore:
    store = open_store(cluster.url, keyprefix=TAG)
    store.broker.purge(["q"])
    return store


@pytest.mark.promise("B11")
def test_while_its_slot_moves_a_settlement_is_refused_whole(cluster: RedisCluster, open_store: OpenStore) -> None:
    store = open_store(cluster.url, keyprefix=TAG, timeout=1.0)
    # Given a lease, and its slot on the way with some of the keys
    slot = slot_of(TAG)
    store.broker.open("me", worker="w", slots=1, lease=600)
    store.broker.send([message(body=str(n)) for n in range(3)])
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    target = cluster.other_master(slot)
    settlement = Settlement(lease=delivery.lease, result=document("t"), follow=[message("q", body="follow")])
    cluster.begin_to_move(slot, target)
    for moved in (0, 3, None):
        if moved != 0:
            cluster.move_keys(slot, target, moved)
        # When it is settled meanwhile, then nothing of it is done
        with pytest.raises(StoreUnavailable):
            store.broker.turn([settlement], "me", ["q"], 5)
        with pytest.raises((StoreUnavailable, PublishTimeout)):
            store.broker.send([message(body="new"), message("other", body="new")])
    # And when the slot has arrived, all of it is done, once, by a store that has not been told
    cluster.end_move(slot, target)
    turn = store.broker.turn([settlement], "me", ["q"], 5)
    assert (turn.refused, bodies(turn)) == ([], ["1", "2", "follow"])
    assert set(open_store(cluster.url, keyprefix=TAG).results.get(["t"])) == {"t"}
    store.broker.settle([Settlement(lease=each.lease) for each in turn.deliveries])
    assert store.broker.owners()[0].held == 0


@pytest.mark.promise("B11")
@pytest.mark.parametrize("busy", [False, True])
def test_a_sleeper_hears_that_its_slot_has_left(
    cluster: RedisCluster, store: RedisStore, open_store: OpenStore, busy: bool
) -> None:
    # Given one that sleeps, and others that work beside it
    slot = slot_of(TAG)
    store.broker.open("me", worker="w", slots=1, lease=600)
    other = open_store(cluster.url, keyprefix=TAG)
    assert store.broker.turn([], "me", ["q"], 1).deliveries == []
    if busy:
        other.broker.open("other", worker="w", slots=1, lease=600)
        other.broker.send([message("elsewhere")])
        [delivery] = other.broker.turn([], "other", ["elsewhere"], 1).deliveries
        other.broker.settle([Settlement(lease=delivery.lease)])
        while store.broker.wait(["q"], 0.1):
            assert store.broker.turn([], "me", ["q"], 1).deliveries == []
    # When its slot goes to another node, and work comes there
    target = cluster.other_master(slot)
    cluster.begin_to_move(slot, target)
    cluster.move_keys(slot, target)
    cluster.end_move(slot, target)
    other.broker.send([message(body="there")])
    # Then it wakes and finds it
    assert store.broker.wait(["q"], 20) is True
    assert bodies(store.broker.turn([], "me", ["q"], 5)) == ["there"]


# -- how nodes name each other --------------------------------------------------------------------------------------

HOSTS = "cluster.shop.test"


@pytest.fixture
def looked_up(own_cluster: RedisCluster) -> Iterator[list[str]]:
    """The names that were asked for. Each node announces one, and all of them are this machine."""
    asked: list[str] = []

    def look_up(host: str, port: int, *rest: Any) -> list[Any]:
        if host.endswith(HOSTS):
            asked.append(host)
            host = "127.0.0.1"
        return socket.getaddrinfo(host, port, *rest)

    for number, node in enumerate(own_cluster.nodes):
        own_cluster.call(node, "CONFIG", "SET", "cluster-announce-hostname", f"node{number}.at.{HOSTS}")

    def are_known() -> None:
        for node in own_cluster.nodes:
            assert own_cluster.call(node, "CLUSTER", "NODES").count(HOSTS.encode()) == len(own_cluster.nodes)

    eventually(are_known, 60, 0.05)
    set_name_lookup(look_up)
    yield asked
    set_name_lookup(None)


def prefer(node: RedisServer, cluster: RedisCluster, form: str) -> None:
    """Let a node name the others so."""
    cluster.call(node, "CONFIG", "SET", "cluster-preferred-endpoint-type", form)


@pytest.mark.promise("B11")
@pytest.mark.parametrize("form", ["hostname", "unknown-endpoint"])
def test_nodes_are_found_however_they_name_each_other(
    form: str, looked_up: list[str], own_cluster: RedisCluster, open_store: OpenStore
) -> None:
    # Given nodes that go by names which only others know, or that know each other's ports only
    slot = slot_of(TAG)
    for node in own_cluster.nodes:
        prefer(node, own_cluster, form)
    door = own_cluster.other_master(slot)
    store = open_store(f"redis+cluster://first.at.{HOSTS}:{door.port}", keyprefix=TAG)
    store.broker.send([message(body="1")])
    # When the slot goes elsewhere, and its new master steps down
    slot_moves(own_cluster, slot)
    store.broker.send([message(body="2")])
    heir = own_cluster.fail_over(slot)
    store.broker.send([message(body="3")])
    # Then the store came along, by nothing but what they said
    store.broker.open("me", worker="w", slots=1, lease=600)
    assert bodies(store.broker.turn([], "me", ["q"], 5)) == ["1", "2", "3"]
    named = f"node{own_cluster.nodes.index(heir)}" if form == "hostname" else "first"
    assert (looked_up[0], looked_up[-1]) == (f"first.at.{HOSTS}", f"{named}.at.{HOSTS}")


@pytest.mark.promise("B11")
def test_a_node_that_does_not_know_where_the_slot_went_is_asked_no_further(
    own_cluster: RedisCluster, open_store: OpenStore
) -> None:
    # Given a master that shall name the others by names which it has not heard yet
    slot = slot_of(TAG)
    store = open_store(own_cluster.url, keyprefix=TAG)
    store.broker.send([message(body="1")])
    source = own_cluster.master_of(slot)
    prefer(source, own_cluster, "hostname")
    # When the slot leaves it, then somebody else is asked where to
    slot_moves(own_cluster, slot)
    store.broker.send([message(body="2")])
    # And whoever comes to it first gets there, too
    urls = sorted(own_cluster.url.split(";"), key=lambda url: str(source.port) not in url)
    other = open_store(";".join(urls), keyprefix=TAG)
    other.broker.open("me", worker="w", slots=1, lease=600)
    assert bodies(other.broker.turn([], "me", ["q"], 5)) == ["1", "2"]


# -- masters that step down ------------------------------------------------------------------------------------------


@pytest.mark.promise("B11")
def test_a_sleeper_hears_of_work_after_its_master_stepped_down(
    cluster: RedisCluster, store: RedisStore, open_store: OpenStore
) -> None:
    store.broker.open("me", worker="w", slots=1, lease=600)
    while store.broker.turn([], "me", ["q"], 100).deliveries:
        pass
    cluster.fail_over(slot_of(TAG))
    open_store(cluster.url, keyprefix=TAG).broker.send([message(body="after")])

    def found() -> list[str]:
        store.broker.wait(["q"], 20)
        got = bodies(store.broker.turn([], "me", ["q"], 5))
        assert got
        return got

    assert eventually(found, 20) == ["after"]


@pytest.mark.promise("B11")
def test_waits_for_results_go_on_after_the_master_stepped_down(
    cluster: RedisCluster, store: RedisStore, open_store: OpenStore
) -> None:
    found: list[str] = []
    waiter = threading.Thread(target=lambda: found.extend(store.results.wait(["r1"], 30)))
    waiter.start()
    eventually(lambda: _check(store.results._listener._wants))
    cluster.fail_over(slot_of(TAG))
    open_store(cluster.url, keyprefix=TAG).results.store([document("r1")])
    waiter.join(30)
    assert found == ["r1"]
    # And a new wait of the same store, on whatever connection it has
    open_store(cluster.url, keyprefix=TAG).results.store([document("r2")])
    assert set(store.results.wait(["r2"], 20)) == {"r2"}


@pytest.mark.promise("B03", "B11")
def test_a_master_that_dies_is_replaced(own_cluster: RedisCluster, open_store: OpenStore) -> None:
    # Given work, and a sleeper, on a cluster of which a master dies
    cluster, slot = own_cluster, slot_of(TAG)
    store, other = open_store(cluster.url, keyprefix=TAG), open_store(cluster.url, keyprefix=TAG)
    store.broker.open("me", worker="w", slots=1, lease=600)
    other.broker.send([message(body=str(n)) for n in range(10)])
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    master = cluster.master_of(slot)
    replica = cluster.replica_of(master)
    eventually(lambda: _check(cluster.call(master, "WAIT", 1, 1000) == 1))
    master.kill()

    # When its replica has taken its place, then settling and fetching go on there
    def turned() -> list[str]:
        try:
            turn = store.broker.turn([Settlement(lease=delivery.lease, result=document("t"))], "me", ["q"], 20)
        except StoreUnavailable as error:
            raise AssertionError from error
        return bodies(turn)

    assert eventually(turned, 60, 0.1) == [str(n) for n in range(1, 10)]
    assert cluster.master_of(slot) is replica
    other.broker.send([message(body="new")])
    assert set(other.results.get(["t"])) == {"t"}
    assert bodies(store.broker.turn([], "me", ["q"], 20)) == ["new"]


def _check(fact: object) -> None:
    assert fact


@pytest.mark.promise("B11")
@pytest.mark.parametrize("trouble", [slot_moves, master_steps_down], ids=lambda trouble: str(trouble.__name__))
def test_who_waits_for_an_answer_goes_along_with_the_slot(
    trouble: Trouble, cluster: RedisCluster, open_store: OpenStore
) -> None:
    store, other = open_store(cluster.url, keyprefix=TAG), open_store(cluster.url, keyprefix=TAG)
    post = Post(exchange="answers", kind="direct", key="me", body=b"{}")
    with store.bus.hear("answers", "direct", ["me"], queue=f"me.{trouble.__name__}") as ear:
        with ThreadPoolExecutor(1) as waiter:
            # Given somebody who waits while the slot goes elsewhere
            heard = waiter.submit(ear.get, 30)
            trouble(cluster, slot_of(TAG))
            # When it is answered there
            other.bus.post([post])
            # Then it is heard, once
            answer = heard.result(30)
        assert answer is not None and answer.key == "me"
        assert ear.get(0) is None
