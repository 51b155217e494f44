"""Steering workers, as users do it, on each store: asking busy ones, pausing, limiting, scaling, stopping."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talo import Talo, errors
from talo.cli.main import run
from tests import nursery
from tests.servers.postgres import PostgresServer
from tests.servers.redis import empty_database
from tests.support import eventually, for_seconds
from tests.workers import Worker

LONG = 30.0


@pytest.fixture(scope="module", params=["sqlite", "redis", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty store, for the whole module on each store."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('store')}/talo.sqlite3"
    elif request.param == "postgres":
        postgres: PostgresServer = request.getfixturevalue("postgres_server")
        postgres.run("CREATE SCHEMA control")
        yield f"{postgres.url}?options=-csearch_path%3Dcontrol"
    else:
        with empty_database(request.getfixturevalue("redis_server")) as url:
            yield url


@pytest.fixture(scope="module")
def worker(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker with two processes, tasks of ``featured``."""
    with Worker(place, tmp_path_factory.mktemp("worker"), "-c", "2", app="tests.apps.featured") as worker:
        yield worker


@pytest.fixture
def app(place: str, worker: Worker) -> Iterator[Talo]:
    with Talo("client", broker=place, set_as_current=False) as app:
        yield app


def ask(app: Talo, question: str, node: str = "w@test") -> Any:
    return getattr(app.control.inspect([node], timeout=LONG), question)()[node]


def tell(app: Talo, command: str, node: str = "w@test", **arguments: Any) -> Any:
    [reply] = app.control.broadcast(command, arguments, destination=[node], reply=True, timeout=LONG)
    return reply[node]


