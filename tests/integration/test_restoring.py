"""What Talo holds, no worker of Celery's restores: both fleets at one Redis, with Celery's visibility timeout far below
the length of Talo's tasks, and processes of Talo's dying.

Celery's worker runs with more threads than there are tasks: it begins at once whatever comes back to the queue, and
keeps nothing waiting that its own peers would restore. It looks before each task whether a lease of Talo's has it.
How often it looks for what is lost is a setting that kombu knows since 5.7: older ones look every 100 seconds, and are
not waited for here.
"""

from __future__ import annotations

import itertools
import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import AsyncResult, Talo
from tests.chaos.kit import SOAK, check, full, kill
from tests.integration.peers import CeleryWorker
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.workers import Trace, Worker

#: What Talo holds from the beginning, in as many threads of each of two workers; and how often something is killed.
EACH, STRIKES = full(100, 12), full(60, 3)
#: Celery thinks lost what is older (seconds), and looks for it every so many seconds (ten times the interval).
IMPATIENT = {"VISIBILITY_TIMEOUT": "1", "RESTORE_INTERVAL": "0.1"}
ENV = {"TALO_WORKER_LEASE": "3", "TALO_TASK_MAX_DELIVERIES": "1000"}
TIMEOUT = full(1200, 120)
pytestmark = [pytest.mark.soak] if SOAK else []


@pytest.fixture
def url(redis_url: str) -> str:
    """A Redis database for one test."""
    return redis_url


@pytest.fixture
def app(url: str) -> Iterator[Talo]:
    """Talo as a client."""
    with Talo("client", broker=url, set_as_current=False, redis_priority_order="low-first") as app:
        yield app


class Talos:
    """Two workers of Talo's that an init system would start again."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self._numbers = itertools.count()
        self.workers = [self._new(), self._new()]

    def _new(self) -> Worker:
        return Worker(
            self._url, self._folder, "-P", "threads", "-c", str(EACH), app="tests.apps.talo_app",
            name=f"talo{next(self._numbers)}", env=ENV,
        ).start()  # fmt: skip

    def strike(self, turn: int) -> None:
        """Kill, by turns, the child, the agent, and all of a worker at once, as with a machine."""
        place = turn // 3 % 2
        worker = self.workers[place]
        if turn % 3 == 2:
            worker.destroy()
            self.workers[place] = self._new()
        else:
            victims = eventually(lambda: worker.children() if turn % 3 == 0 else [worker.agent()])
            kill(victims[0], signal.SIGKILL)

    def __enter__(self) -> Talos:
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self.workers:
            worker.destroy()


def begun_by(engine: str, trace: Trace) -> Counter[str]:
    """How often this engine began each task."""
    return Counter(line[1] for line in trace.lines() if line[0] == "started" and line[2] == engine)


def orphan(redis_server: RedisServer, url: str, app: Talo) -> AsyncResult[str]:
    """A task that stands where kombu keeps what a worker has fetched, by one that is long gone."""
    result: AsyncResult[str] = app.send_task("shared.where", queue="parked")
    db = int(url.rpartition("/")[2])
    raw = redis_server.command("RPOP", "parked", db=db).split(b"\r\n", 1)[1].rstrip().decode()
    tag = json.loads(raw)["properties"]["delivery_tag"]
    redis_server.command("HSET", "unacked", tag, f'[{raw}, "", "celery"]', db=db)
    redis_server.command("ZADD", "unacked_index", "1", tag, db=db)
    return result


@pytest.mark.promise("K04")
@pytest.mark.timeout(TIMEOUT + 120)
def test_celery_restores_its_own_and_nothing_that_talo_holds(
    redis_server: RedisServer, url: str, app: Talo, tmp_path: Path
) -> None:
    gate = str(tmp_path / "open")
    # Given two workers of Talo's, busy in all their threads,
    with Talos(url, tmp_path) as talos:
        held = [app.send_task("shared.hold", (gate, TIMEOUT)) for _ in range(2 * EACH)]
        ours = {result.id for result in held}
        trace = talos.workers[0].trace
        eventually(lambda: check(set(begun_by("talo", trace)) == ours), timeout=60)
        # When a worker of Celery's starts, that thinks everything older than a second lost,
        theirs = CeleryWorker(
            url, tmp_path, "-P", "threads", "-c", str(3 * EACH), app="tests.apps.witness", env=IMPATIENT
        )
        with theirs:
            # then it restores Celery's, time and again, and of Talo's nothing.
            assert [orphan(redis_server, url, app).get(timeout=60) for _ in range(3)] == ["celery"] * 3
            assert begun_by("talo", trace) == Counter(ours)
            assert not ours & set(begun_by("celery", trace))
            # When processes of Talo's are killed, while Celery goes on looking,
            for turn in range(STRIKES):
                talos.strike(turn)
                assert orphan(redis_server, url, app).get(timeout=60) in {"celery", "talo"}
            Path(gate).touch()
            # then each task ends; those that Talo put back itself may have run on either side,
            assert {result.get(timeout=TIMEOUT) for result in held} <= {"talo", "celery"}
            theirs.stop()
        # and no task began on Celery while Talo held it.
        assert [line for line in trace.lines() if line[0] == "taken"] == []
        assert [line for line in trace.lines() if line[0] == "free"] != []
