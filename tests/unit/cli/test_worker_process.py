"""``talo worker`` as a process: banner, log lines, pid file, purge, exit codes."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from talo import __version__
from tests.support import eventually
from tests.unit.cli.conftest import Project


class Running:
    """A worker that was started, and what it has said."""

    def __init__(self, project: Project, *words: str, **streams: Any) -> None:
        self.out = project.directory / "out"
        self.err = project.directory / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "talo", *words],
                cwd=project.directory,
                env=project.environment(),
                stdin=subprocess.DEVNULL,
                **{"stdout": out, "stderr": err, **streams},
            )

    def says(self, text: str, file: Path | None = None) -> None:
        """Wait until it has said this."""

        def said() -> None:
            assert self.process.poll() is None or text in self.everything(file)
            assert text in self.everything(file)

        eventually(said, timeout=20)

    def everything(self, file: Path | None = None) -> str:
        if file is not None:
            return file.read_text() if file.exists() else ""
        return self.out.read_text() + self.err.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@contextmanager
def running(project: Project, *words: str, app: str = "", **streams: Any) -> Iterator[Running]:
    worker = Running(project, "-A", app or project.name, "worker", "-c", "1", *words, **streams)
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.stop(signal.SIGTERM)


@pytest.mark.promise("C03")
def test_at_its_start_a_worker_states_what_holds_for_every_task(project: Project) -> None:
    # When
    with running(project, "-l", "info", "-n", "w1@%h") as worker:
        worker.says(" ready.")
        # Then
        said = worker.out.read_text()
    assert f"v{__version__} (talo)" in said
    for heading in ("[config]", "[queues]", "[tasks]", "[rules]"):
        assert f"\n {heading}\n" in said
    assert " .> celery           exchange=celery(direct) key=celery\n" in said
    for name in ("add", "fetch", "once"):
        assert f"\n  . {project.name}.{name}\n" in said
        assert f"      {project.name}.{name}\n" in said
    assert "at least once, up to 3 starts; retry when it asks, up to 3, every 3 minutes; limits: none" in said
    assert "retry on ValueError, up to 5, after 2 to 600 s with jitter; limits: hard 30 s, soft 20 s" in said
    assert "at most once; retry when it asks, up to 3, every 3 minutes; limits: none; dead letter if it is lost" in said


def test_a_pipe_gets_plain_lines_and_the_task_s_story(project: Project) -> None:
    # Given
    with running(project, "-l", "INFO", "--without-gossip", "--without-mingle") as worker:
        worker.says(" ready.")
        # When
        told = project.with_app("call", f"{project.name}.add", "-a", "[1, 2]", "--wait=20")
        # Then
        assert told.out.splitlines()[1] == "3"
        task = f"Task {project.name}.add[{told.out.splitlines()[0]}]"
        worker.says(f"{task} received")
        worker.says(f"{task} succeeded in ")
        assert worker.stop() == 0
    said = worker.everything()
    assert "--without-gossip: Talo has no gossip: nothing to switch off" in said
    assert "--without-mingle: Talo has no mingle: nothing to switch off" in said
    assert "\033[" not in said


def test_a_terminal_gets_colours_unless_they_are_unwanted(project: Project) -> None:
    for words, coloured in ((["-A", project.name], True), (["-C", "-A", project.name], False)):
        # Given a terminal
        ours, theirs = pty.openpty()
        worker = Running(project, *words, "worker", "-c", "1", "-l", "info", stdout=theirs, stderr=theirs)
        os.close(theirs)
        # When
        said = _read_until(ours, b" ready.")
        worker.stop()
        os.close(ours)
        # Then
        assert (b"\033[1m [config]\033[0m" in said) is coloured, said


def _read_until(descriptor: int, text: bytes) -> bytes:
    said = b""
    while text not in said:
        assert select.select([descriptor], [], [], 20)[0], said
        said += os.read(descriptor, 4096)
    return said


def test_the_quiet_get_no_banner(project: Project) -> None:
    worker = Running(project, "-q", "-A", project.name, "worker", "-c", "1", "-l", "info")
    worker.says(" ready.")
    worker.stop()
    assert "[config]" not in worker.everything()


def test_spawned_children_find_the_app_that_was_found(project: Project) -> None:
    # Given an app that is named by its module only
    with running(project, "-l", "info", "--start-method", "spawn") as worker:
        worker.says(" ready.")
        # Then
        assert project.with_app("call", f"{project.name}.add", "-a", "[1, 2]", "--wait=20").out.splitlines()[1:] == [
            "3"
        ]


@pytest.mark.promise("C09")
def test_spawned_children_know_the_tasks_of_the_module_that_was_named(project: Project) -> None:
    # Given a module with tasks, of which that of the app knows nothing
    (project.directory / "more_tasks.py").write_text(
        f"from {project.name} import app\n\n@app.task\ndef double(number):\n    return 2 * number\n"
    )
    with running(project, "-l", "info", "--start-method", "spawn", app="more_tasks") as worker:
        worker.says(" ready.")
        # Then
        told = project.process("-A", "more_tasks", "call", "more_tasks.double", "-a", "[21]", "--wait=20")
        assert told.out.splitlines()[1:] == ["42"]


def test_an_interrupted_worker_exits_with_1(project: Project) -> None:
    with running(project, "-l", "info") as worker:
        worker.says(" ready.")
        assert worker.stop(signal.SIGINT) == 1


def test_the_pid_file_is_held_while_the_worker_lives(project: Project) -> None:
    # Given
    path = project.directory / "w1.pid"
    with running(project, "-l", "info", "-n", "w1@test", "--pidfile", "%n.pid") as worker:
        worker.says(" ready.")
        # Then it names the worker
        assert path.read_text() == f"{worker.process.pid}\n"
        # And a second worker is refused
        told = project.with_app("worker", "--pidfile", str(path))
        assert told.code == 73
        told.says_in_one_line(f"process {worker.process.pid} is running")
        # And it is gone with the worker
        assert worker.stop() == 0
    assert not path.exists()


def test_purge_empties_the_queues_that_are_consumed_first(project: Project) -> None:
    # Given
    for queue in ("celery", "celery", "other"):
        project.with_app("call", f"{project.name}.add", "-a", "[1, 2]", "--queue", queue)
    # When
    with running(project, "-l", "info", "--purge", "-Q", "celery") as worker:
        worker.says(" ready.")
        worker.says("purge: Erased 2 messages from the queue.")
    # Then
    assert [row[:4] for row in project.talo("queues").rows] == [["celery", "0", "0", "0"], ["other", "1", "0", "0"]]
    assert "succeeded" not in worker.everything()


def test_the_log_file_takes_the_lines_and_modules_to_include_their_tasks(project: Project) -> None:
    # Given
    project.write(f"{project.name}_more", f"from {project.name} import app\n\n\n@app.task\ndef extra(): ...\n")
    log = project.directory / "w1.log"
    # When
    words = ("-l", "info", "-n", "w1@test", "-f", "%n.log", "-I", f"{project.name}_more", "--umask", "077", "-E")
    with running(project, *words) as worker:
        worker.says(" ready.", log)
        # Then
        assert f"  . {project.name}_more.extra\n" in worker.out.read_text()
        assert ".> task events: ON\n" in worker.out.read_text()
    assert " ready." not in worker.err.read_text()


def test_settings_may_stand_at_the_end(project: Project) -> None:
    with running(project, "-l", "info", "worker_lease=45", "worker.grace=3") as worker:
        worker.says(" ready.")
        assert "lease 45 s" in worker.out.read_text()


def test_django_s_system_checks_stop_a_worker_unless_they_are_skipped(project: Project) -> None:
    # Given a site with a setting that its checks refuse
    project.write(
        "site_settings", "SECRET_KEY = 'x'\nINSTALLED_APPS = []\nSTATICFILES_DIRS = []\nROOT_URLCONF = 'no_urls'\n"
    )
    env = {"DJANGO_SETTINGS_MODULE": "site_settings"}
    # When
    told = project.process("-A", project.name, "worker", "-X", "celery", env=env)
    # Then
    assert told.code == 1
    told.says_in_one_line("no_urls")
    # And without them it comes to the next problem
    project.process("--skip-checks", "-A", project.name, "worker", "-X", "celery", env=env).says_in_one_line(
        "no queue is left"
    )


def test_log_pid_file_and_umask_may_be_settings_and_what_has_no_effect_yet_is_said(project: Project) -> None:
    # Given settings in place of options, and one that is coming
    said = ["worker_logfile=%n.log", "worker_pidfile=%n.pid", "worker_umask=077", "broker_connection_max_retries=7"]
    log, pid = project.directory / "w1.log", project.directory / "w1.pid"
    # When
    with running(project, "-l", "info", "-n", "w1@test", *said) as worker:
        worker.says(" ready.", log)
        # Then they hold as the options do
        assert int(pid.read_text()) == worker.process.pid
        assert (log.stat().st_mode & 0o777, pid.stat().st_mode & 0o077) == (0o600, 0)
        # And the worker does not pass over what it cannot do
        assert worker.err.read_text().count("Note: broker_connection_max_retries has no effect yet: ") == 1
    assert not pid.exists()


def test_a_umask_that_is_none_is_refused_wherever_it_stands(project: Project) -> None:
    for command in ("worker", "beat"):
        told = project.process("-A", project.name, command, env={f"TALO_{command.upper()}_UMASK": "9"})
        assert told.code == 2
        told.says_in_one_line("umask '9' is not an octal number such as 022")
