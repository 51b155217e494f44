"""Where Celery is not installed, and no distribution takes its name: the talo command stands in by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ecosystem.venv import CeleryCommand, Environment, build
from tests.support import eventually

PROJECT = """
from kombu import Queue
from celery import Celery, shared_task
import celery.signals

app = Celery("proj", broker="sqlite:///q.sqlite3", backend="sqlite:///q.sqlite3", task_queues=[Queue("celery")])

@shared_task
def add(x, y):
    return x + y
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment without any celery."""
    return build(tmp_path_factory.mktemp("bare") / "venv", distributions=False)


def test_the_talo_command_stands_in_where_celery_is_absent(bare: Environment, tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj/__init__.py").write_text("from .celery import app\n")
    # A module of the project's own called celery is not mistaken for it.
    (tmp_path / "proj/celery.py").write_text(PROJECT)
    talo = ("python", "-m", "talo", "-A", "proj")
    running = CeleryCommand(bare, tmp_path, name="w", PYTHONPATH=str(tmp_path))
    running._command = [str(bare.python), *talo[1:], "worker", "-n", "w@test", "-l", "INFO", "-c", "1"]
    with running:
        sent = bare.run(*talo, "call", "proj.celery.add", "-a", "[2, 3]", cwd=tmp_path, PYTHONPATH=str(tmp_path))
        assert sent.returncode == 0, sent.stderr

        def done() -> None:
            told = bare.run(*talo, "result", sent.stdout.strip(), cwd=tmp_path, PYTHONPATH=str(tmp_path))
            assert told.stdout.strip() == "5", told.stderr

        eventually(done, timeout=30, interval=0.3)


def test_a_plain_program_still_has_no_celery(bare: Environment, tmp_path: Path) -> None:
    told = bare.run("python", "-c", "import talo, celery", cwd=tmp_path)
    assert told.returncode == 1 and "No module named 'celery'" in told.stderr
