"""What holds in every pool for the processes of a worker: their ends, their replacements, their log. A real worker for
each test, on the embedded store."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import errors
from talo.app.app import Talo
from tests.acceptance.test_pools import LONG, POOLS, send
from tests.chaos.kit import check
from tests.support import eventually
from tests.workers import Worker, client, group_alive


@pytest.fixture(params=POOLS)
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def broker(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/talo.sqlite3"


@pytest.fixture
def app(broker: str) -> Iterator[Talo]:
    with client(broker) as app:
        yield app


@pytest.fixture
def worker(pool: str, broker: str, tmp_path: Path) -> Iterator[Worker]:
    with Worker(broker, tmp_path, *POOLS[pool], env={"TALO_TASK_UNKNOWN_PATIENCE": "0"}) as worker:
        yield worker


@pytest.mark.promise("L07")
def test_a_child_is_replaced_after_its_number_of_tasks(app: Talo, broker: str, pool: str, tmp_path: Path) -> None:
    with Worker(broker, tmp_path, *POOLS[pool], "--max-tasks-per-child", "3", name="r"):
        pids = [send(app, "who").get(timeout=LONG)["pid"] for _ in range(12)]
    assert len(set(pids)) >= 3


@pytest.mark.promise("L05")
@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_each_free_place_of_a_crowd_takes_a_task(pool: str, app: Talo, broker: str, tmp_path: Path) -> None:
    # Given a child with room for many,
    with Worker(broker, tmp_path, "-P", pool, "-c", "20", env={"SLOW_TO_BEGIN": "0.1"}) as worker:
        # when as many long tasks come, one by one, while those before them are about to begin,
        for _ in range(20):
            send(app, "nap", 300)
        # then all run: none stands in the child beside a place that is free.
        eventually(lambda: check(len(worker.trace.count("start")) == 20), timeout=LONG)


def test_term_lets_running_tasks_end_and_exits_with_0(app: Talo, worker: Worker) -> None:
    result = send(app, "nap", 1.0)
    eventually(lambda: check(worker.trace.count("start")[result.id] == 1), LONG)
    worker.signal(signal.SIGTERM, group=True)
    assert worker.wait() == 0
    assert result.get(timeout=LONG) == 1.0
    assert worker.trace.count("start")[result.id] == 1


@pytest.mark.promise("L06")
def test_quit_hands_running_tasks_back_unharmed(app: Talo, worker: Worker, broker: str, tmp_path: Path) -> None:
    # Given a task that runs for long
    result = send(app, "nap", 2.0)
    eventually(lambda: check(worker.trace.count("start")[result.id] == 1), LONG)
    # When its worker is told to stop at once
    worker.signal(signal.SIGQUIT, group=True)
    assert worker.wait() == 0
    # Then it is back, with nothing charged and nothing reported
    stats = {q.name: q.ready for q in app.store.broker.stats()}
    assert stats["celery"] == 1
    assert result.state == "PENDING"
    assert "raised" not in worker.output()
    # And runs elsewhere
    with Worker(broker, tmp_path, "-c", "1", name="second"):
        assert result.get(timeout=LONG) == 2.0
    assert not app.store.broker.dead()


def test_every_process_writes_into_the_log_file(app: Talo, broker: str, pool: str, tmp_path: Path) -> None:
    worker = Worker(broker, tmp_path, *POOLS[pool], "-f", "%n-own.log", "-B")
    with worker.start(ready=False):
        worker.log = tmp_path / "w-own.log"
        worker.wait_ready()
        result = send(app, "add", 1, 2)
        result.get(timeout=LONG)
        eventually(lambda: check(f"[{result.id}] succeeded" in worker.output()), LONG)
        eventually(lambda: check("/agent] beat: Starting..." in worker.output()), LONG)


@pytest.mark.promise("L03")
def test_a_task_that_is_revoked_before_it_starts_does_not_start(
    app: Talo, broker: str, pool: str, tmp_path: Path
) -> None:
    results = [send(app, "nap", 0) for _ in range(5)] + [send(app, "nap", 0, countdown=0.2)]
    for result in results:
        result.revoke()
    with Worker(broker, tmp_path, *POOLS[pool], name="late") as worker:
        for result in results:
            with pytest.raises(errors.TaskRevokedError, match="revoked"):
                result.get(timeout=LONG)
        assert not worker.trace.count("start")


@pytest.mark.promise("D04")
def test_at_most_once_that_a_stop_cuts_short_is_lost_and_not_repeated(
    app: Talo, worker: Worker, pool: str, broker: str, tmp_path: Path
) -> None:
    # Given a task that must not begin twice; a thread that sleeps in C is ended with its process
    result = send(app, "once", 20.0)
    eventually(lambda: check(worker.trace.count("start")[result.id] == 1), LONG)
    # When its worker is told to stop at once
    worker.signal(signal.SIGQUIT, group=True)
    assert worker.wait() == 0
    # Then it is recorded as lost, and begins nowhere else
    with pytest.raises(errors.WorkerLostError):
        result.get(timeout=LONG)
    assert [d.death.task_id for d in app.store.broker.dead()] == [result.id]
    assert not any(queue.ready for queue in app.store.broker.stats())


@pytest.mark.promise("D02")
def test_without_its_supervisor_a_worker_finishes_what_runs_and_ends(app: Talo, worker: Worker) -> None:
    # Given a task that runs
    result = send(app, "nap", 1.0)
    eventually(lambda: check(worker.trace.count("start")[result.id] == 1), LONG)
    # When the supervisor is killed
    worker.signal(signal.SIGKILL)
    # Then the task ends, once, and so do agent and children
    assert result.get(timeout=LONG) == 1.0
    eventually(lambda: check(not group_alive(worker.pid)), LONG)
    assert worker.trace.count("start")[result.id] == 1
    assert not app.store.broker.dead()
