"""The way back: ``talo migrate back`` hands over what Talo holds, and a worker of the real Celery does all of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from talo import AsyncResult, Talo, chord
from talo.execution.run import call_sync
from talo.execution.settle import settlement_of
from talo.stores.base import Settlement
from talo.worker.intake import Intake
from talo.worker.split import split_of
from tests.apps.shared_code import define
from tests.integration.peers import CeleryClient, CeleryWorker
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.workers import ROOT, Worker

ENV = {
    "TALO_TASK_CANVAS_FORM": "celery",
    "TALO_WORKER_LEASE": "2",
    "TALO_TASK_DEFAULT_QUEUE_TYPE": "classic",
}
#: The ids that Celery's worker keeps for later.
SCHEDULED = "[t['request']['id'] for t in app.control.inspect(['celery@test'], timeout=20).scheduled()['celery@test']]"


@pytest.fixture
def results(redis_url: str) -> str:
    """A Redis database for one test."""
    return redis_url


def client(broker: str, results: str, **settings: Any) -> Talo:
    """Talo as a client that knows the tasks."""
    app = Talo(
        "client", broker=broker, backend=results, set_as_current=False, redis_priority_order="low-first",
        task_default_queue_type="classic", **{"task_canvas_form": "celery", **settings},
    )  # fmt: skip
    define(app, "client")
    return app


def back(broker: str, results: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``talo migrate back``."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    env = {**os.environ, **ENV, "TALO_BROKER_URL": broker, "TALO_RESULT_BACKEND": results, "PYTHONPATH": path}
    words = [sys.executable, "-m", "talo", "-A", "tests.apps.talo_app", "migrate", "back", *options]
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=100, check=False, cwd=ROOT)


def worker(broker: str, results: str, folder: Path, name: str = "talo") -> Worker:
    return Worker(broker, folder, "-c", "1", app="tests.apps.talo_app", name=name, results=results, env=ENV)


def half_a_chord(app: Talo) -> AsyncResult[Any]:
    """A chord whose members a worker of Talo's has run that then died: its body is still to be sent."""
    members = [app.tasks["shared.add"].s(n, 1).set(queue="other") for n in range(2)]
    whole: AsyncResult[Any] = chord(members, app.tasks["shared.echo"].s()).apply_async()
    broker, owner = app.store.broker, "by/hand/1"
    intake, split = Intake(app.env, lambda _task_id: False, 0.0), split_of(app.store, app.result_store)
    broker.open(owner, worker="by hand", slots=1, lease=60)
    for _ in members:
        [delivery] = broker.turn([], owner, ["other"], 1).deliveries
        run = intake.admit(delivery)
        assert not isinstance(run, Settlement)
        call_sync(run)
        broker.settle(split([settlement_of(run)]))
    broker.close_owner(owner)
    return whole


def has_begun(worker: Worker, task_id: str, times: int) -> None:
    assert worker.trace.count("started")[task_id] == times


@pytest.mark.promise("K13")
def test_a_celery_worker_alone_does_all_that_talo_held_on_redis(
    redis_server: RedisServer, results: str, tmp_path: Path
) -> None:
    url = results
    with client(url, url) as app:
        # Given a chord of which Talo has ended the members and not sent the body,
        whole = half_a_chord(app)
        # a worker of Talo's that died in a task, more behind it,
        with worker(url, url, tmp_path) as talo:
            held = app.send_task("shared.hold", (str(tmp_path / "open"),))
            eventually(lambda: has_begun(talo, held.id, 1), timeout=30)
            behind = [app.send_task("shared.add", (n, 10)) for n in range(5)]
            talo.destroy()
        # tasks in a queue of the cut-over, one of them delayed, others delayed by seconds and by an hour,
        moved = [app.send_task("shared.add", (n, 20), queue="talo.celery") for n in range(3)]
        due = time.time() + 4
        soon = [app.send_task("shared.started", (n,), eta=due, queue="celery") for n in range(3)]
        soon.append(app.send_task("shared.started", (3,), eta=due, queue="talo.celery", priority=9))
        late = app.send_task("shared.add", (1, 1), countdown=3600)
        # when all is handed over,
        told = back(url, url)
        assert told.returncode == 0, told.stdout + told.stderr
        assert "Nothing is left" in told.stdout
        (tmp_path / "open").touch()
        # then a fleet of Celery's alone ends it,
        celery = CeleryClient(url)
        try:
            with CeleryWorker(url, tmp_path) as theirs:
                assert held.get(timeout=60) == "celery"
                assert [r.get(timeout=60) for r in behind] == [n + 10 for n in range(5)]
                assert [r.get(timeout=60) for r in moved] == [n + 20 for n in range(3)]
                assert whole.get(timeout=60) == [[[1, 2]], {}]
                assert [r.get(timeout=60) for r in soon] == [0, 1, 2, 3]
                times = theirs.trace.times("started")
                assert all(times[r.id] >= due - 0.05 for r in soon)
                assert {line[2] for line in theirs.trace.lines() if line[1] in {r.id for r in soon}} == {"celery"}
                # of which the last one has its hour still to wait,
                assert celery(SCHEDULED) == [late.id]
        finally:
            celery.close()
        # and no key of Talo's keeps a task.
        names = [
            "talo:delayed",
            "talo:delayed:raw",
            "talo:delayed:count",
            "talo:owners:holding",
            "talo:dead",
            "celery.talo",
        ]
        assert redis_server.command("EXISTS", *names, db=int(url.rpartition("/")[2])) == b":0\r\n"


