"""The same tasks with the same hooks and receivers on the real Celery and on Talo: the same calls in the same order.

What is compared are two traces of ``tests.apps.observed``, made by one worker each. Where the two differ on purpose the
test says so.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import Talo
from tests.apps.shared_code import WORKER_SIGNALS
from tests.integration.peers import CeleryWorker
from tests.servers.redis import RedisServer, empty_database
from tests.support import eventually
from tests.workers import Worker

pytestmark = pytest.mark.promise("K07")

NAMES = (
    "double",
    "broken",
    "again",
    "stubborn",
    "unexplained",
    "expected",
    "ignoring",
    "rejecting",
    "nobody_knows",
)


Calls = dict[str, list[str]]


@pytest.fixture(scope="module")
def traces(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Calls, Calls]]:
    """What Celery called and what Talo called, by task id."""
    made = []
    for engine in ("celery", "talo"):
        with empty_database(redis_server) as url:
            made.append(_calls(engine, url, tmp_path_factory.mktemp(engine)))
    yield made[0], made[1]


def _calls(engine: str, url: str, folder: Path) -> Calls:
    env = {"ENGINE": engine, "TALO_TASK_UNKNOWN_PATIENCE": "0"}
    worker: Worker
    if engine == "celery":
        worker = CeleryWorker(url, folder, "-P", "solo", env=env, app="tests.apps.observed")
    else:
        worker = Worker(url, folder, "-P", "solo", env=env, app="tests.apps.observed")
    with worker, Talo("client", broker=url, set_as_current=False) as app:
        for name in NAMES:
            app.send_task(f"observed.{name}", (21,) if name == "double" else (), task_id=name)
        past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        app.send_task("observed.double", (1,), task_id="expired", expires=past)
        # The last one to end: retries are over, too.
        for task_id in ("again", "stubborn", "unexplained", "broken", "nobody_knows"):
            app.AsyncResult(task_id).get(timeout=30, propagate=False)
        app.send_task("observed.double", (1,), task_id="last").get(timeout=30)
        eventually(lambda: _contains(worker, "last", "task_postrun"))
        assert worker.stop() == 0
    calls: Calls = {}
    for about, *words in worker.trace.lines():
        calls.setdefault(about, []).append(" ".join(words))
    return calls


def _contains(worker: Worker, about: str, text: str) -> None:
    assert any(line[0] == about and text in line[1] for line in worker.trace.lines())


@pytest.mark.parametrize("task_id", ["double", "again", "ignoring", "expired", "nobody_knows", "last"])
def test_the_calls_are_the_same(traces: tuple[Calls, Calls], task_id: str) -> None:
    theirs, ours = traces
    assert ours[task_id] == theirs[task_id]


@pytest.mark.parametrize("task_id", ["broken", "expected", "stubborn"])
def test_the_calls_of_a_failure_are_the_same_but_after_return_gets_the_einfo_that_is_documented(
    traces: tuple[Calls, Calls], task_id: str
) -> None:
    theirs, ours = traces
    assert [_without_einfo(call) for call in ours[task_id]] == [_without_einfo(call) for call in theirs[task_id]]
    assert [call for call in ours[task_id] if "after_return:FAILURE" in call][-1].endswith(":ExceptionInfo")


def _without_einfo(call: str) -> str:
    return call.rpartition(":")[0] if call.startswith("after_return:FAILURE") else call


def test_a_retry_without_a_reason_hands_the_retry_to_the_hook(traces: tuple[Calls, Calls]) -> None:
    theirs, ours = traces
    assert "on_retry:None:ExceptionInfo" in theirs["unexplained"]
    assert "on_retry:Retry(Retry in 0s):ExceptionInfo" in ours["unexplained"]
    assert [call.partition(":")[0] for call in ours["unexplained"]] == [
        call.partition(":")[0] for call in theirs["unexplained"]
    ]


def test_a_rejection_is_no_failure_to_the_receivers(traces: tuple[Calls, Calls]) -> None:
    theirs, ours = traces
    assert ours["rejecting"] == [call for call in theirs["rejecting"] if "task_failure" not in call]


def test_the_worker_tells_its_life_by_the_same_signals(traces: tuple[Calls, Calls]) -> None:
    theirs, ours = traces
    # Celery's solo pool has no process of its own to tell of; Talo's has.
    of_process = ("worker_process_init", "worker_process_shutdown")
    assert [c for c in ours["-"] if not any(name in c for name in of_process)] == [
        c for c in theirs["-"] if not any(name in c for name in of_process)
    ]
    assert {call.removeprefix("signal:").partition("(")[0] for call in ours["-"]} == set(WORKER_SIGNALS)
    assert "signal:worker_process_shutdown(exitcode,pid)" in ours["-"]
