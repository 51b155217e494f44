"""Who is woken by what, over how many connections, and at what cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from talo.stores.base import Settlement
from talo.stores.redis import RedisStore
from talo.stores.redis.peek import is_ready
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.unit.redis.conftest import OpenStore
from tests.unit.redis.messages import document, message

LONG = 20.0


def _clients(server: RedisServer) -> int:
    return server.command("CLIENT", "LIST").count(b"name=talo")


def _commands(server: RedisServer) -> int:
    for line in server.command("INFO", "stats").splitlines():
        if line.startswith(b"total_commands_processed:"):
            return int(line.partition(b":")[2])
    raise AssertionError("INFO says nothing of commands")


@pytest.mark.promise("M07")
def test_waiting_causes_no_traffic(own_redis: RedisServer, open_store: OpenStore) -> None:
    store = open_store(own_redis.url)
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.turn([], "me", ["q"], 1)
    before = _commands(own_redis)
    assert store.broker.wait(["q"], 0.3) is False
    # The two SELECTs and the INFO itself are the test's own.
    assert _commands(own_redis) - before <= 2


def test_ones_own_settlements_and_foreign_keys_do_not_wake(
    store: RedisStore, redis_url: str, open_store: OpenStore
) -> None:
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message()])
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    store.broker.turn([Settlement(lease=delivery.lease)], "me", ["q"], 1)
    # Given results and owners that were read on the same connection and change
    store.results.get(["t"])
    other = open_store(redis_url)
    other.results.store([document("t")])
    other.broker.renew(["me"], 60)
    # Then nothing of it ends the wait
    assert store.broker.wait(["q"], 0.2) is False


def test_a_turn_that_did_not_empty_the_lists_does_not_let_the_caller_sleep(store: RedisStore) -> None:
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message(), message()])
    store.broker.turn([], "me", ["q"], 1)
    assert store.broker.wait(["q"], LONG) is True


@pytest.mark.parametrize("where", ["ready", "delayed"])
def test_without_the_servers_help_waiting_is_a_bounded_poll(
    own_redis: RedisServer, open_store: OpenStore, where: str
) -> None:
    # Given a server that refuses to tell of changes
    own_redis.command("ACL", "SETUSER", "plain", "on", ">pw", "~*", "&*", "+@all", "-client|tracking")
    store = open_store(own_redis.url_of(0, login="plain:pw"))
    store.broker.open("me", worker="w", slots=1, lease=60)
    assert store.broker.turn([], "me", ["q"], 1).deliveries == []
    open_store(own_redis.url).broker.send([message(due=time.time() + 0.05 if where == "delayed" else None)])
    # When it waits and asks again as it is told to, then it gets the message
    deadline = time.monotonic() + LONG
    while not store.broker.turn([], "me", ["q"], 1).deliveries:
        assert time.monotonic() < deadline
        store.broker.wait(["q"], LONG)
    # And a wait for nothing says so
    store.broker.turn([], "me", ["q"], 1)
    assert store.broker.wait(["q"], 0.05) is False


def test_several_threads_may_wait_at_once_while_others_send(store: RedisStore) -> None:
    # Given more threads that wait than there are connections
    found: list[bytes] = []

    def work(n: int) -> None:
        owner, deadline = f"owner{n}", time.monotonic() + LONG
        store.broker.open(owner, worker="w", slots=1, lease=60)
        while time.monotonic() < deadline:
            for each in store.broker.turn([], owner, [f"q{n}"], 1).deliveries:
                assert each.message is not None
                found.append(each.message.body)
                return
            store.broker.wait([f"q{n}"], LONG)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    # When each gets one
    for n in range(8):
        store.broker.send([message(f"q{n}", str(n))])
    for thread in threads:
        thread.join(LONG)
    # Then each was woken
    assert sorted(found) == [b"%d" % n for n in range(8)]


@pytest.mark.promise("B05")
def test_a_child_has_one_connection(own_redis: RedisServer, open_store: OpenStore) -> None:
    store = open_store(own_redis.url)
    store.broker.open("me", worker="w", slots=1, lease=60)
    for n in range(5):
        store.broker.send([message(body=str(n))])
        [delivery] = store.broker.turn([], "me", ["q"], 5).deliveries
        store.results.get(["a"])
        store.locks.marked("revoked", ["a"])
        store.broker.turn([Settlement(lease=delivery.lease, result=document("t"))], "me", ["q"], 5)
        store.broker.wait(["q"], 0.01)
    assert _clients(own_redis) == 1


@pytest.mark.promise("B05")
def test_a_crowd_of_threads_shares_few_connections(own_redis: RedisServer, open_store: OpenStore) -> None:
    # Given 64 threads that each send, wait for results, and read them
    store, other = open_store(own_redis.url), open_store(own_redis.url)
    errors: list[BaseException] = []
    most = 0

    def live(n: int) -> None:
        try:
            for k in range(10):
                store.broker.send([message(id=f"t{n}-{k}")])
                assert set(store.results.wait([f"t{n}-{k}"], LONG)) == {f"t{n}-{k}"}
                assert set(store.results.get([f"t{n}-{k}"])) == {f"t{n}-{k}"}
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=live, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    # When a worker does what they send
    other.broker.open("me", worker="w", slots=1, lease=60)
    done, settlements, deadline = 0, list[Settlement](), time.monotonic() + LONG
    while done < 640 and time.monotonic() < deadline:
        deliveries = other.broker.turn(settlements, "me", ["q"], 100).deliveries
        settlements = [
            Settlement(lease=each.lease, result=document(each.message.id or "")) for each in deliveries if each.message
        ]
        done += len(deliveries)
        if not deliveries and not settlements:
            other.broker.wait(["q"], 1)
        most = max(most, _clients(own_redis))
    other.broker.settle(settlements)
    for thread in threads:
        thread.join(LONG)
    # Then all got what they waited for, over three connections to send, one to listen, and the worker's
    assert errors == []
    assert most <= 5


def test_the_wait_is_handed_over_when_its_leader_has_what_it_wanted(
    store: RedisStore, redis_url: str, open_store: OpenStore
) -> None:
    other = open_store(redis_url)
    order: list[str] = []

    def wait(name: str) -> None:
        order.extend(store.results.wait([name], LONG))

    threads = [threading.Thread(target=wait, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    eventually(lambda: _all_wait(store, 3))
    for at, name in enumerate("abc"):
        other.results.store([document(name)])
        eventually(lambda: _have(order, at + 1))
    for thread in threads:
        thread.join(LONG)
    assert order == ["a", "b", "c"]


def _all_wait(store: RedisStore, count: int) -> None:
    assert len(store.results._listener._wants) == count


def _have(found: list[str], count: int) -> None:
    assert len(found) == count


def test_who_comes_back_for_the_rest_misses_nothing(store: RedisStore, redis_url: str, open_store: OpenStore) -> None:
    # Given a caller that waits for many, as a group does
    other = open_store(redis_url)
    left = {f"t{n}" for n in range(50)}
    thread = threading.Thread(target=lambda: [other.results.store([document(each)]) for each in sorted(left)])
    asked = sorted(left)
    thread.start()
    # When it takes what is ready and comes back for the rest, then it gets all of it
    found: set[str] = set()
    while len(found) < len(asked):
        ready = store.results.wait([each for each in asked if each not in found], LONG)
        assert ready
        found.update(ready)
    thread.join(LONG)


def test_a_forgotten_result_is_not_remembered_by_the_wait(store: RedisStore) -> None:
    assert store.results.wait(["t", "u"], 0.05) == {}
    store.results.store([document("t")])
    store.results.forget(["t"])
    assert store.results.wait(["t"], 0.1) == {}


def test_a_wait_that_ran_out_leaves_no_thread_and_no_wish(store: RedisStore) -> None:
    store.results.watch(["t"], lambda *_: None).cancel()
    assert store.results.wait(["t"], 0.05) == {}
    _all_wait(store, 0)

    def gone() -> None:
        assert "talo-redis-results" not in {thread.name for thread in threading.enumerate()}

    eventually(gone)


def test_closing_ends_what_waits(store: RedisStore) -> None:
    ended = threading.Event()

    def wait() -> None:
        try:
            store.results.wait(["t"], LONG)
        finally:
            ended.set()

    hidden: Callable[[threading.ExceptHookArgs], object] = threading.excepthook
    threading.excepthook = lambda _: None
    try:
        thread = threading.Thread(target=wait)
        thread.start()
        eventually(lambda: _all_wait(store, 1))
        store.close()
        assert ended.wait(LONG)
        thread.join(LONG)
    finally:
        threading.excepthook = hidden
    store.ping(5)


@pytest.mark.parametrize(
    ("payload", "ready"),
    [
        (b'{"status": "SUCCESS", "result": 1}', True),
        (b'{"result": {"status": "SUCCESS"}, "status": "STARTED"}', False),
        (b'{"status": "REVOKED"}', True),
        (b'{"status": "PROGRESS"}', False),
        (b"\x82\xa6status\xa7SUCCESS\xa6result\x01", True),
        (b"\x82\xa6status\xa7STARTED\xa6result\x01", False),
        (b"status: RETRY\nresult: null\n", False),
        (b"status: FAILURE\nresult: null\n", True),
        (b"\x80\x02}q\x00(X\x06\x00\x00\x00statusq\x01X\x07\x00\x00\x00STARTEDq\x02u.", False),
        (b"\x80\x02}q\x00(X\x06\x00\x00\x00statusq\x01X\x07\x00\x00\x00SUCCESSq\x02u.", True),
        (b"\xff\xfe what is this", True),
    ],
)
def test_only_states_that_end_a_task_end_a_wait(payload: bytes, ready: bool) -> None:
    assert is_ready(payload) is ready
