"""Where the server is: several URLs, Sentinel, users of an ACL, local sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from talo.app.app import Talo
from talo.errors import AccessRefused, ImproperlyConfigured, PublishTimeout, StoreUnavailable
from talo.stores.base import Settlement
from talo.stores.redis import RedisStore
from talo.stores.url import open_store as open_any
from tests.servers.process import free_port
from tests.servers.redis import RedisServer, database_of
from tests.servers.sentinel import Sentinels, sentinels  # noqa: F401
from tests.support import eventually
from tests.unit.redis.conftest import OpenStore
from tests.unit.redis.messages import bodies, document, message

# -- several URLs ----------------------------------------------------------------------------------------------------


@pytest.mark.one_server
def test_the_next_alternative_is_tried_when_one_cannot_be_reached(redis_url: str, open_store: OpenStore) -> None:
    store = open_store(f"redis://127.0.0.1:{free_port()}/0;{redis_url}")
    store.broker.send([message(body="1")], timeout=5)
    assert open_store(redis_url).broker.stats(["q"])[0].ready == 1


def test_alternatives_are_tried_in_a_circle(server: Callable[..., RedisServer], open_store: OpenStore) -> None:
    # Given two, of which the first dies in the middle of the work
    first, second = server(), server()
    store = open_store(f"{first.url};{second.url}")
    store.broker.send([message(body="to the first")])
    first.kill()

    # Then sends go to the second as soon as that is noticed
    def sent() -> None:
        try:
            store.broker.send([message(body="to the second")])
        except StoreUnavailable as error:
            raise AssertionError from error

    eventually(sent)
    assert second.command("LLEN", "q") == b":1\r\n"
    # And back to the first when the second is gone
    first.start()
    second.kill()
    eventually(sent)
    assert first.command("LLEN", "q") == b":1\r\n"


def test_a_replica_is_no_alternative(server: Callable[..., RedisServer], open_store: OpenStore) -> None:
    master = server()
    replica = server(replicaof=f"127.0.0.1 {master.port}")
    store = open_store(f"{replica.url};{master.url}")
    store.broker.send([message()])
    assert master.command("LLEN", "q") == b":1\r\n"


def test_when_none_can_be_reached_the_send_ends_in_time(open_store: OpenStore) -> None:
    store = open_store(";".join(f"redis://127.0.0.1:{free_port()}/0" for _ in range(3)))
    with pytest.raises((StoreUnavailable, PublishTimeout)):
        store.broker.send([message()], timeout=1)


@pytest.mark.one_server
def test_an_app_takes_a_list_of_urls(redis_url: str) -> None:
    app = Talo("several", broker_url=[f"redis://127.0.0.1:{free_port()}/0", redis_url], result_backend="disabled://")
    app.send_task("t.add")
    assert [each.ready for each in app.store.broker.stats()] == [1]
    app.close_stores()


# -- Sentinel --------------------------------------------------------------------------------------------------------


@pytest.mark.promise("B03")
def test_sentinels_lead_to_the_master_and_to_its_successor(sentinels: Sentinels, open_store: OpenStore) -> None:  # noqa: F811
    # Given work, and one that sleeps and one that waits for a result, at the master that the sentinels name
    store, other = (open_store(sentinels.url, **sentinels.options) for _ in range(2))
    store.broker.open("me", worker="w", slots=1, lease=600)
    other.broker.send([message(body="1"), message(body="2")])
    deliveries = store.broker.turn([], "me", ["q"], 2).deliveries
    assert sentinels.master.command("EXISTS", "talo:owners") == b":1\r\n"
    found: list[str] = []
    waiter = threading.Thread(target=lambda: found.extend(other.results.wait(["t"], 60)))
    waiter.start()
    eventually(lambda: _check(other.results._listener._wants))
    eventually(lambda: _check(sentinels.master.command("WAIT", "1", "1000") == b":1\r\n"))

    # When the master dies
    sentinels.master.kill()

    # Then settling goes on at its successor, and who waits for the result gets it
    def settled() -> None:
        try:
            ends = [Settlement(lease=deliveries[0].lease, result=document("t")), Settlement(lease=deliveries[1].lease)]
            store.broker.turn(ends, "me", ["q"], 1)
        except StoreUnavailable as error:
            raise AssertionError from error

    eventually(settled, 60, 0.1)
    waiter.join(60)
    assert found == ["t"]
    assert store.broker.owners()[0].held == 0
    # And when the old one is back, it becomes a replica, to which nobody goes
    sentinels.master.start()
    other.broker.send([message(body="new")])
    assert bodies(store.broker.turn([], "me", ["q"], 5)) == ["new"]


def test_a_master_that_steps_down_is_left(sentinels: Sentinels, open_store: OpenStore) -> None:  # noqa: F811
    store = open_store(sentinels.url, **sentinels.options)
    store.broker.open("me", worker="w", slots=1, lease=600)
    store.broker.turn([], "me", ["q"], 1)
    sentinels.fail_over()

    def sent() -> None:
        try:
            open_store(sentinels.url, **sentinels.options).broker.send([message(body="new")])
        except StoreUnavailable as error:
            raise AssertionError from error

    eventually(sent, 60, 0.1)

    def found() -> list[str]:
        try:
            store.broker.wait(["q"], 1)
            got = bodies(store.broker.turn([], "me", ["q"], 5))
        except StoreUnavailable as error:
            raise AssertionError from error
        assert got
        return got

    assert eventually(found, 60, 0.1)[:1] == ["new"]


def test_sentinel_options_that_cannot_work_are_said(sentinels: Sentinels, open_store: OpenStore) -> None:  # noqa: F811
    with pytest.raises(ImproperlyConfigured, match="master_name"):
        open_store(sentinels.url)
    with pytest.raises(ImproperlyConfigured, match="pasword"):
        open_store(sentinels.url, master_name="mymaster", sentinel_kwargs={"pasword": "x"})
    with pytest.raises(ImproperlyConfigured, match="watch no master other"):
        alive = sentinels.url.partition(";")[2]
        open_store(alive, master_name="other", sentinel_kwargs={"password": sentinels.password}).ping(5)
    with pytest.raises(AccessRefused) as refused:
        open_store(sentinels.url, master_name="mymaster", sentinel_kwargs={"password": "canary"}).ping(5)
    assert "canary" not in str(refused.value)


def test_an_app_finds_its_master_by_celerys_settings(sentinels: Sentinels) -> None:  # noqa: F811
    app = Talo(
        "watched", broker_url=sentinels.url, result_backend=sentinels.url, broker_transport_options=sentinels.options
    )
    app.conf.result_backend_transport_options = sentinels.options
    app.send_task("t.add")
    assert [each.ready for each in app.store.broker.stats()] == [1]
    assert app.result_store is app.store
    app.close_stores()


# -- users, sockets, names -------------------------------------------------------------------------------------------


@pytest.mark.one_server
def test_a_user_of_an_acl_logs_in(own_redis: RedisServer, open_store: OpenStore) -> None:
    own_redis.command("ACL", "SETUSER", "shop", "on", ">s3cret", "~shop:*", "&shop:*", "+@all")
    store = open_store(f"redis://shop:s3cret@127.0.0.1:{own_redis.port}/0", keyprefix="shop:")
    store.broker.send([message(body="1")])
    assert store.broker.stats(["q"])[0].ready == 1
    # And what the user may not do is said without the password
    with pytest.raises(AccessRefused) as refused:
        open_store(f"redis://shop:s3cret@127.0.0.1:{own_redis.port}/0", keyprefix="other:").broker.send([message()])
    assert "s3cret" not in str(refused.value)


@pytest.mark.one_server
@pytest.mark.parametrize("scheme", ["unix", "redis+socket"])
def test_both_names_of_a_local_socket_work(scheme: str, own_redis: RedisServer) -> None:
    store = open_any(own_redis.socket_url.replace("redis+socket", scheme))
    assert isinstance(store, RedisStore)
    store.broker.send([message()])
    assert own_redis.command("LLEN", "q") == b":1\r\n"
    store.close()


@pytest.mark.parametrize("scheme", ["valkey", "redis"])
def test_valkey_is_redis(scheme: str, redis_url: str) -> None:
    store = open_any(redis_url.replace("redis", scheme, 1))
    store.broker.send([message()])
    store.close()
    same = open_any(redis_url)
    assert same.broker.stats(["q"])[0].ready == 1
    same.close()


def _check(fact: object) -> None:
    assert fact


def test_keys_of_another_generation_of_talo_are_left_alone(redis_server: RedisServer, redis_url: str) -> None:
    db = database_of(redis_url)
    store = open_any(redis_url)
    # Given a place that this release has seen
    store.ping(5)
    store.ping(5)
    # When a release that keeps its keys differently has taken it over, then nothing is begun there.
    redis_server.command("SET", "talo:generation", "2", db=db)
    with pytest.raises(ImproperlyConfigured, match=r"another generation of Talo \(2, this release is of 1\)"):
        store.ping(5)
    store.close()
