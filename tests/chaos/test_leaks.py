"""Nothing grows with what was done: not the memory and the objects of a worker's parent, and of its other processes no
object stays behind for each task or connection."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from talo.app.app import Talo
from tests.chaos.kit import HANGS, LONG, check, part
from tests.places import APP, STORES, Place, a_place  # noqa: F401  fixture
from tests.servers.proxy import Proxy
from tests.support import eventually

#: No-ops, failures, and how often all connections are lost: the promised numbers in a soak, or a part of them (with
#: ``TALO_SOAK=0.05`` a twentieth); else so many that one object for each task would be seen.
SIZE = (part(2_000_000, 10_000), part(500_000, 5000), part(1000, 20))
#: A stand-in for SQS is no place for millions; one object for each no-op would be seen.
SQS = (part(20_000, 4000), part(5000, 1000), part(1000, 20))
#: Of how many parts of the work the first one is for getting warm: a few thousand tasks are not enough for that.
PARTS = 20
#: Objects that come and go in all processes together: what was fetched last is kept until there is something else, a
#: few objects for each task of a turn. In a soak one object for each failure would be a hundred times as many.
FLAT = 3000
MIB = 1024


class Counted(NamedTuple):
    """A process at one moment."""

    objects: int
    kib: int


@pytest.mark.promise("P03")
@pytest.mark.parametrize("place", STORES, indirect=True)
@pytest.mark.timeout(6 * HANGS)
def test_nothing_grows_with_tasks_failures_and_lost_connections(place: Place) -> None:
    noops, failures, losses = SQS if place.broker.startswith("sqs") else SIZE
    census = str(place.tmp / "census")
    # On RabbitMQ and SQS a lost connection charges what it held, or keeps it until the lease is over.
    env = {"CENSUS": census, "TALO_TASK_MAX_DELIVERIES": "100000", "TALO_WORKER_LEASE": "3"}
    with place.client(result_expires=60) as app, _breakable(place) as proxy:
        # So quiet that it does not say when it is ready: that is heard from its processes.
        worker = place.worker("-c", "2", app="tests.apps.counted", env=env, loglevel="CRITICAL").start(ready=False)
        with worker:
            assert app.send_task(f"{APP}.add", (1, 2)).get(timeout=LONG) == 3
            eventually(lambda: check(len(worker.descendants()) == 3), LONG)
            pids = [worker.pid, *worker.descendants()]
            # Given a worker that has done the first part of its work
            for part in range(PARTS):
                if part == 1:
                    before = _count(pids, census)
                _work(app, noops // PARTS, failures // PARTS)
                _lose(app, proxy, losses // PARTS)
            # When it has done all of it
            after = _count(pids, census)
            # Then its parent is as it was, and nowhere has anything stayed behind for each task or connection
            grown = {pid: after[pid].objects - before[pid].objects for pid in pids}
            assert after[worker.pid].kib - before[worker.pid].kib < 10 * MIB
            assert abs(grown[worker.pid]) < 50
            assert sum(grown.values()) < FLAT, grown


def _work(app: Talo, noops: int, failures: int) -> None:
    """Let so many be run, some thousands at a time."""
    for name, count in (("quiet", noops), ("fails", failures)):
        for done in range(0, count, 5000):
            size = min(5000, count - done)
            app.send_many([(f"{APP}.{name}",)] * size)
            eventually(lambda: check(not _left(app)), LONG, 0.1)


def _left(app: Talo) -> int:
    return sum(queue.ready + queue.leased for queue in app.store.broker.stats(["celery"]))


def _lose(app: Talo, proxy: Proxy | None, times: int) -> None:
    """Let every connection of the worker end, so many times; after each it works again."""
    for _ in range(times if proxy is not None else 0):
        assert proxy is not None
        proxy.reset()
        proxy.pass_on()
        assert app.send_task(f"{APP}.add", (1, 2)).get(timeout=LONG) == 3


@contextlib.contextmanager
def _breakable(place: Place) -> Iterator[Proxy | None]:
    """A proxy between workers and the server; None for a file, to which there is no connection that could be lost."""
    found = re.findall(r"(?:127\.0\.0\.1|localhost):(\d+)", str(place.env))
    if not found:
        yield None
        return
    with Proxy("127.0.0.1", *map(int, found)) as proxy:
        place.env = {name: proxy.through(value) for name, value in place.env.items()}
        yield proxy


def _count(pids: list[int], census: str) -> dict[int, Counted]:
    """Ask every process of the worker."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(census)
    for pid in pids:
        os.kill(pid, signal.SIGRTMIN)

    def told() -> dict[int, Counted]:
        with contextlib.suppress(FileNotFoundError), open(census) as file:
            lines = [[int(word) for word in line.split()] for line in file.read().splitlines()]
            found = {pid: Counted(objects, kib) for pid, objects, kib in lines}
            assert found.keys() == set(pids)
            return found
        raise AssertionError("nobody has told yet")

    return eventually(told, LONG)
