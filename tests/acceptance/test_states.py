"""Where a task is: unknown, waiting, delayed, running and lost with its worker are five answers on every store that can
be looked into; on the others it is said what cannot be seen."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from talo.app.app import Talo
from talo.control.history import explain
from talo.wire import new_id
from tests.acceptance.conftest import ONE_OF_EACH, named
from tests.support import eventually
from tests.workers import Worker, client

LONG = 60.0
PLACES = {"waiting", "delayed", "leased", "running", "lost", "dead", "ended", "unseen", "not_found"}
#: What begins is stored: the only trace of a lost task on a broker that shows nothing.
ENV = {"TALO_WORKER_LEASE": "8", "TALO_TASK_TRACK_STARTED": "1"}


def where(app: Talo, task_id: str) -> str:
    """The one place in which a task is said to be."""
    [place] = [reason.code for reason in explain(app, task_id).reasons if reason.code in PLACES]
    return place


def is_in(app: Talo, task_id: str, place: str) -> None:
    assert where(app, task_id) == place


@pytest.mark.parametrize("urls", ONE_OF_EACH, indirect=True, ids=named)
@pytest.mark.timeout(180)
def test_each_situation_of_a_task_has_an_answer_of_its_own(urls: tuple[str, str | None], tmp_path: Path) -> None:
    broker, results = urls
    shown = results is None
    with client(broker, results) as app:
        app.store.broker.purge(["celery"])  # SQS is one for the whole session

        def send(*arguments: float, **options: Any) -> str:
            return app.send_task("tests.apps.traced.nap", arguments, **options).id

        # Given no worker: what waits, what is delayed, and what nobody has sent
        queued, delayed, unknown = send(0), send(0, countdown=3600), new_id()
        expected = ["waiting", "delayed", "not_found"] if shown else ["unseen"] * 3
        assert [where(app, each) for each in (queued, delayed, unknown)] == expected
        # When a worker comes, Then what waited has ended, and what it runs runs
        with Worker(broker, tmp_path, "-c", "1", results=results, env=ENV) as worker:
            eventually(lambda: is_in(app, queued, "ended"), LONG)
            running = send(600)
            eventually(lambda: is_in(app, running, "running"), LONG)
            # while what stands behind it waits, and the others are where they were
            behind = send(0)
            eventually(lambda: is_in(app, behind, expected[0]), LONG)
            assert [where(app, each) for each in (delayed, unknown)] == expected[1:]
            # and it is told why: nobody consumes the queue of one of them
            if shown:
                stray = send(0, queue="elsewhere")
                told = [[reason.code for reason in explain(app, each).reasons] for each in (behind, stray)]
                assert told == [["waiting"], ["no_consumer", "waiting"]]
            # When all its processes are killed, Then what it ran is lost, at once
            worker.signal(signal.SIGKILL, group=True)
            worker.wait()
            assert where(app, running) == "lost"
            assert where(app, behind) == expected[0]
        # until another worker has it.
        with Worker(broker, tmp_path, "-c", "1", results=results, env=ENV, name="v"):
            eventually(lambda: is_in(app, running, "running"), LONG)
            app.AsyncResult(running).revoke(terminate=True)
            eventually(lambda: is_in(app, running, "ended"), LONG)
