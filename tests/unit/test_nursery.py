"""A command that a test starts in the nursery finds what it would find in an interpreter of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import nursery
from tests.nursery import PATH, Forked, Process, run, start

FACTS = """
import json, os, signal, sys, threading, time
main = sys.modules["__main__"]
# Sentry's client, where a test has started it, has its own for each process that is started.
OTHERS = ("PYTHONINSPECT", "SUBPROCESS_")
umask = os.umask(0)
os.umask(umask)
print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "flags": repr(sys.flags), "cwd": os.getcwd(),
    "main": [main.__name__, getattr(main.__spec__, "name", None), getattr(main, "__file__", None)],
    "tests": "tests" in sys.modules,
    "environ": {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)},
    "files": sorted(os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)), "open": len(os.listdir("/proc/self/fd")),
    "session": os.getsid(0) == os.getpid(), "group": os.getpgid(0) == os.getpid(), "umask": umask,
    "handlers": [repr(signal.getsignal(n)) for n in signal.valid_signals()],
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "threads": threading.active_count(), "zone": time.tzname,
    "streams": [(each.encoding, each.line_buffering, each.isatty()) for each in (sys.stdout, sys.stderr)],
}))
sys.stdout.flush()
os._exit(7)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a module is that tells what it finds and ends the command."""
    (tmp_path / "facts.py").write_text(FACTS)
    return tmp_path


def begun(folder: Path, module: str, session: bool = True, **env: str) -> Process:
    command = ["-m", "talo", "-A", module, "queues"]
    return program(folder, *command, session=session, **env)


def program(folder: Path, *words: str, session: bool = True, knows: tuple[str, ...] = (), **env: str) -> Process:
    told = {**os.environ, "PYTHONPATH": PATH, **env}
    return start([sys.executable, *words], told, folder, folder / "out", session=session, knows=knows)


def told(folder: Path) -> dict[str, Any]:
    text = (folder / "out").read_text()
    (folder / "out").unlink()
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("session", [True, False])
def test_a_forked_command_finds_what_one_of_its_own_interpreter_finds(folder: Path, session: bool) -> None:
    # Given one that is forked, in an environment of its own
    given = {"TZ": "Asia/Tokyo", "TALO_OF_A_TEST": "1"}
    forked = begun(folder, "facts", session, **given)
    assert isinstance(forked, Forked) and forked.wait(60) == 7
    finds = told(folder)
    # When another has an interpreter of its own, which is asked for by a variable that is for the interpreter
    fresh = begun(folder, "facts", session, **given, PYTHONINSPECT="")
    assert isinstance(fresh, subprocess.Popen) and fresh.wait(60) == 7
    # Then they find the same
    assert finds == told(folder)


@pytest.mark.parametrize(
    "words", [["-m", "facts", "x"], ["-c", FACTS, "-x"], ["facts.py", "x"]], ids=["module", "code", "script"]
)
def test_so_does_any_program_whose_modules_are_known(folder: Path, words: list[str]) -> None:
    # Given one that looks into a folder of its own, too
    given = {"PYTHONPATH": os.pathsep.join([PATH, str(folder / "more")]), "knows": ("csv", "wsgiref.simple_server")}
    forked = program(folder, *words, **given)
    assert isinstance(forked, Forked) and forked.wait(60) == 7
    finds = told(folder)
    fresh = program(folder, *words, **given, PYTHONINSPECT="")
    assert isinstance(fresh, subprocess.Popen) and fresh.wait(60) == 7
    assert finds == told(folder)


def test_what_a_command_says_is_returned_at_its_end(folder: Path) -> None:
    code = "import csv, sys; print('out'); print('error', file=sys.stderr); sys.exit('csv' in sys.modules)"
    done = run([sys.executable, "-c", code], {**os.environ, "PYTHONPATH": PATH}, folder, timeout=60, knows=("csv",))
    assert (done.returncode, done.stdout, done.stderr) == (1, "out\n", "error\n")


def test_a_command_that_does_not_end_in_time_is_killed(folder: Path) -> None:
    env = {**os.environ, "PYTHONPATH": PATH}
    with pytest.raises(subprocess.TimeoutExpired):
        run([sys.executable, "-c", "import signal; signal.pause()"], env, folder, timeout=0.1, knows=("csv",))
    parent = nursery._nursery(("csv",))._process.pid
    assert Path(f"/proc/{parent}/task/{parent}/children").read_text() == ""


def test_the_end_of_a_forked_command_is_that_of_a_process(folder: Path) -> None:
    # Given one that waits
    (folder / "waits.py").write_text("import signal\nsignal.pause()\n")
    process = begun(folder, "waits")
    assert isinstance(process, Forked)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    # When it is killed it is there until somebody asks
    os.kill(process.pid, signal.SIGKILL)
    os.kill(process.pid, 0)
    assert process.wait(60) == -signal.SIGKILL
    assert process.poll() == process.returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    process.kill()
