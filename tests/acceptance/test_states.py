"""Where a task is: unknown, waiting, delayed, running and lost with its worker are five answers on every store; on one
that cannot be looked into, by a ledger beside it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from talo.app.app import Talo
from talo.control.history import explain
from talo.wire import new_id
from tests.acceptance.conftest import named
from tests.support import eventually
from tests.workers import Worker, client

LONG = 60.0
PLACES = {"waiting", "delayed", "leased", "running", "lost", "dead", "ended", "unseen", "not_found"}
#: What begins is stored: the only trace of a lost task on a broker that shows nothing and has no ledger.
ENV = {"TALO_WORKER_LEASE": "8", "TALO_TASK_TRACK_STARTED": "1"}
NOTED = {**ENV, "TALO_BROKER_LEDGER": "1"}


def where(app: Talo, task_id: str) -> str:
    """The one place in which a task is said to be."""
    [place] = [reason.code for reason in explain(app, task_id).reasons if reason.code in PLACES]
    return place


def is_in(app: Talo, task_id: str, place: str) -> None:
    assert where(app, task_id) == place


def codes(app: Talo, task_id: str) -> list[str]:
    return [reason.code for reason in explain(app, task_id).reasons]


def nap(app: Talo, *arguments: float, **options: Any) -> str:
    return app.send_task("tests.apps.traced.nap", arguments, **options).id


@pytest.mark.promise("R01")
@pytest.mark.timeout(300)
def test_each_situation_of_a_task_has_an_answer_of_its_own(urls: tuple[str, str | None], tmp_path: Path) -> None:
    broker, results = urls
    with client(broker, results, broker_ledger=True) as app:
        app.store.broker.purge(["celery"])  # SQS is one for the whole session
        # Given no worker: what waits, what is delayed, and what nobody has sent
        queued, delayed, unknown = nap(app, 0), nap(app, 0, countdown=3600), new_id()
        assert [where(app, each) for each in (queued, delayed, unknown)] == ["waiting", "delayed", "not_found"]
        # When a worker comes, Then what waited has ended, and what it runs runs
        with Worker(broker, tmp_path, "-c", "1", results=results, env=NOTED) as worker:
            eventually(lambda: is_in(app, queued, "ended"), LONG)
            running = nap(app, 600)
            eventually(lambda: is_in(app, running, "running"), LONG)
            # while what stands behind it waits, and the others are where they were
            behind = nap(app, 0)
            eventually(lambda: is_in(app, behind, "waiting"), LONG)
            assert [where(app, each) for each in (delayed, unknown)] == ["delayed", "not_found"]
            # and it is told why: nobody consumes the queue of one of them
            stray = nap(app, 0, queue="elsewhere")

            def told_why() -> None:
                assert [codes(app, each) for each in (behind, stray)] == [["waiting"], ["no_consumer", "waiting"]]

            eventually(told_why, LONG)
            # When all its processes are killed, Then what it ran is lost, at once
            worker.signal(signal.SIGKILL, group=True)
            worker.wait()
            assert where(app, running) == "lost"
            assert where(app, behind) == "waiting"
        # until another worker has it.
        with Worker(broker, tmp_path, "-c", "1", results=results, env=NOTED, name="v"):
            eventually(lambda: is_in(app, running, "running"), LONG)
            app.AsyncResult(running).revoke(terminate=True)
            eventually(lambda: is_in(app, running, "ended"), LONG)
        assert [where(app, each) for each in (delayed, unknown)] == ["delayed", "not_found"]


@pytest.mark.parametrize("urls", [("rabbit", "redis")], indirect=True, ids=named)
@pytest.mark.timeout(180)
def test_without_a_ledger_it_is_said_what_cannot_be_seen(urls: tuple[str, str | None], tmp_path: Path) -> None:
    broker, results = urls
    with client(broker, results) as app:
        queued, delayed = nap(app, 0), nap(app, 0, countdown=3600)
        for each in (queued, delayed, new_id()):
            [reason] = explain(app, each).reasons
            assert reason.code == "unseen"
            assert "broker_ledger" in reason.text
        with Worker(broker, tmp_path, "-c", "1", results=results, env=ENV) as worker:
            eventually(lambda: is_in(app, queued, "ended"), LONG)
            running = nap(app, 600)
            eventually(lambda: is_in(app, running, "running"), LONG)
            worker.signal(signal.SIGKILL, group=True)
            worker.wait()
            assert where(app, running) == "lost"
