"""What is called around a run, and in which order: the real worker's is what Talo's has to be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.integration.peers import CeleryWorker
from tests.servers.redis import RedisServer, empty_database
from tests.support import eventually
from tests.workers import ROOT, Worker

APP = "tests.apps.called"
#: Sends one task of each kind under its own name as its id.
SEND = """
from tests.apps.called import app
for name in {names!r}:
    app.send_task("tests.apps.called." + name, task_id=name, expires=-60 if name == "late" else None)
"""
#: What is called of each, signals and the task's own handlers, in this order.
EXPECTED = {
    "fine": "task_prerun before_start on_success task_success after_return(SUCCESS) task_postrun(SUCCESS)",
    "breaks": "task_prerun before_start on_failure(KeyError) task_failure(KeyError) after_return(FAILURE) "
    "task_postrun(FAILURE)",
    "again": "task_prerun before_start on_retry(ValueError) task_retry task_postrun(RETRY) "
    "task_prerun before_start on_success task_success after_return(SUCCESS) task_postrun(SUCCESS)",
    "too_often": "task_prerun before_start on_failure(ValueError) task_failure(ValueError) after_return(FAILURE) "
    "task_postrun(FAILURE)",
    "ignores": "task_prerun before_start task_postrun(IGNORED)",
    "rejects": "task_prerun before_start task_postrun(REJECTED)",
    "soft": "task_prerun before_start on_failure(SoftTimeLimitExceeded) task_failure(SoftTimeLimitExceeded) "
    "after_return(FAILURE) task_postrun(FAILURE)",
    "hard": "task_prerun before_start on_failure(TimeLimitExceeded) task_failure(TimeLimitExceeded) "
    "after_return(FAILURE)",
    "killed": "task_prerun before_start on_failure(WorkerLostError) task_failure(WorkerLostError) "
    "after_return(FAILURE)",
    "late": "task_revoked(terminated=False,expired=True)",
}
#: Where Celery's parent process goes its own ways: it tells of a rejection as a failure, of one hard limit's failure
#: twice and of an end without a state, and of a lost process to nobody but receivers of signals.
CELERYS = {
    **EXPECTED,
    "rejects": "task_prerun before_start task_postrun(REJECTED) task_failure(Reject)",
    "hard": "task_prerun before_start task_failure(TimeLimitExceeded) on_failure(TimeLimitExceeded) "
    "after_return(FAILURE) task_failure(TimeLimitExceeded) task_postrun(None)",
    "killed": "task_prerun before_start task_failure(WorkerLostError)",
}
#: The calls of the request's class, whose place among the others nobody can rely on: another process makes them.
TIMEOUTS = {"soft": ["Request.on_timeout(soft=True)"], "hard": ["Request.on_timeout(soft=False)"]}

Calls = dict[str, list[str]]


@pytest.fixture(scope="module", params=["celery", "talo"])
def called(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Calls]:
    """Whose worker it was, and the calls of each task in their order."""
    engine, folder = request.param, tmp_path_factory.mktemp("called")
    calls = folder / "calls"
    calls.touch()

    def found() -> Calls:
        lines = [line.split(" ", 1) for line in calls.read_text().splitlines()]
        return {name: [what for of, what in lines if of == name] for name in EXPECTED}

    def are_over() -> None:
        for name, calls in found().items():
            assert len(handlers(calls)) >= len(wanted(engine)[name].split()), name

    kind = CeleryWorker if engine == "celery" else Worker
    with empty_database(redis_server) as url:
        env = {"ENGINE": engine, "URL": url, "CALLS": str(calls), "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
        code = SEND.format(names=list(EXPECTED))
        subprocess.run([sys.executable, "-c", code], env={**os.environ, **env}, cwd=ROOT, check=True, timeout=60)
        with kind(url, folder, "-c", "1", app=APP, env=env):
            eventually(are_over, timeout=90)
    return engine, found()


def handlers(calls: list[str]) -> list[str]:
    return [call for call in calls if not call.startswith("Request.")]


def wanted(engine: str) -> dict[str, str]:
    return CELERYS if engine == "celery" else EXPECTED


@pytest.mark.parametrize("name", EXPECTED)
def test_handlers_are_called_in_this_order(called: tuple[str, Calls], name: str) -> None:
    engine, calls = called
    assert handlers(calls[name]) == wanted(engine)[name].split()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_request_of_ones_own_hears_of_time_limits(called: tuple[str, Calls], name: str) -> None:
    _, calls = called
    assert [call for call in calls[name] if call.startswith("Request.")] == TIMEOUTS.get(name, [])