@pytest.mark.promise("K13")
def test_a_celery_worker_alone_does_all_that_talo_held_on_rabbitmq(
    rabbit_server: RabbitServer, results: str, tmp_path: Path
) -> None:
    vhost = rabbit_server.new_vhost()
    url = rabbit_server.url_of(vhost)
    with client(url, results) as app:
        # Given a task over which two workers of Talo's died, so that it stands in the queue for suspects,
        held = app.send_task("shared.hold", (str(tmp_path / "open"),))
        for times in (1, 2):
            with worker(url, results, tmp_path, f"talo{times}") as talo:
                eventually(lambda n=times, w=talo: has_begun(w, held.id, n), timeout=30)
                talo.destroy()
        # a chord without its body, tasks in a queue of the cut-over, and one that is delayed,
        whole = half_a_chord(app)
        moved = [app.send_task("shared.add", (n, 20), queue="talo.celery") for n in range(3)]
        soon = app.send_task("shared.add", (1, 1), countdown=3)
        (tmp_path / "open").touch()
        # when all is handed over,
        told = back(url, results, "-Q", "celery,other")
        assert told.returncode == 0, told.stdout + told.stderr
        # then a fleet of Celery's alone ends it.
        with CeleryWorker(url, tmp_path, env={"CELERY_RESULT_BACKEND": results}):
            assert held.get(timeout=60) == "celery"
            assert [r.get(timeout=60) for r in moved] == [n + 20 for n in range(3)]
            assert whole.get(timeout=60) == [[[1, 2]], {}]
            assert soon.get(timeout=60) == 2
    left = rabbit_server.ctl("list_queues", "-p", vhost, "name", "messages").splitlines()
    assert [line for line in left if line.startswith("talo.") and not line.endswith("\t0")] == []


def test_nothing_is_handed_over_while_talo_works_or_a_workflow_would_be_cut_off(results: str, tmp_path: Path) -> None:
    with client(results, results, task_canvas_form="talo") as app:
        # Given a worker of Talo's that lives,
        with worker(results, results, tmp_path) as talo:
            told = back(results, results, "--wait", "0")
            # then it is named;
            assert (told.returncode, told.stderr.count("\n")) == (1, 1)
            assert talo.node in told.stderr and "stop them first" in told.stderr
            assert talo.stop() == 0
        # given members of a chord in Talo's own form, ready and delayed,
        add = app.tasks["shared.add"]
        chord([add.s(1, 1), add.s(2, 2).set(countdown=60)], app.tasks["shared.echo"].s()).apply_async()
        before = app.store.broker.stats()
        # then nothing changes, and it says what would be lost.
        told = back(results, results, "--wait", "0")
        assert told.returncode == 1
        assert "2 in celery" in told.stderr and "--force" in told.stderr
        assert [(q.name, q.ready, q.delayed) for q in app.store.broker.stats()] == [
            (q.name, q.ready, q.delayed) for q in before
        ]
        # Unless that is wanted.
        assert back(results, results, "--wait", "0", "--force").returncode == 0
        assert sum(q.delayed for q in app.store.broker.stats()) == 0


def test_a_broker_that_celery_does_not_read_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'talo.sqlite3'}"
    told = back(url, url)
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert "no other worker reads its queues" in told.stderr
