"""A disk that is full: sends say so, and when there is room again everything goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import errors
from tests.chaos.kit import HANGS, LONG, Fleet, Judge, call, send_all
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer
from tests.workers import ROOT, client

KIB = 1024
#: MariaDB says nothing while it has no room: it asks for some again and again, and the send ends at its deadline.
SAID = {"sqlite": errors.StoreFull, "postgres": errors.StoreFull, "mariadb": errors.PublishTimeout}


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def small_disk(kind: str) -> Iterator[Path]:
    """A small file system, with room for the files that a database begins with; only root may mount one."""
    disk = Path(tempfile.mkdtemp(prefix="talo-disk-"))
    size = "96m" if kind == "mariadb" else "2m"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        disk.rmdir()
        # Without the right to mount there is the other test, which needs none.
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
        disk.rmdir()


@pytest.fixture
def url(request: pytest.FixtureRequest, kind: str, small_disk: Path) -> Iterator[str]:
    """The URL of a store whose tables stand on the small disk; PostgreSQL's log stands elsewhere, for without room for
    it the server stops."""
    if kind == "sqlite":
        yield f"sqlite:///{small_disk}/talo.sqlite3"
    elif kind == "postgres":
        server: PostgresServer = request.getfixturevalue("own_postgres")
        server.tablespace("small", small_disk / "tables")
        yield f"{server.url}?options=-cdefault_tablespace%3Dsmall"
    else:
        maria = MariadbServer(small_disk / "server", innodb_log_file_size="8M", aria_log_file_size="8M")
        try:
            yield maria.start().url
        finally:
            maria.remove()


@pytest.mark.promise("B13")
@pytest.mark.timeout(HANGS)
def test_a_full_disk_is_said_and_nothing_sent_before_is_lost(
    kind: str, url: str, small_disk: Path, tmp_path: Path
) -> None:
    filler = small_disk / "filler"
    with client(url) as app:
        ids = send_all(app, [call("noop") for _ in range(100)])
        # Given a worker, and a disk that somebody fills
        with Fleet(url, tmp_path, "-c", "2") as fleet:
            Judge(app, fleet.trace, ids).wait()
            fill(filler)
            # When more is sent than there is room for
            sent: list[str] = []
            with pytest.raises(SAID[kind]):
                for _ in range(1000):
                    sent += send_all(app, [call("nap", 0.0, headers={"x": os.urandom(10 * KIB).hex()})])
            # Then, with room again, sending works, and what had been sent is there
            filler.unlink()
            sent += send_all(app, [call("noop") for _ in range(20)])
            judge = Judge(app, fleet.trace, ids + sent)
            judge.wait(LONG)
            judge.nothing_is_left()
        assert judge.states() == {"SUCCESS": len(ids) + len(sent)}
        assert judge.dead() == []
        assert "Traceback" not in fleet.last.output()


def fill(path: Path) -> None:
    """Take what room there is."""
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4 * KIB))
        except OSError:
            return


_SENDER = """
import resource, signal, sys
from talo import Talo, errors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
app = Talo("limited", broker=sys.argv[1], publish_timeout=0.5)
first = app.send_task("tests.apps.traced.noop")
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
sent = [first.id]
try:
    for _ in range(1000):
        sent.append(app.send_task("tests.apps.traced.nap", (0.0,), headers={"x": "y" * 20_000}).id)
except errors.OperationalError:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    sent.append(app.send_task("tests.apps.traced.noop").id)
    print(*sent)
"""


@pytest.mark.promise("B13")
def test_a_file_that_may_not_grow_is_an_error_that_passes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/talo.sqlite3"
    # Given a process whose files may not grow any more: it is told so, and goes on when they may again
    done = subprocess.run(
        [sys.executable, "-c", _SENDER, url], capture_output=True, text=True, timeout=LONG, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ids = done.stdout.split()
    assert len(ids) > 2
    with client(url) as app, Fleet(url, tmp_path, "-c", "1") as fleet:
        judge = Judge(app, fleet.trace, ids)
        judge.wait()
        judge.nothing_is_left()
        assert judge.states() == {"SUCCESS": len(ids)}
