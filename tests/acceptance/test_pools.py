"""What holds in every pool for a task: outcomes, limits, ends by command. One real worker for all tests of a pool, on
the embedded store; what ends a worker stands in ``test_pool_processes``."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from talo import errors
from talo.app.app import Talo
from tests.chaos.kit import check
from tests.support import eventually
from tests.workers import Worker, client

POOLS = {
    "processes": ["-P", "processes", "-c", "2"],
    "threads": ["-P", "threads", "-c", "2"],
    "asyncio": ["-P", "asyncio", "-c", "2"],
    "solo": ["-P", "solo"],
    "spawned": ["-P", "processes", "-c", "2", "--start-method", "spawn"],
}
#: Time enough for a busy machine; what is measured are outcomes, not speed.
LONG = 30.0


@pytest.fixture(scope="module", params=POOLS)
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, pool: str) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp(pool)}/talo.sqlite3"


@pytest.fixture(scope="module")
def worker(pool: str, broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("worker")
    with Worker(broker, folder, *POOLS[pool], env={"TALO_TASK_UNKNOWN_PATIENCE": "0"}) as worker:
        yield worker


@pytest.fixture
def app(broker: str) -> Iterator[Talo]:
    with client(broker) as app:
        yield app


def send(app: Talo, name: str, *args: object, **options: object) -> object:
    return app.send_task(f"tests.apps.traced.{name}", args, **options)  # type: ignore[arg-type]


@pytest.mark.promise("K06")
def test_a_task_returns_its_value(app: Talo, worker: Worker) -> None:
    assert send(app, "add", 2, 3).get(timeout=LONG) == 5


def test_an_async_task_returns_its_value(app: Talo, worker: Worker) -> None:
    results = [send(app, "anap", 0.01 * n) for n in range(5)]
    assert [result.get(timeout=LONG) for result in results] == [0.01 * n for n in range(5)]


@pytest.mark.promise("R05")
def test_a_failure_keeps_its_class(app: Talo, worker: Worker) -> None:
    result = send(app, "fails", "broken")
    with pytest.raises(ValueError, match="broken"):
        result.get(timeout=LONG)
    assert result.state == "FAILURE"
    assert "raise ValueError(text)" in result.traceback


@pytest.mark.promise("M03")
def test_a_failed_task_is_a_dead_letter_with_all_that_is_known(app: Talo, worker: Worker) -> None:
    result = send(app, "fails", "broken")
    with pytest.raises(ValueError):
        result.get(timeout=LONG)
    [letter] = [each for each in app.store.broker.dead() if each.death.task_id == result.id]
    assert letter.death.reason == "failed"
    assert "ValueError" in letter.death.detail["traceback"]
    assert letter.death.detail["worker"] == "w@test"
    assert letter.message is not None and b"broken" in letter.message.body


@pytest.mark.promise("D11")
def test_a_retry_keeps_its_id_and_ends_in_success(app: Talo, worker: Worker) -> None:
    result = send(app, "flaky", 2)
    assert result.get(timeout=LONG) == 2
    assert worker.trace.count("start")[result.id] == 3


def test_used_up_retries_end_in_the_last_exception(app: Talo, worker: Worker) -> None:
    result = send(app, "stubborn")
    with pytest.raises(OSError, match="disk on fire"):
        result.get(timeout=LONG)
    assert worker.trace.count("start")[result.id] == 3


def test_callbacks_and_error_callbacks_run(app: Talo, worker: Worker) -> None:
    add = app.signature("tests.apps.traced.add", (10,))
    on_error = app.signature("tests.apps.traced.on_error")
    on_error_new = app.signature("tests.apps.traced.on_error_new")
    add.freeze()
    assert send(app, "add", 1, 2, link=[add]).get(timeout=LONG) == 3
    assert app.AsyncResult(add.id).get(timeout=LONG) == 13
    failed = send(app, "fails", link_error=[on_error, on_error_new])
    with pytest.raises(ValueError):
        failed.get(timeout=LONG)

    def both_called() -> None:
        assert worker.trace.count("errback")[failed.id] == 1
        assert worker.trace.count("errback_new")[failed.id] == 1

    eventually(both_called, LONG)


def test_what_cannot_be_written_is_a_failure_that_says_so(app: Talo, worker: Worker) -> None:
    with pytest.raises(errors.EncodeError, match="object"):
        send(app, "unwritable").get(timeout=LONG)


def test_an_expired_task_is_revoked_and_does_not_start(app: Talo, worker: Worker) -> None:
    result = send(app, "nap", 0, expires=-1)
    with pytest.raises(errors.TaskRevokedError, match="expired"):
        result.get(timeout=LONG)
    assert not worker.trace.count("start")[result.id]


def test_a_rejected_task_is_kept(app: Talo, worker: Worker) -> None:
    result = send(app, "rejects")

    def kept() -> None:
        assert [d.death.reason for d in app.store.broker.dead() if d.death.task_id == result.id] == ["rejected"]

    eventually(kept, LONG)


def test_a_delayed_task_is_not_early_and_not_lost(app: Talo, worker: Worker) -> None:
    sent = time.time()
    result = send(app, "nap", 0, countdown=0.5)
    result.get(timeout=LONG)
    assert worker.trace.times("start")[result.id] >= sent + 0.5


@pytest.mark.promise("L01")
@pytest.mark.parametrize("name", ["spin", "nap"])
def test_a_hard_limit_ends_a_task_that_does_not_end(name: str, app: Talo, worker: Worker) -> None:
    # Given a task that spins, or sleeps in C
    result = send(app, name, *([60] if name == "nap" else []), time_limit=0.5)
    # Then it is recorded as over its limit, and the slot serves again
    with pytest.raises(errors.TimeLimitExceeded) as caught:
        result.get(timeout=LONG)
    assert (caught.value.args, str(caught.value)) == ((0.5,), "time limit of 0.5 s exceeded")
    assert send(app, "add", 1, 1).get(timeout=LONG) == 2
    assert "TimeLimitExceeded()" not in worker.output()


@pytest.mark.promise("L02")
def test_a_soft_limit_can_be_caught(app: Talo, worker: Worker, pool: str) -> None:
    # A thread that sleeps in C hears it when it wakes; one second here.
    seconds = 1.0 if pool in ("threads", "asyncio") else 30.0
    assert send(app, "cleans_up", seconds, soft_time_limit=0.2).get(timeout=LONG) == "cleaned up"


@pytest.mark.promise("L02")
def test_a_soft_limit_that_is_not_caught_is_a_failure(app: Talo, worker: Worker) -> None:
    with pytest.raises(errors.SoftTimeLimitExceeded):
        send(app, "spin", soft_time_limit=0.2).get(timeout=LONG)


@pytest.mark.promise("L02")
def test_a_soft_limit_reaches_a_coroutine_where_it_waits(app: Talo, worker: Worker) -> None:
    with pytest.raises(errors.SoftTimeLimitExceeded):
        send(app, "anap", 60, soft_time_limit=0.2).get(timeout=LONG)


@pytest.mark.promise("L04")
@pytest.mark.parametrize("name", ["spin", "anap"])
def test_a_running_task_stops_when_it_is_terminated(name: str, app: Talo, worker: Worker) -> None:
    # Given a task that runs
    result = send(app, name, *([60] if name == "anap" else []))
    eventually(lambda: check(worker.trace.count("start")[result.id] == 1), LONG)
    # When it is terminated
    result.revoke(terminate=True)
    # Then it is recorded as that, and the slot serves again
    with pytest.raises(errors.TaskRevokedError, match="terminated"):
        result.get(timeout=LONG)
    assert result.state == "REVOKED"
    assert send(app, "add", 1, 1).get(timeout=LONG) == 2


def test_a_running_step_stops_when_the_root_of_its_workflow_is_terminated(app: Talo, worker: Worker) -> None:
    result = send(app, "spin", root_id="the-root")
    eventually(lambda: check(worker.trace.count("start")[result.id] == 1), LONG)
    app.AsyncResult("the-root").revoke(terminate=True)
    with pytest.raises(errors.TaskRevokedError, match="terminated"):
        result.get(timeout=LONG)


@pytest.mark.promise("D12")
def test_processes_that_a_task_starts_work_and_can_be_ended_as_anywhere(app: Talo, worker: Worker) -> None:
    told = send(app, "has_helpers").get(timeout=4 * LONG)
    alike = [-signal.SIGTERM, [1, 2, 3], [4, 5]]
    assert told == {"program": -signal.SIGTERM, "fork": alike, "spawn": alike, "forkserver": alike}


def test_what_a_task_sees_of_itself(app: Talo, worker: Worker) -> None:
    result = send(app, "who", task_id="mine", headers={"tenant": "acme"})
    seen = result.get(timeout=LONG)
    assert seen["id"] == "mine"
    assert seen["task"] == "tests.apps.traced.who"
    assert seen["root_id"] == "mine"
    assert seen["headers"] == {"tenant": "acme"}
    assert seen["hostname"] == "w@test"
    assert (seen["is_eager"], seen["called_directly"], seen["retries"]) == (False, False, 0)
    assert seen["pid"] != os.getpid()
