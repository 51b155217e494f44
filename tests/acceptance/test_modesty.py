"""Modest on the machine: what Talo makes is for its owner only, no process leaves its place or changes its user, and
who starts it as root is told what to do instead."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.places import APP, STORES, Place, a_place  # noqa: F401  fixture
from tests.support import eventually
from tests.workers import Worker, group_alive

LONG = 60.0
#: What the tests themselves make there: output of processes, and a database of Django's with its companions.
OURS = ("w.log", "django.sqlite3", "django.sqlite3-wal", "django.sqlite3-shm")
PERSISTENT = "talo.beat.persistent:PersistentScheduler"


@pytest.fixture
def open_handed() -> Iterator[None]:
    """Processes are started with a umask that keeps nothing from anybody."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.promise("X05")
@pytest.mark.parametrize("place", STORES, indirect=True)
def test_files_are_their_owner_s_and_processes_stay_where_they_were_started(place: Place, open_handed: None) -> None:
    # Given a machine where everything that is made is for everybody, unless its maker says otherwise
    temp = place.tmp / "temp"
    temp.mkdir()
    place.env |= {"TMPDIR": str(temp), "HOME": str(place.tmp)}
    words = ["-c", "2", "-E", "-B", "--http", "0", "-f", "%n-own.log", "--pidfile", "w.pid"]
    schedule = ["-S", PERSISTENT, "-s", "schedule", "-f", "beat.log", "--pidfile", "beat.pid"]
    worker = place.worker(*words)
    # When all that Talo has to run runs, and each part has done what it leaves traces of
    with place.client() as app, contextlib.ExitStack() as stack:
        stack.callback(worker.destroy)
        worker.start(ready=False)
        beat = place.start("beat", *schedule)
        dashboard = place.start("dashboard", "-p", "0", "--audit", "audit.jsonl")
        for process in (beat, dashboard):
            stack.callback(process.communicate)
            stack.callback(process.kill)
        later = app.send_task(f"{APP}.add", (1, 2), countdown=1)
        failed = app.send_task(f"{APP}.fails")
        assert later.get(timeout=LONG) == 3
        with pytest.raises(ValueError):
            failed.get(timeout=LONG)
        assert dashboard.stdout is not None
        address = dashboard.stdout.readline().split()[-1].rstrip("/")
        [letter] = httpx.get(f"{address}/api/dead", timeout=LONG).json()["letters"]
        assert httpx.post(f"{address}/api/dead/drop", json={"ids": [letter["id"]]}, timeout=LONG).status_code == 200
        made = ("w-own.log", "w.pid", "audit.jsonl", "beat.log", "beat.pid", "schedule", "schedule.lock")
        eventually(lambda: _holds({name for name in made if not (place.tmp / name).exists()} == set()), LONG)
        # Then no file that they have made is anybody else's to read
        assert _shown(place.tmp) == []
        # And agent, children and beat are where they were started, as who started them
        pids = [worker.pid, *worker.descendants()]
        assert len(pids) == 4
        assert {_place_of(pid) for pid in pids} == {(worker.pid, worker.pid)}
        assert _place_of(beat.pid) == _place_of(dashboard.pid) == _place_of(os.getpid())
        assert {_identity(pid) for pid in (*pids, beat.pid, dashboard.pid)} == {_identity(os.getpid())}
        # And once they have been told to stop, nothing of them is left
        assert worker.stop() == 0
        for process in (beat, dashboard):
            process.terminate()
            process.wait(LONG)
        assert not group_alive(worker.pid)
        assert _with_environment(f"TMPDIR={temp}") == []
    assert [name for name in ("w.pid", "beat.pid") if (place.tmp / name).exists()] == []
    assert _shown(place.tmp) == []


@pytest.mark.promise("X05")
@pytest.mark.parametrize("command", [("worker",), ("beat",), ("events",)], ids=" ".join)
@pytest.mark.parametrize("words", [("--detach",), ("--uid", "nobody"), ("--gid", "nogroup")], ids=" ".join)
def test_to_leave_the_terminal_or_to_be_another_is_refused_with_who_does_it(
    command: tuple[str], words: tuple[str, ...], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "talo", "-A", APP, *command, *words], env=_env(tmp_path), capture_output=True, text=True,
        timeout=LONG,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert words[0] in done.stderr
    assert "systemd" in done.stderr


