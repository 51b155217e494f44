"""What an orderly end leaves behind on RabbitMQ: nothing that comes again. The server is slow at the worst moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo.stores.base import Delivery, Store
from talo.stores.rabbitmq import RabbitStore
from talo.testing.contract._support import bodies, end, message
from tests.chaos.kit import check
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitServer
from tests.support import eventually
from tests.workers import Worker, client

#: Of ``basic.ack``, as it stands in a frame.
ACK = b"\x00\x3c\x00\x50"
#: A busy machine takes seconds for a command to the server; what waits for it has to be patient.
LONG = 120.0


@pytest.fixture
def vhost(rabbit_server: RabbitServer) -> str:
    return rabbit_server.new_vhost()


@pytest.fixture(params=["quorum", "classic"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def watching(rabbit_server: RabbitServer, vhost: str, kind: str) -> Iterator[Store]:
    """Who sends, and sees what comes again."""
    store = RabbitStore(rabbit_server.url_of(vhost), queue_type=kind, timeout=LONG)
    yield store
    store.close()


def all_of(store: Store, last: str) -> list[str]:
    """What comes until ``last``, which is sent now, and what stands behind it."""
    store.broker.send([message(body=last)])
    store.broker.open("you", worker="w", slots=1, lease=60)
    came: list[str] = []

    def turn() -> None:
        found = store.broker.turn([], "you", ["q"], 8).deliveries
        came.extend(bodies(found))
        store.broker.settle([end(each) for each in found])
        check(last in came and not found)

    eventually(turn, LONG)
    return came


def fetched(store: Store, count: int) -> list[Delivery]:
    held: list[Delivery] = []

    def some() -> None:
        held.extend(store.broker.turn([], "me", ["q"], min(4, count - len(held))).deliveries)
        check(len(held) == count)

    eventually(some, LONG)
    return held


def in_the_background(work: object) -> threading.Thread:
    assert callable(work)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_what_an_owner_gives_back_at_its_end_does_not_come_twice(
    rabbit_server: RabbitServer, vhost: str, kind: str, watching: Store
) -> None:
    its = f'[P || P <- rabbit_channel:list(), rabbit_channel:info(P, [vhost]) =:= [{{vhost, <<"{vhost}">>}}]]'
    key = f'<<"{vhost}">>'
    ending, held_up = threading.Event(), threading.Event()

    def hear(data: bytes) -> None:
        # What an ending owner has got it sends once more, and then acknowledges: there the server stands still.
        if ending.is_set() and ACK in data and not held_up.is_set():
            rabbit_server.eval(f"Held = {its}, persistent_term:put({key}, Held), [sys:suspend(P) || P <- Held].")
            held_up.set()

    with Proxy("127.0.0.1", rabbit_server.port, hear=hear) as proxy:
        # Given an owner that has ended many tasks, while more are ready
        url = rabbit_server.url_of(vhost, port=proxy.port)
        store = RabbitStore(url, queue_type=kind, timeout=LONG)
        store.broker.open("me", worker="w", slots=1, lease=60)
        watching.broker.send([message(body=str(n)) for n in range(60)])
        for each in reversed(fetched(store, 40)):
            store.broker.settle([end(each)])
        # When it ends, and the server is slow to take its last words
        store.broker.stats(["q"])  # all that was said before has passed
        ending.set()

        def leave() -> None:
            store.broker.close_owner("me")
            store.close()

        leaving = in_the_background(leave)
        eventually(lambda: check(held_up.is_set()), LONG)
        leaving.join(0.5)
        rabbit_server.eval(f"[catch sys:resume(P) || P <- persistent_term:get({key})].")
        leaving.join(LONG)
    # Then each message comes once, those that it had in hand first
    assert all_of(watching, "last") == [*map(str, range(40, 60)), "last"]


@pytest.mark.parametrize("kind", ["quorum"], indirect=True)
def test_suspects_that_have_ended_do_not_come_again(
    rabbit_server: RabbitServer, vhost: str, kind: str, watching: Store
) -> None:
    # Given an owner that holds many suspects
    store = RabbitStore(rabbit_server.url_of(vhost), queue_type=kind, timeout=LONG)
    store.broker.open("dead", worker="w", slots=1, lease=60)
    store.broker.send([message(body=str(n)) for n in range(50)])
    for _ in range(2):
        store.broker.turn([], "dead", ["q"], 25)
    store.close()
    store.broker.open("me", worker="w", slots=1, lease=60)
    suspects = fetched(store, 50)
    assert all(each.suspect for each in suspects)
    # When they end while the server is slow to write that down, and then their owner
    queue = f"'{vhost}_talo.suspect.q'"
    rabbit_server.eval(f"sys:suspend({queue}).")
    store.broker.settle([end(each) for each in reversed(suspects)])

    def leave() -> None:
        store.broker.close_owner("me")
        store.close()

    leaving = in_the_background(leave)
    leaving.join(0.5)
    rabbit_server.eval(f"sys:resume({queue}).")
    leaving.join(LONG)
    # Then none of them comes again
    assert all_of(watching, "last") == ["last"]


@pytest.mark.promise("L07")
@pytest.mark.parametrize("why", ["tasks", "memory"])
def test_children_that_are_replaced_repeat_nothing_and_cut_nothing_short(
    rabbit_server: RabbitServer, vhost: str, kind: str, why: str, tmp_path: Path
) -> None:
    url, results = rabbit_server.url_of(vhost), f"sqlite:///{tmp_path}/results.sqlite3"
    words = {"tasks": ("--max-tasks-per-child", "3"), "memory": ("--max-memory-per-child", "300000")}[why]
    with client(url, results, task_default_queue_type=kind) as app:
        # Given work, short and long, some of which takes memory and keeps it
        ids = [app.send_task("tests.apps.traced.nap", (0.3 if n % 6 == 0 else 0.0,)).id for n in range(30)]
        hogs = [app.send_task("tests.apps.traced.hog", (150,)) for _ in range(8)]
        ids += [app.send_task("tests.apps.traced.nap", (0.0,)).id for _ in range(10)]
        # When children are replaced all the time
        env = {"TALO_TASK_DEFAULT_QUEUE_TYPE": kind}
        with Worker(url, tmp_path, "-c", "2", *words, results=results, env=env) as worker:
            pids = {each.get(timeout=LONG) for each in hogs}
            eventually(lambda: check(set(ids) <= worker.trace.count("end").keys()), LONG)
            assert worker.stop(LONG) == 0
        # Then each task began once and ended once, in one process of several,
        assert len(pids) >= 3
        for word in ("start", "end"):
            assert worker.trace.count(word) == dict.fromkeys(ids, 1)
        # and nothing is left, or held to have been lost
        assert [each.ready for each in app.store.broker.stats(["celery"])] == [0]
        assert app.store.broker.dead() == []
        assert "lost its process" not in worker.output()
