"""What was said to workers outlasts them, on every store: pauses, and their number of processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talo.app.app import Talo
from talo.errors import OperationalError
from tests.acceptance.conftest import ONE_OF_EACH, named
from tests.chaos.kit import full
from tests.servers.rabbitmq import RabbitServer
from tests.support import eventually
from tests.workers import Trace, Worker, client

LONG = 60.0
TRACED = "tests.apps.traced"
Urls = tuple[str, str | None]


@pytest.fixture
def app(urls: Urls) -> Iterator[Talo]:
    with client(*urls) as app:
        app.store.broker.purge(["celery", "open"])  # SQS is one for the whole session
        yield app


def worker_of(urls: Urls, tmp_path: Path, *arguments: str, name: str = "w") -> Worker:
    return Worker(urls[0], tmp_path, *arguments, results=urls[1], name=name, env={"TALO_WORKER_LEASE": "3"})


def check(fact: object) -> None:
    assert fact


def begun(trace: Trace, ids: list[str]) -> list[str]:
    """Those of these tasks that have begun, in the order in which they did last."""
    times = trace.times("start")
    return sorted(times.keys() & set(ids), key=lambda task_id: times[task_id])


@pytest.mark.promise("F08")
@pytest.mark.parametrize("urls", ONE_OF_EACH, indirect=True, ids=named)
def test_a_pause_outlasts_every_worker(urls: Urls, app: Talo, tmp_path: Path) -> None:
    slot = ("-c", "1", "-Q", "celery,open")
    # Given a worker in the middle of its work
    with worker_of(urls, tmp_path, *slot) as worker:
        naps = [app.send_task(f"{TRACED}.nap", (0.02,)).id for _ in range(80)]
        eventually(lambda: check(len(begun(worker.trace, naps)) >= 5), LONG)
        # When the queue is paused, and a type of task, the worker is killed, and more is sent
        app.control.pause("celery", tasks=[f"{TRACED}.noop"])
        worker.signal(signal.SIGKILL, group=True)
        worker.wait()
        before = begun(worker.trace, naps)
        naps += [app.send_task(f"{TRACED}.nap", (0.02,)).id for _ in range(20)]
        noops = [app.send_task(f"{TRACED}.noop", queue="open").id for _ in range(5)]
    # Then new workers, which do what is not paused, start nothing of it,
    with worker_of(urls, tmp_path, *slot, name="one") as one, worker_of(urls, tmp_path, *slot, name="two") as two:
        for _ in range(10):
            assert app.send_task(f"{TRACED}.add", (1, 1), queue="open").get(timeout=LONG) == 2
        assert begun(one.trace, naps) == before
        assert begun(one.trace, noops) == []
        assert app.control.paused() == (["celery"], [f"{TRACED}.noop"])
        # until it goes on, with what the dead had fetched put back: then all of it runs,
        two.stop()
        eventually(lambda: check(not app.store.broker.stats(["celery"])[0].leased), LONG)
        app.control.resume("celery", tasks=[f"{TRACED}.noop"])
        eventually(lambda: check({*naps, *noops} <= one.trace.count("end").keys()), LONG)
    # and what waited in the queue does so in its order, where its broker knows one.
    if not urls[0].startswith("sqs"):
        assert begun(one.trace, naps) == naps


@pytest.mark.promise("F08")
def test_a_pause_outlasts_a_broker_that_keeps_none(own_rabbit: RabbitServer, redis_url: str, tmp_path: Path) -> None:
    urls = own_rabbit.url, redis_url
    with client(*urls) as app, worker_of(urls, tmp_path, "-c", "1", "-Q", "celery,open") as worker:
        # Given a worker in the middle of its work, whose queue is paused, and a type of task
        naps = [app.send_task(f"{TRACED}.nap", (0.02,)).id for _ in range(60)]
        eventually(lambda: check(len(begun(worker.trace, naps)) >= 5), LONG)
        app.control.pause("celery", tasks=[f"{TRACED}.noop"])
        naps += [app.send_task(f"{TRACED}.nap", (0.02,)).id for _ in range(20)]
        noops = [app.send_task(f"{TRACED}.noop", queue="open").id for _ in range(5)]
        assert app.send_task(f"{TRACED}.add", (1, 1), queue="open").get(timeout=LONG) == 2
        before = begun(worker.trace, naps)
        # When the broker goes away and comes back
        own_rabbit.stop()
        own_rabbit.start()
        # Then nothing of it begins, while other work is done,
        for _ in range(10):
            assert eventually(lambda: sent(app), LONG).get(timeout=LONG) == 2
        assert begun(worker.trace, naps) == before
        assert begun(worker.trace, noops) == []
        # until it goes on: each runs once, and the queue in its order
        app.control.resume("celery", tasks=[f"{TRACED}.noop"])
        eventually(lambda: check({*naps, *noops} <= worker.trace.count("end").keys()), LONG)
        assert begun(worker.trace, naps) == naps
        assert worker.trace.count("start") == dict.fromkeys([*naps, *noops], 1)


def sent(app: Talo) -> Any:
    try:
        return app.send_task(f"{TRACED}.add", (1, 1), queue="open")
    except OperationalError as error:
        raise AssertionError from error


@pytest.mark.promise("F08")
@pytest.mark.parametrize("urls", ONE_OF_EACH, indirect=True, ids=named)
def test_slots_that_a_command_adds_work_at_once(urls: Urls, app: Talo, tmp_path: Path) -> None:
    with worker_of(urls, tmp_path, "-c", "4") as worker:
        # Given four slots that are busy, and four tasks that wait
        naps = [app.send_task(f"{TRACED}.nap", (LONG,)).id for _ in range(8)]
        eventually(lambda: check(len(begun(worker.trace, naps)) == 4), LONG)
        # When the worker is told to have eight
        since = time.time()
        app.control.pool_grow(4, destination=["w@test"])
        # Then all of them run, and have begun in time
        eventually(lambda: check(len(begun(worker.trace, naps)) == 8), LONG)
        assert max(worker.trace.times("start").values()) - since < full(3.0, LONG)


@pytest.mark.promise("F08")
@pytest.mark.parametrize("urls", ONE_OF_EACH, indirect=True, ids=named)
def test_the_number_of_processes_that_was_said_outlasts_a_worker(urls: Urls, app: Talo, tmp_path: Path) -> None:
    def number(worker: Worker) -> int:
        return len(worker.descendants()) - 1  # the agent

    # Given a worker with four
    with worker_of(urls, tmp_path, "-c", "4") as worker:
        assert number(worker) == 4
        # When it is told to have four more
        assert app.control.pool_grow(4, destination=["w@test"], reply=True, timeout=LONG, limit=1) == [
            {"w@test": {"ok": "pool will grow"}}
        ]
        # Then it has them,
        eventually(lambda: check(number(worker) == 8), LONG)
        # also after its agent has died,
        agent = worker.agent()
        os.kill(agent, signal.SIGKILL)
        eventually(lambda: check(_concurrency(app) == 8), LONG)
        # after an orderly end, and after none;
        for end in (signal.SIGTERM, signal.SIGKILL):
            worker.signal(end, group=True)
            worker.wait()
            worker.start()
            eventually(lambda: check(number(worker) == 8), LONG)
        assert app.control.pool_shrink(2, destination=["w@test"], reply=True, timeout=LONG, limit=1)
        eventually(lambda: check(number(worker) == 6), LONG)
        worker.stop()
    # another worker has its own,
    with worker_of(urls, tmp_path, "-c", "4", name="other") as other:
        eventually(lambda: check(_concurrency(app, "other@test") == 4), LONG)
        assert number(other) == 4
    # and who starts it with another number says the latest.
    with worker_of(urls, tmp_path, "-c", "3") as worker:
        eventually(lambda: check(_concurrency(app) == 3), LONG)
        assert number(worker) == 3


def _concurrency(app: Talo, node: str = "w@test") -> Any:
    answers = app.control.inspect([node], timeout=2).stats() or {}
    return answers.get(node, {}).get("pool", {}).get("max-concurrency")
