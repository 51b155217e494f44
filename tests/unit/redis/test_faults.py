"""Servers that are away, slow, full or locked: every call ends in time, with an error that says what to do."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from talo.errors import (
    ImproperlyConfigured,
    MessageTooLarge,
    OperationalError,
    PublishTimeout,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from talo.stores.base import Settlement
from talo.stores.redis import RedisStore, broker
from talo.stores.redis.connection import set_name_lookup
from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer, database_of
from tests.support import eventually
from tests.unit.redis.conftest import OpenStore
from tests.unit.redis.messages import document, message

TLS = Path(__file__).parents[2] / "servers" / "tls"
#: What a busy machine may add to a deadline. Who kept to none would wait for the store's 5 s, or for ever.
SLACK = 3.0


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with redis_server.proxy() as proxy:
        yield proxy


def _took(call: Callable[[], Any]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


# -- a send has a deadline ------------------------------------------------------------------------------------------


@pytest.mark.promise("B01")
@pytest.mark.parametrize("mode", ["black_hole", "trickle"])
@pytest.mark.parametrize("warm", [True, False], ids=["connected", "fresh"])
def test_a_send_into_a_silent_network_ends_in_time(
    proxy: Proxy, redis_url: str, open_store: OpenStore, mode: str, warm: bool
) -> None:
    # Given a store whose network falls silent, or nearly so
    store = open_store(proxy.through(redis_url))
    if warm:
        store.broker.send([message()])
    proxy.black_hole() if mode == "black_hole" else proxy.trickle(0.2)

    # When something is sent, then it fails within its deadline
    def send() -> None:
        with pytest.raises(PublishTimeout):
            store.broker.send([message()], timeout=0.4)

    assert 0.3 < _took(send) < 0.4 + SLACK


@pytest.mark.promise("B01")
def test_a_send_to_a_stopped_server_ends_in_time(own_redis: RedisServer, open_store: OpenStore) -> None:
    store, fresh = open_store(own_redis.url), open_store(own_redis.url)
    store.broker.send([message()])
    own_redis.pause()
    try:
        for each in (store, fresh):

            def send(each: RedisStore = each) -> None:
                with pytest.raises(PublishTimeout):
                    each.broker.send([message()], timeout=0.3)

            assert _took(send) < 0.3 + SLACK
    finally:
        own_redis.resume()
    store.broker.send([message()])


@pytest.mark.promise("B01")
def test_a_send_where_nobody_listens_fails_at_once(proxy: Proxy, redis_url: str, open_store: OpenStore) -> None:
    store = open_store(proxy.through(redis_url))
    store.broker.send([message()])
    proxy.refuse()

    def send() -> None:
        with pytest.raises(OperationalError):
            store.broker.send([message()])

    assert _took(send) < SLACK
    proxy.pass_on()
    store.broker.send([message()])


@pytest.mark.promise("B01")
def test_the_deadline_covers_the_look_up_of_the_name(open_store: OpenStore) -> None:
    over = threading.Event()
    set_name_lookup(lambda *_: over.wait(30) and [])
    try:
        store = open_store("redis://name.that.nobody.answers.for.test")

        def send() -> None:
            with pytest.raises(PublishTimeout):
                store.broker.send([message()], timeout=0.2)

        assert _took(send) < 0.2 + SLACK
    finally:
        over.set()
        set_name_lookup(None)


@pytest.mark.one_server
def test_a_name_is_looked_up_once(redis_server: RedisServer, open_store: OpenStore) -> None:
    asked: list[str] = []

    def look_up(host: str, port: int, *rest: Any) -> list[Any]:
        asked.append(host)
        return socket.getaddrinfo("127.0.0.1", port, *rest)

    set_name_lookup(look_up)
    try:
        for _ in range(3):
            open_store(f"redis://redis.test:{redis_server.port}/0").ping(5)
        assert asked == ["redis.test"]
    finally:
        set_name_lookup(None)


def test_an_unknown_name_is_said(open_store: OpenStore) -> None:
    def unknown(*_: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    set_name_lookup(unknown)
    try:
        with pytest.raises(StoreUnavailable, match=r"nowhere\.test"):
            open_store("redis://nowhere.test").ping(5)
    finally:
        set_name_lookup(None)


@pytest.mark.promise("B01")
def test_the_deadline_covers_waiting_for_a_connection(proxy: Proxy, redis_url: str, open_store: OpenStore) -> None:
    # Given a store whose connections are all stuck
    store = open_store(proxy.through(redis_url), timeout=10)
    proxy.black_hole()
    threads = [threading.Thread(target=_quietly, args=(store.ping, 10)) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: _check(proxy.accepted == 3))

    # When somebody sends with little time, then it does not wait for them
    def send() -> None:
        with pytest.raises(PublishTimeout):
            store.broker.send([message()], timeout=0.2)

    assert _took(send) < 0.2 + SLACK
    proxy.refuse()
    for thread in threads:
        thread.join(10)


def _quietly(call: Callable[..., Any], *args: Any) -> None:
    try:
        call(*args)
    except OperationalError:
        return


def _check(fact: bool) -> None:
    assert fact


# -- comes back by itself -------------------------------------------------------------------------------------------


def test_other_calls_end_within_the_timeout_of_the_store(proxy: Proxy, redis_url: str, open_store: OpenStore) -> None:
    store = open_store(proxy.through(redis_url), timeout=0.2)
    store.broker.open("me", worker="w", slots=1, lease=60)
    proxy.black_hole()
    calls: list[Callable[[], Any]] = [
        lambda: store.broker.turn([], "me", ["q"], 1),
        lambda: store.broker.renew(["me"], 30),
        lambda: store.results.get(["a"]),
        lambda: store.results.wait(["a"], 5),
        lambda: store.locks.acquire("l", "me", 5),
        lambda: store.bus.subscribe(["c"]),
        lambda: store.ping(0.2),
    ]
    for call in calls:

        def fails(call: Callable[[], Any] = call) -> None:
            with pytest.raises(StoreUnavailable):
                call()

        assert _took(fails) < 0.2 + SLACK


@pytest.mark.promise("B03")
def test_the_next_call_after_a_restart_works(own_redis: RedisServer, open_store: OpenStore) -> None:
    # Given a message that was sent, and a server that dies and comes back
    store = open_store(own_redis.url)
    store.broker.send([message(body="kept")])
    own_redis.kill()
    with pytest.raises(StoreUnavailable):
        store.ping(1)
    own_redis.start()
    # When the same store goes on, then it is all there, scripts included
    store.broker.open("me", worker="w", slots=1, lease=60)
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    assert delivery.message is not None
    assert delivery.message.body == b"kept"


def test_a_connection_that_the_server_has_closed_is_not_used(redis_server: RedisServer, store: RedisStore) -> None:
    # Given an idle connection that the server closes
    store.ping(5)
    redis_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    [connection] = store._client.pool._idle
    connection.used = -1e9
    # When the store is used after a while, then it takes another, and nobody notices
    store.broker.send([message()])
    assert connection not in store._client.pool._idle
    assert store.broker.stats(["q"])[0].ready == 1


def test_a_script_that_the_server_has_forgotten_is_loaded_again(redis_server: RedisServer, store: RedisStore) -> None:
    store.broker.open("me", worker="w", slots=1, lease=60)
    redis_server.command("SCRIPT", "FLUSH")
    store.broker.open("me", worker="w", slots=1, lease=60)
    assert [each.owner for each in store.broker.owners()] == ["me"]


def test_a_reply_that_is_cut_in_the_middle_ends_the_connection(
    proxy: Proxy, redis_url: str, open_store: OpenStore
) -> None:
    store = open_store(proxy.through(redis_url))
    store.results.store([document("a", value="x" * 10_000)])
    proxy.cut_after(500)
    with pytest.raises(StoreUnavailable):
        store.results.get(["a"])
    proxy.pass_on()
    assert set(store.results.get(["a"])) == {"a"}


@pytest.mark.promise("B03")
def test_a_turn_whose_answer_was_cut_can_be_taken_up(proxy: Proxy, redis_url: str, open_store: OpenStore) -> None:
    # Given a child whose turn happens, but whose answer is cut
    store, other = open_store(proxy.through(redis_url)), open_store(redis_url)
    store.broker.open("me", worker="w", slots=1, lease=60)
    other.broker.send([message(body="1"), message(body="2" * 5000)])
    [first] = store.broker.turn([], "me", ["q"], 1).deliveries
    proxy.cut_after(300)
    settlement = Settlement(lease=first.lease, result=document("t"))
    with pytest.raises(StoreUnavailable):
        store.broker.turn([settlement], "me", ["q"], 5)
    proxy.pass_on()
    # When it asks again, then the refusal proves that it was done, and held tells what came
    turn = store.broker.turn([settlement], "me", ["q"], 5)
    assert (turn.refused, turn.deliveries) == ([first.lease], [])
    assert [len(each.message.body) for each in store.broker.held("me") if each.message] == [5000]
    assert set(store.results.get(["t"])) == {"t"}


@pytest.mark.promise("B03")
def test_a_wait_ends_when_the_connection_breaks(proxy: Proxy, redis_url: str, open_store: OpenStore) -> None:
    store = open_store(proxy.through(redis_url))
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.turn([], "me", ["q"], 1)
    timer = threading.Timer(0.1, proxy.refuse)
    timer.start()
    with pytest.raises(StoreUnavailable):
        store.broker.wait(["q"], 20)
    timer.join()


@pytest.mark.promise("B03")
def test_waits_for_results_and_watches_go_on_when_the_connection_breaks(
    proxy: Proxy, redis_url: str, open_store: OpenStore
) -> None:
    # Given threads that wait, and a watch
    store, other = open_store(proxy.through(redis_url)), open_store(redis_url)
    told: list[str] = []
    store.results.watch(["watched"], lambda task_id, _: told.append(task_id))
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda name: found.extend(store.results.wait([name], 20)), args=(f"t{n}",))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: _check(len(store.results._listener._wants) == 5))
    # When the connection breaks and nobody can be reached for a while, in which one of the results comes
    proxy.reset()
    proxy.refuse()
    other.results.store([document("t0")])
    eventually(lambda: _check(not store.results._listener._connection))
    proxy.pass_on()
    # Then all hear of theirs
    other.results.store([document(name) for name in ("t1", "t2", "t3", "watched")])
    for thread in threads:
        thread.join(20)
    assert sorted(found) == ["t0", "t1", "t2", "t3"]
    eventually(lambda: _check(told == ["watched"]))


def test_a_wait_that_was_cut_off_ends_with_its_time(proxy: Proxy, redis_url: str, open_store: OpenStore) -> None:
    store = open_store(proxy.through(redis_url))
    timer = threading.Timer(0.1, proxy.refuse)
    timer.start()
    assert store.results.wait(["t"], 1.0) == {}
    timer.join()
    # But who finds nobody there when it begins is told
    with pytest.raises(StoreUnavailable):
        store.results.wait(["t"], 1.0)


def test_closing_the_store_ends_waits(redis_url: str, open_store: OpenStore) -> None:
    store = open_store(redis_url)
    timer = threading.Timer(0.2, store.close)
    timer.start()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.results.wait(["t"], 20)
    timer.join()


# -- the server says no ---------------------------------------------------------------------------------------------


@pytest.mark.promise("X03")
def test_a_missing_or_wrong_password_is_said_with_the_mend(
    server: Callable[..., RedisServer], open_store: OpenStore
) -> None:
    locked = server(requirepass="right")
    at = f"127.0.0.1:{locked.port}/0"
    with pytest.raises(ImproperlyConfigured, match="wants a password"):
        open_store(f"redis://{at}").ping(5)
    with pytest.raises(ImproperlyConfigured, match="does not accept") as caught:
        open_store(f"redis://:canary@{at}").ping(5)
    assert "canary" not in str(caught.value)
    open_store(locked.url).ping(5)
    open_store(f"redis://default:right@{at}").ping(5)


@pytest.mark.one_server
def test_a_database_that_does_not_exist_is_said(redis_server: RedisServer, open_store: OpenStore) -> None:
    with pytest.raises(StoreError, match="out of range"):
        open_store(redis_server.url_of(99999)).ping(5)


def test_a_full_server_is_said_and_settling_still_works(
    server: Callable[..., RedisServer], open_store: OpenStore
) -> None:
    # Given a delivery, and a server whose memory is full
    full = server(maxmemory_policy="noeviction")
    store = open_store(full.url)
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message()])
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    full.command("CONFIG", "SET", "maxmemory", "1")
    # When something is sent, then it is refused; what is done can be settled, its result with it
    with pytest.raises(StoreFull):
        store.broker.send([message()])
    assert store.broker.settle([Settlement(lease=delivery.lease, result=document("t"))]) == []
    assert set(store.results.get(["t"])) == {"t"}


def test_a_replica_is_no_place_to_send_to(server: Callable[..., RedisServer], open_store: OpenStore) -> None:
    replica = server(replicaof="127.0.0.1 1", replica_serve_stale_data="yes")
    with pytest.raises(StoreUnavailable):
        open_store(replica.url).broker.send([message()])


def test_a_queue_whose_name_is_taken_by_something_else_is_said(
    redis_server: RedisServer, redis_url: str, store: RedisStore
) -> None:
    redis_server.command("SET", "q", "a string", db=database_of(redis_url))
    with pytest.raises(StoreError, match="WRONGTYPE"):
        store.broker.send([message()])


@pytest.mark.promise("B08")
def test_a_message_that_is_too_large_is_refused_before_anything_is_sent(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "MAX_MESSAGE", 1000)
    with pytest.raises(MessageTooLarge, match="1000"):
        store.broker.send([message(body="fits"), message(body="x" * 2000)])
    [numbers] = store.broker.stats(["q"])
    assert numbers.ready == 0


@pytest.mark.promise("B07")
def test_a_server_that_may_lose_tasks_is_named(server: Callable[..., RedisServer], open_store: OpenStore) -> None:
    careless = server(maxmemory="100mb", maxmemory_policy="allkeys-lru", appendonly="no")
    sound = server(durable=True)
    assert len(open_store(careless.url).concerns()) == 2
    assert open_store(sound.url).concerns() == []


# -- other ways to connect ------------------------------------------------------------------------------------------


@pytest.mark.one_server
def test_a_local_socket_works(own_redis: RedisServer, open_store: OpenStore) -> None:
    open_store(own_redis.socket_url).broker.send([message()])
    assert open_store(own_redis.url).broker.stats(["q"])[0].ready == 1


def test_tls_works_for_turns_waits_and_results(server: Callable[..., RedisServer], open_store: OpenStore) -> None:
    # Given a server that speaks TLS only to those who trust it
    cert, key = str(TLS / "cert.pem"), str(TLS / "key.pem")
    port = free_port()
    secure = server(tls_port=port, tls_cert_file=cert, tls_key_file=key, tls_ca_cert_file=cert, tls_auth_clients="no")
    store = open_store(f"rediss://localhost:{port}/0", ssl_ca_certs=cert)
    with pytest.raises(ImproperlyConfigured, match="ssl_ca_certs"):
        open_store(f"rediss://localhost:{port}/0").ping(5)
    # When a child waits there, then it is woken, large messages pass, and waiting for results works
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.turn([], "me", ["q"], 1)
    other = open_store(secure.url)
    other.broker.send([message(body="x" * 300_000)])
    assert store.broker.wait(["q"], 20) is True
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    assert delivery.message is not None
    assert len(delivery.message.body) == 300_000
    timer = threading.Timer(0.1, other.results.store, [[document("t", value="x" * 300_000)]])
    timer.start()
    assert set(store.results.wait(["t"], 20)) == {"t"}
    timer.join()


def test_a_forked_child_that_goes_on_with_its_parents_store_harms_nobody(store: RedisStore) -> None:
    # Given a store with connections of the parent
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.turn([], "me", ["q"], 1)
    store.results.store([document("a")])
    store.results.wait(["a"], 5)
    # When a child uses it all the same
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            store.broker.send([message(body="of the child")])
            store.broker.wait(["q"], 0.01)
            assert store.results.wait(["a"], 5)
            store.close()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    # Then the parent's connections are as they were, and hear of it
    assert os.waitstatus_to_exitcode(status) == 0
    assert store.broker.wait(["q"], 20) is True
    assert len(store.broker.turn([], "me", ["q"], 1).deliveries) == 1
    assert store.results.wait(["a"], 5)