@pytest.mark.promise("X05")
@pytest.mark.parametrize("root", [True, False], ids=["root", "user"])
@pytest.mark.parametrize(
    ("words", "ready"),
    [
        (("worker", "-l", "info", "-c", "1"), " ready."),
        (("beat", "-l", "info"), "beat: Starting..."),
        (("dashboard", "-p", "0"), "audit log in"),
    ],
    ids=["worker", "beat", "dashboard"],
)
def test_a_start_as_root_warns_and_names_the_mend(
    words: tuple[str, ...], ready: str, root: bool, tmp_path: Path
) -> None:
    # Given one of Talo's processes, started by root or by somebody else
    log = tmp_path / "log"
    command = [*_become(root), sys.executable, "-m", "talo", "-A", APP, *words]
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, env=_env(tmp_path), cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        eventually(lambda: _holds(ready in log.read_text()), LONG)
    finally:
        process.terminate()
        process.wait(LONG)
    # Then root, and nobody else, is told
    warning = f"You are running the {words[0]} as root: give it a user of its own (User= in systemd, USER in an image)"
    assert log.read_text().count(warning) == int(root)


@pytest.mark.promise("X05")
def test_workers_that_multi_starts_keep_their_files_to_themselves(tmp_path: Path, open_handed: None) -> None:
    words = [sys.executable, "-m", "talo", "multi"]
    run = {"cwd": tmp_path, "env": _env(tmp_path), "timeout": LONG, "check": True}
    subprocess.run([*words, "start", "one", "-A", APP, "-c", "1"], **run)  # type: ignore[call-overload]
    try:
        assert (tmp_path / "one.log").exists() and (tmp_path / "one.pid").exists()
        assert _shown(tmp_path) == []
    finally:
        subprocess.run([*words, "stopwait", "one"], **run)  # type: ignore[call-overload]


def test_what_a_project_sets_is_on_no_command_line(tmp_path: Path) -> None:
    # Given a project that sets what nobody else should know, and processes that are not forked
    (tmp_path / "quiet.py").write_text('from talo import Talo\napp = Talo("quiet", security_key="Canary-51c9")\n')
    with Worker(f"sqlite:///{tmp_path}/talo.sqlite3", tmp_path, "-c", "1", "--start-method", "spawn", app="quiet") as w:
        # Then nothing that everybody on the machine may read tells it
        told = [Path(f"/proc/{pid}/cmdline").read_text() for pid in (w.pid, *w.descendants())]
        assert len(told) == 3
        assert [line for line in told if "Canary" in line] == []


def _env(tmp: Path) -> dict[str, str]:
    root = Path(__file__).parents[2]
    python = os.pathsep.join([str(root / "src"), str(root)])
    return {**os.environ, "TALO_BROKER_URL": f"sqlite:///{tmp}/talo.sqlite3", "PYTHONPATH": python}


def _become(root: bool) -> list[str]:
    """What to put before a command so that it runs as root, or not: nothing, or a user namespace in which one is."""
    if root == (os.geteuid() == 0):
        return []
    other = ["unshare", "--user", *(["--map-root-user"] if root else [])]
    if shutil.which("unshare") is None or subprocess.run([*other, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here: who runs the tests cannot be another")
    return other


def _shown(folder: Path) -> list[tuple[str, str]]:
    """What somebody else may read, write or enter below a folder."""
    found = [(path, path.lstat().st_mode) for path in folder.rglob("*") if path.name not in OURS]
    return [
        (str(path.relative_to(folder)), stat.filemode(mode))
        for path, mode in found
        if mode & 0o077 and path != folder / "temp"
    ]


def _place_of(pid: int) -> tuple[int, int]:
    """Process group and session."""
    return os.getpgid(pid), os.getsid(pid)


def _identity(pid: int) -> tuple[str, ...]:
    """User and group ids of every kind."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return tuple(line for line in lines if line.startswith(("Uid:", "Gid:", "Groups:")))


def _with_environment(entry: str) -> list[int]:
    """Processes that were started with this in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if entry.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _holds(fact: object) -> None:
    assert fact
