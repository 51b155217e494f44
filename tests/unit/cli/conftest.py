"""A small project on an SQLite file, and the command run in it: in this process where that is enough, as a real one
where imports, signals or exit codes of processes are the matter."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from talo.app.app import Talo
from talo.cli.main import run
from talo.stores.base import Death, Settlement, Verdict

ROOT = Path(__file__).resolve().parents[3]

TASKS = """
from talo import Talo

app = Talo("{name}")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task(autoretry_for=(ValueError,), max_retries=5, retry_backoff=2, time_limit=30, soft_time_limit=20)
def fetch(url: str) -> str:
    raise KeyError(url)


@app.task(acks_late=False, dead_letter=False)
def once() -> None:
    return None
"""

#: Modules are imported into this process once and for all: every test gets names of its own.
_names = (f"proj{number}" for number in itertools.count())


@dataclass
class Told:
    """What one command line said."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The columns of its table, without the headings."""
        return [line.split("\t") for line in self.out.splitlines()[1:]]

    def says_in_one_line(self, *words: str) -> None:
        """Check that it failed with one line that holds these words."""
        assert self.code != 0
        assert self.err.startswith("Error: "), self.err
        assert self.err.count("\n") == 1, self.err
        for word in words:
            assert word in self.err


class Project:
    """A directory with one app in a module, and the database that its broker is."""

    def __init__(self, directory: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.name = name
        self.broker = f"sqlite:///{directory / 'queue.sqlite3'}"
        self._capsys = capsys
        self.write(name, TASKS.format(name=name))

    def write(self, module: str, text: str) -> None:
        """Write a module of the project; dots make packages."""
        path = self.directory.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def talo(self, *words: str) -> Told:
        """Run the command in this process."""
        self._capsys.readouterr()
        code = run(words)
        said = self._capsys.readouterr()
        return Told(code, said.out, said.err)

    def with_app(self, *words: str) -> Told:
        """Run the command with this project's app."""
        return self.talo("-A", self.name, *words)

    def process(self, *words: str, stdin: str = "", env: dict[str, str] | None = None) -> Told:
        """Run the command as a process of its own, with nobody at a terminal."""
        done = subprocess.run(
            [sys.executable, "-m", "talo", *words],
            cwd=self.directory,
            env=self.environment(**(env or {})),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return Told(done.returncode, done.stdout, done.stderr)

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a process of this project."""
        return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TALO_BROKER_URL": self.broker, **more}

    def app(self) -> Talo:
        """An app on the same broker, for looking at what a command did. Close it."""
        return Talo("observer", broker=self.broker, set_as_current=False)

    def bury(self, task: str, *args: object, count: int = 1, text: str = "no good") -> list[str]:
        """Make dead letters of calls; return the task ids, the oldest first."""
        with self.app() as app:
            sent = app.send_many([(task, args)] * count)
            broker = app.store.broker
            broker.open("gravedigger", worker="gravedigger@test", slots=1, lease=60)
            turn = broker.turn([], "gravedigger", ["celery"], count)
            death = Death(reason="failed", text=text, task=task, detail={"traceback": "Traceback:\n  line"})
            broker.settle(
                [
                    Settlement(
                        lease=delivery.lease,
                        verdict=Verdict.DEAD,
                        death=Death(
                            reason=death.reason,
                            text=text,
                            task=task,
                            task_id=delivery.message.id if delivery.message else None,
                            detail=death.detail,
                        ),
                    )
                    for delivery in turn.deliveries
                ]
            )
            broker.close_owner("gravedigger")
        return [result.id for result in sent]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Project]:
    """A project in a directory of its own, which is the working directory; nothing outside configures it."""
    ours = ("TALO_", "CELERY_")
    options = {
        "APP",
        "BROKER_URL",
        "RESULT_BACKEND",
        "LOADER",
        "CONFIG_MODULE",
        "SKIP_CHECKS",
        "DJANGO_SETTINGS_MODULE",
    }
    for name in list(os.environ):
        if name.startswith(ours) or name in options:
            monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    made = Project(tmp_path, next(_names), capsys)
    monkeypatch.setenv("TALO_BROKER_URL", made.broker)
    yield made
