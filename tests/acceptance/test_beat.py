"""Periodic tasks from end to end: ``talo beat``, ``-B`` on every worker, edits from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.beats import TICK, Beat, judged, periodic_app, plans
from tests.support import eventually
from tests.workers import ROOT, Worker

ENTRIES: dict[str, Any] = {
    f"e{n}": {"task": TICK, "schedule": period, "args": [f"e{n}"]} for n, period in enumerate((0.5, 0.7, 1.1))
}


def check(fact: object) -> None:
    assert fact


def talo(broker: str, *words: str) -> str:
    """The output of one command."""
    env = {**os.environ, "TALO_BROKER_URL": broker, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-m", "talo", "-A", "tests.apps.periodic", *words]
    told = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
    return told.stdout


@pytest.fixture
def broker(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/talo.sqlite3"


@pytest.mark.promise("S01", "J09")
def test_every_worker_may_have_a_beat(broker: str, tmp_path: Path) -> None:
    # Given two workers with -B
    env = {"ENTRIES": json.dumps(ENTRIES)}
    workers = [
        Worker(broker, tmp_path, "-B", "-c", "1", app="tests.apps.periodic", env=env, name=f"w{n}") for n in range(2)
    ]
    with periodic_app(broker) as app, workers[0], workers[1]:
        eventually(lambda: check(len(plans(app)) == 3 and all(plan.total >= 5 for plan in plans(app).values())), 30)
        for worker in workers:
            assert worker.stop() == 0
        # Then each tick was sent once, and every task was run
        for name, entry in ENTRIES.items():
            ledger = judged(app, name, entry["schedule"])
            assert [run.fate for run in ledger] == ["ran"] * plans(app)[name].total
            ids = [str(run.task_id) for run in ledger]
            # ... but those of the last moments, which wait
            assert len(app.backend.get(ids)) >= len(ids) - 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_beat_ends_when_told(broker: str, tmp_path: Path, number: int) -> None:
    with Beat(broker, tmp_path, ENTRIES) as beat:
        assert beat.wait_ready().stop(number) == 0
    assert "talo beat v" in beat.output()
    assert "Traceback" not in beat.output()


@pytest.mark.promise("S06")
def test_the_command_line_steers_a_running_beat(broker: str, tmp_path: Path) -> None:
    with periodic_app(broker) as app, Beat(broker, tmp_path, ENTRIES) as beat:
        beat.wait_ready()
        # Added
        talo(broker, "schedule", "add", "dyn", TICK, "every", "0.3s", "--args", '["dyn"]')
        eventually(lambda: check(plans(app)["dyn"].total >= 2), timeout=5)
        # Paused: by the time that others have run again, it has not
        talo(broker, "schedule", "pause", "dyn")
        paused, others = plans(app)["dyn"].total, plans(app)["e0"].total
        eventually(lambda: check(plans(app)["e0"].total >= others + 3))
        assert plans(app)["dyn"].total == paused
        # Resumed, listed, and its history told
        talo(broker, "schedule", "resume", "dyn")
        eventually(lambda: check(plans(app)["dyn"].total > paused), timeout=5)
        rows = {row["name"]: row for row in json.loads(talo(broker, "schedule", "list", "-j"))}
        assert set(rows) == {*ENTRIES, "dyn"}
        assert (rows["dyn"]["source"], rows["e0"]["source"]) == ("dynamic", "config")
        assert {run["fate"] for run in json.loads(talo(broker, "schedule", "history", "dyn", "-j"))} == {"ran"}
        # Run now, edited, removed
        task_id = talo(broker, "schedule", "run-now", "dyn").strip()
        assert task_id in talo(broker, "schedule", "history", "dyn")
        talo(broker, "schedule", "edit", "dyn", "--schedule", "0 3 * * *", "--timezone", "Europe/Berlin")
        assert len(talo(broker, "schedule", "next", "dyn", "3").splitlines()) == 3
        talo(broker, "schedule", "remove", "dyn")
        assert "dyn" not in plans(app)


def test_a_lone_beat_with_a_file_says_that_it_must_be_alone(broker: str, tmp_path: Path) -> None:
    file = str(tmp_path / "last-runs")
    with Beat(broker, tmp_path, ENTRIES, "-S", "celery.beat:PersistentScheduler", "-s", file) as beat:
        beat.wait_ready()
        eventually(lambda: check(Path(file).exists()))
        with Beat(
            broker, tmp_path, ENTRIES, "-S", "celery.beat:PersistentScheduler", "-s", file, name="other"
        ) as other:
            assert other.process is not None
            assert other.process.wait(30) == 1
        assert "only one may run" in other.output()
        assert beat.stop() == 0