def talo(place: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The command."""
    command = [sys.executable, "-m", "talo", "-b", place, *words]
    return nursery.run(command, {**os.environ, "PYTHONPATH": nursery.PATH}, nursery.ROOT, timeout=60)


def _equal(value: Any, expected: Any) -> None:
    assert value == expected


@pytest.mark.promise("M08")
def test_a_busy_worker_answers_and_what_comes_late_is_not_done(app: Talo, worker: Worker, tmp_path: Path) -> None:
    # Given a worker whose every slot is busy
    gate = tmp_path / "open"
    held_before = ask(app, "stats")["total"].get("featured.hold", 0)
    held = [app.send_task("featured.hold", (str(gate),)) for _ in range(2)]
    try:
        eventually(lambda: _equal({info["id"] for info in ask(app, "active")}, {each.id for each in held}), LONG)
        # Then it answers every time,
        for _ in range(20):
            assert ask(app, "ping") == {"ok": "pong"}
        stats = ask(app, "stats")
        assert stats["talo"]["active"] == 2 and stats["pool"]["max-concurrency"] == 2
        [(_, (state, info))] = app.control.inspect(["w@test"], timeout=LONG).query_task(held[0].id)["w@test"].items()
        assert (state, info["name"], info["worker_pid"] in worker.children()) == ("active", "featured.hold", True)
        # within the time that the sender waits; what it cannot answer in that time it does not do.
        os.kill(worker.agent(), 19)
        try:
            assert app.control.add_consumer("late", destination=["w@test"], reply=True, timeout=0.2) == []
        finally:
            for_seconds(0.2)  # by the clock, too, its time is over
            os.kill(worker.agent(), 18)
        assert [queue["name"] for queue in ask(app, "active_queues")] == ["celery"]
    finally:
        gate.touch()
    for each in held:
        each.get(timeout=LONG)
    eventually(lambda: _equal(ask(app, "stats")["total"]["featured.hold"], held_before + 2), LONG)


def test_the_command_asks_and_steers(place: str, app: Talo, worker: Worker) -> None:
    told = talo(place, "inspect", "ping", "-t", "10", "-d", "w@test", "--json")
    assert (told.returncode, json.loads(told.stdout)) == (0, {"w@test": {"ok": "pong"}}), told.stderr
    told = talo(place, "control", "-t", "10", "-d", "w@test", "rate_limit", "featured.none", "10/m")
    assert told.returncode == 0 and "w@test: ERROR" in told.stdout and "unknown task" in told.stdout
    told = talo(place, "inspect", "-t", "0.2", "-d", "nobody@test", "ping")
    assert told.returncode == 69 and "No nodes replied within time constraint" in told.stderr


def test_a_paused_queue_and_a_paused_task_wait(place: str, app: Talo, worker: Worker, tmp_path: Path) -> None:
    # Given a pause of a queue, and of a task
    assert talo(place, "control", "pause", "celery").returncode == 0
    eventually(lambda: _equal(_paused(app), (["celery"], [])), LONG)
    gate = tmp_path / "open"
    gate.touch()
    _settled(app)
    # When a task is sent there
    waits = app.send_task("featured.hold", (str(gate),))
    # Then it waits, in the queue,
    eventually(lambda: _equal(app.store.broker.stats(["celery"])[0].ready, 1), LONG)
    assert ask(app, "active") == ask(app, "reserved") == []
    assert waits.state == "PENDING"
    # until the queue is resumed.
    told = talo(place, "control", "--json", "resume", "celery")
    assert json.loads(told.stdout) == {"queues": [], "tasks": []}
    assert waits.get(timeout=LONG) == "let go"


def _paused(app: Talo) -> tuple[list[str], list[str]]:
    return app.control.paused()


def _settled(app: Talo) -> None:
    """The children have gone by the last change: each answers by what it reports next."""
    before = ask(app, "clock")["clock"]
    eventually(lambda: _later(ask(app, "clock")["clock"], before + 5), LONG)


def _later(value: int, than: int) -> None:
    assert value > than


def test_a_task_type_is_paused_while_others_go_on(app: Talo, worker: Worker) -> None:
    app.control.pause(tasks=["featured.flaky"])
    eventually(lambda: _equal(app.control.paused(), ([], ["featured.flaky"])), LONG)
    _settled(app)
    paused = app.send_task("featured.flaky", (0,))
    assert app.send_task("featured.add", (1, 2)).get(timeout=LONG) == 3
    # Put aside, not held
    eventually(lambda: _equal([app.store.broker.stats([name])[0].ready for name in app.control.parkings()], [1]), LONG)
    assert paused.state == "PENDING"
    app.control.resume(tasks=["featured.flaky"])
    _settled(app)
    assert app.send_task("featured.flaky", (0,)).get(timeout=LONG) is not None


def test_a_rate_limit_set_at_run_time_is_kept_by_all_processes_together(app: Talo, worker: Worker) -> None:
    assert tell(app, "rate_limit", task_name="featured.add", rate_limit="10/s") == {
        "ok": "new rate limit set successfully"
    }
    assert "featured.add [rate_limit=10/s]" in ask(app, "registered")
    _settled(app)
    began = time.monotonic()
    results = app.send_many(("featured.add", (n, n)) for n in range(30))
    # Others pass meanwhile,
    other = app.send_task("featured.flaky", (0,))
    other.get(timeout=LONG)
    assert [result.get(timeout=LONG) for result in results] == [2 * n for n in range(30)]
    # and thirty starts take at least the time of twenty-seven intervals (some of the first are made up for).
    assert time.monotonic() - began > 2.5
    assert tell(app, "rate_limit", task_name="featured.add", rate_limit=0)["ok"].startswith("rate limit disabled")


def test_time_limits_set_at_run_time_hold_for_what_starts_then(app: Talo, worker: Worker, tmp_path: Path) -> None:
    assert tell(app, "time_limit", task_name="featured.hold", hard=0.3)["ok"]
    _settled(app)
    with pytest.raises(errors.TimeLimitExceeded):
        app.send_task("featured.hold", (str(tmp_path / "never"),)).get(timeout=LONG)
    tell(app, "time_limit", task_name="featured.hold")
    # And the process that was ended for it does not count as busy.
    eventually(lambda: _equal(ask(app, "stats")["talo"]["active"], 0), LONG)
    assert ask(app, "active") == []


def test_queues_are_added_and_cancelled(app: Talo, worker: Worker) -> None:
    assert tell(app, "add_consumer", queue="extra") == {"ok": "add consumer extra"}
    assert app.send_task("featured.add", (1, 1), queue="extra").get(timeout=LONG) == 2
    assert tell(app, "cancel_consumer", queue="extra") == {"ok": "no longer consuming from extra"}
    _settled(app)
    left = app.send_task("featured.add", (1, 1), queue="extra")
    assert app.send_task("featured.add", (2, 2)).get(timeout=LONG) == 4
    assert left.state == "PENDING"
    # What was said outlives agent and children.
    os.kill(worker.agent(), 9)
    tell_again = eventually(lambda: _answered(app), LONG)
    assert [queue["name"] for queue in tell_again] == ["celery"]


def _answered(app: Talo) -> Any:
    answers = app.control.inspect(["w@test"], timeout=1).active_queues()
    assert answers
    return answers["w@test"]


def test_stamped_tasks_are_revoked(app: Talo, worker: Worker) -> None:
    app.control.revoke_by_stamped_headers({"tenant": ["acme", "b"]}, reply=True, destination=["w@test"], timeout=LONG)
    _settled(app)
    doomed = app.send_task("featured.add", (1, 2), headers={"stamped_headers": ["tenant"], "stamps": {"tenant": "b"}})
    with pytest.raises(errors.TaskRevokedError):
        doomed.get(timeout=LONG)
    assert app.send_task("featured.add", (1, 2)).get(timeout=LONG) == 3


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_pool_restarts_scales_and_shuts_down(method: str, tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path}/talo.sqlite3"
    env = {"TALO_WORKER_POOL_RESTARTS": "1", "AUTOSCALE_KEEPALIVE": "0.5"}
    with (
        Talo("client", broker=place, set_as_current=False) as app,
        Worker(
            place,
            tmp_path,
            "-Q",
            "scaled",
            "--autoscale",
            "3,1",
            "--start-method",
            method,
            app="tests.apps.featured",
            name="s",
            env=env,
        ) as worker,
    ):
        gate = tmp_path / "open"
        [first] = worker.children()
        assert tell(app, "pool_restart", "s@test") == {"ok": "reload started"}
        eventually(lambda: _others(worker, first), LONG)
        # When more waits than runs, processes come, and when they idle they go
        held = [app.send_task("featured.hold", (str(gate),), queue="scaled") for _ in range(3)]
        eventually(lambda: _equal(len(worker.children()), 3), LONG)
        gate.touch()
        for each in held:
            each.get(timeout=LONG)
        eventually(lambda: _equal(len(worker.children()), 1), LONG)
        assert tell(app, "autoscale", "s@test", max=2, min=2) == {"ok": "autoscale now max=2 min=2"}
        eventually(lambda: _equal(len(worker.children()), 2), LONG)
        # When it is shut down it ends as by TERM
        assert talo(place, "control", "-d", "s@test", "shutdown").returncode == 0
        assert worker.wait(LONG) == 0


def _others(worker: Worker, first: int) -> None:
    children = worker.children()
    assert len(children) == 1 and children != [first]


@pytest.mark.promise("M06")
def test_status_is_right_while_every_slot_is_busy(
    place: str, app: Talo, worker: Worker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a worker whose every slot is busy
    gate = tmp_path / "open"
    held = [app.send_task("featured.hold", (str(gate),)) for _ in range(2)]
    eventually(lambda: _equal(ask(app, "stats")["talo"]["active"], 2), LONG)
    try:
        for _ in range(100):
            # When its state is asked for, a hundred times
            began = time.monotonic()
            code = run(["-b", place, "status", "--json", "-t", "0.02"])
            # Then the answer is right, and there within five seconds.
            assert time.monotonic() - began < 5
            nodes = json.loads(capsys.readouterr().out)
            assert code == 0
            assert [(node["name"], node["alive"], node["slots"]) for node in nodes if node["slots"]] == [
                ("w@test", True, 2)
            ]
    finally:
        gate.touch()
    for each in held:
        each.get(timeout=LONG)
