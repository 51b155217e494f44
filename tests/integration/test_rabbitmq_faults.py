"""What is lost when a child of a worker on RabbitMQ dies, or is too slow: nothing that was confirmed. (Its server and
connections: ``tests/chaos/test_store_away``.)"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import Talo
from talo.errors import OperationalError
from talo.stores.base import Store
from tests.servers.rabbitmq import RabbitServer
from tests.support import eventually
from tests.workers import Worker, client


def _settled(worker: Worker, ids: set[str], timeout: float) -> None:
    def all_ended() -> None:
        missing = ids - set(worker.trace.count("end"))
        assert not missing, f"{len(missing)} of {len(ids)} have not ended\n{worker.output()[-3000:]}"

    eventually(all_ended, timeout=timeout, interval=0.1)


def _drained(store: Store) -> None:
    def empty() -> None:
        assert [each.ready for each in store.broker.stats(["celery"])] == [0]

    eventually(empty, timeout=30, interval=0.2)


def _send(app: Talo, count: int) -> set[str]:
    """Send until so many are confirmed; what raises was not promised."""
    sent: set[str] = set()
    while len(sent) < count:
        try:
            sent.add(app.send_task("tests.apps.traced.noop").id)
        except OperationalError:
            time.sleep(0.05)
    return sent


@pytest.fixture
def worker(rabbit_url: str, tmp_path: Path) -> Iterator[Worker]:
    with Worker(rabbit_url, tmp_path, "-c", "2") as worker:
        yield worker


def test_children_that_are_killed_lose_nothing(rabbit_url: str, worker: Worker) -> None:
    with client(rabbit_url) as app:
        sent: set[str] = set()
        for _ in range(5):
            sent |= _send(app, 300)
            os.kill(worker.children()[0], signal.SIGKILL)
        _settled(worker, sent, 60)


@pytest.mark.promise("D05")
def test_a_poison_pill_starts_three_times_at_most_and_harms_nobody(
    rabbit_url: str,
    worker: Worker,
) -> None:
    # Given a task that kills its process, among good ones
    with client(rabbit_url) as app:
        before = _send(app, 500)
        pill = app.send_task("tests.apps.traced.poison").id
        after = _send(app, 500)
        # Then the good ones end, and the pill is a dead letter
        _settled(worker, before | after, 60)

        def dead() -> str:
            [letter] = app.store.broker.dead()
            return f"{letter.death.reason} {letter.death.task_id}"

        def is_dead() -> None:
            assert app.store.broker.dead(), worker.output()[-2000:]

        eventually(is_dead, timeout=30, interval=0.2)
        assert dead() == f"worker_lost {pill}"
        # What stood in a lost batch is charged as if it had run: three at most
        assert 1 <= worker.trace.count("start")[pill] <= 3


def test_what_may_start_once_is_recorded_as_lost(rabbit_url: str, worker: Worker) -> None:
    # Given a task that must never start twice, running
    with client(rabbit_url) as app:
        task_id = app.send_task("tests.apps.traced.once", (60.0,)).id

        def running() -> None:
            assert worker.trace.count("start")[task_id] == 1

        eventually(running, timeout=20)
        # When its process is killed
        for pid in worker.children():
            os.kill(pid, signal.SIGKILL)

        # Then it does not start again, and is a dead letter
        def lost() -> None:
            assert [(each.death.reason, each.death.task_id) for each in app.store.broker.dead()] == [
                ("worker_lost", task_id)
            ]

        eventually(lost, timeout=30, interval=0.2)
        assert worker.trace.count("start")[task_id] == 1


def test_a_task_that_may_run_for_longer_than_the_server_waits_is_named_at_start(
    rabbit_url: str,
    tmp_path: Path,
) -> None:
    with Worker(rabbit_url, tmp_path, "-c", "1", "--time-limit", "3600") as worker:
        assert "consumer_timeout" in worker.output()


@pytest.mark.promise("D13")
def test_what_the_server_hands_out_again_too_early_settles_once(
    own_rabbit: RabbitServer,
    tmp_path: Path,
) -> None:
    # Given a server that waits for two seconds only, and a task that takes longer
    for name, milliseconds in (("consumer_timeout", 2000), ("channel_tick_interval", 500)):
        own_rabbit.eval(f"application:set_env(rabbit, {name}, {milliseconds}).")
    url = own_rabbit.url_of()
    with Worker(url, tmp_path, "-c", "2", "--time-limit", "3600") as worker, client(url) as app:
        # Then it was named at the start
        assert "consumer_timeout" in worker.output()
        task_id = app.send_task("tests.apps.traced.nap", (6.0,)).id

        # And it is cut off, and ends once, as a dead letter, instead of starting for ever
        def dead() -> None:
            assert [each.death.reason for each in app.store.broker.dead()] == ["worker_lost"]

        eventually(dead, timeout=60, interval=0.3)
        assert worker.trace.count("start")[task_id] == 3
        _drained(app.store)


def test_a_worker_has_one_connection_for_each_child_and_two_more(
    rabbit_server: RabbitServer, rabbit_url: str, worker: Worker
) -> None:
    vhost = rabbit_url.rsplit("/", 1)[1]
    with client(rabbit_url) as app:
        _settled(worker, _send(app, 50), 30)

    def few() -> None:
        listed = rabbit_server.ctl("list_connections", "vhost", "--no-table-headers").split()
        assert 0 < listed.count(vhost) <= 2 + 2

    # The client's own ends meanwhile
    eventually(few, timeout=30)


def test_what_waits_behind_a_long_task_is_run_by_another(rabbit_url: str, worker: Worker) -> None:
    with client(rabbit_url) as app:
        # Given quick tasks, so that much is fetched at a time, a long one among them
        warm = _send(app, 400)
        app.send_task("tests.apps.traced.nap", (20.0,))
        quick = _send(app, 400)
        # Then the long one holds up nobody
        _settled(worker, warm | quick, 15)
