"""One command line for the real worker and for Talo's: the flags have the same effects, seen from outside by each one's
own ``inspect``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.peers import CeleryWorker, celery_env
from tests.servers.redis import RedisServer, database_of, empty_database
from tests.support import eventually
from tests.workers import ROOT, Worker

pytestmark = pytest.mark.promise("K08")

FLAGS = (
    "-n", "flags@test", "-P", "prefork", "-c", "2", "-Q", "one,two", "-I", "tests.apps.dashed", "-E", "-O", "fair",
    "--max-tasks-per-child", "7", "--max-memory-per-child", "500000", "--time-limit", "60", "--soft-time-limit", "50",
    "--without-gossip", "--without-mingle", "--without-heartbeat", "--purge",
)  # fmt: skip
#: What is seen of a worker -> the flag that it comes from.
EFFECTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "-n": lambda seen: list(seen["stats"]),
    "-c": lambda seen: seen["worker"]["pool"]["max-concurrency"],
    "-P prefork": lambda seen: len(seen["worker"]["pool"]["processes"]),
    "--max-tasks-per-child": lambda seen: seen["worker"]["pool"]["max-tasks-per-child"],
    "--time-limit, --soft-time-limit": lambda seen: [float(n) for n in seen["worker"]["pool"]["timeouts"]],
    "-Q": lambda seen: sorted(queue["name"] for queue in seen["active_queues"]["flags@test"]),
    "-I": lambda seen: "tests.apps.dashed" in seen["conf"]["flags@test"]["include"],
    "--purge": lambda seen: seen["left"],
    "--pidfile": lambda seen: seen["pidfile"],
    "--pidfile, at the end": lambda seen: seen["pidfile left"],
    "--logfile": lambda seen: seen["logged"],
    "TERM": lambda seen: seen["exit code"],
    "a second worker with that pidfile": lambda seen: seen["second"] != 0,
}
EXPECTED = {
    "-n": ["flags@test"],
    "-c": 2,
    "-P prefork": 2,
    "--max-tasks-per-child": 7,
    "--time-limit, --soft-time-limit": [50.0, 60.0],
    "-Q": ["one", "two"],
    "-I": True,
    "--purge": 0,
    "--pidfile": True,
    "--pidfile, at the end": False,
    "--logfile": True,
    "TERM": 0,
    "a second worker with that pidfile": True,
}


@pytest.fixture(scope="module", params=["celery", "talo"])
def seen(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """What can be seen of a worker with these flags, while it runs and after it."""
    with empty_database(redis_server) as url:
        db = database_of(url)
        redis_server.command("RPUSH", "one", json.dumps({"of": "before"}), db=db)
        folder = tmp_path_factory.mktemp("flags")
        yield _look(request.param, url, folder, lambda: redis_server.command("LLEN", "one", db=db))


def _look(engine: str, url: str, folder: Path, left: Callable[[], Any]) -> dict[str, Any]:
    pidfile, logfile = folder / "worker.pid", folder / "worker.log"
    words = (*FLAGS, "--pidfile", str(pidfile), "--logfile", str(logfile))
    kind = CeleryWorker if engine == "celery" else Worker
    env = {"ENGINE": engine, **celery_env(url)}
    worker = kind(url, folder, *words, env=env, app="tests.apps.observed")
    worker.log = logfile
    found: dict[str, Any] = {}

    def ask(*command: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", engine, "-A", "tests.apps.observed", *command], cwd=ROOT, text=True,
            capture_output=True, timeout=60, check=False, env={**os.environ, **env, "TALO_BROKER_URL": url},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    with worker.start(ready=False):
        eventually(lambda: _contains(logfile, " ready."), timeout=40)
        for name in ("stats", "active_queues", "conf"):
            found[name] = ask("inspect", "-j", "-t", "10", "-d", "flags@test", name)
        found["worker"] = found["stats"]["flags@test"]
        found["left"] = int(left().strip(b":\r\n"))
        found["pidfile"] = int(pidfile.read_text()) == worker.pid
        found["logged"] = "flags@test ready." in logfile.read_text()
        second = kind(url, folder, *words, env=env, app="tests.apps.observed")
        second.log = folder / "second.log"
        with second.start(ready=False):
            found["second"] = second.wait(40)
        found["exit code"] = worker.stop()
    found["pidfile left"] = pidfile.exists()
    return found


def _contains(file: Path, text: str) -> None:
    assert file.exists() and text in file.read_text()


@pytest.mark.parametrize("flag", EXPECTED)
def test_a_flag_does_the_same_on_either_worker(seen: dict[str, Any], flag: str) -> None:
    assert EFFECTS[flag](seen) == EXPECTED[flag]
