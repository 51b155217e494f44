"""A fleet of both kinds on one Redis, sending and working, while processes of Talo's are killed at random.

A thousand tasks, twenty thousand in a soak: single ones, chains, callbacks, retries, delayed ones and chords,
half of them sent by Celery. Every one ends with the right result, and at the end nobody holds anything.
"""

from __future__ import annotations

import itertools
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talo import Signature, Talo, chain, chord
from tests.apps.shared_code import define
from tests.chaos.kit import SEED, full, kill
from tests.integration.peers import CeleryClient, CeleryWorker
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.workers import Worker

_databases = itertools.count(470)
COUNT = full(20_000, 1_000)
#: Of a hundred calls so many are of each kind; each yields one result.
MIX = {"add": 50, "later": 12, "flaky": 10, "chain": 12, "link": 6, "chord": 10}
FORM = {"TALO_TASK_CANVAS_FORM": "celery", "TALO_WORKER_LEASE": "3", "TALO_TASK_MAX_DELIVERIES": "50"}
TIMEOUT = full(3600, 150)


@pytest.fixture
def url(redis_server: RedisServer) -> Iterator[str]:
    """A Redis database for one test."""
    db = next(_databases)
    redis_server.command("FLUSHDB", db=db)
    yield redis_server.url_of(db)
    redis_server.command("FLUSHDB", db=db)


class Fleet:
    """Two workers of Talo's that an init system would start again, and one that strikes at random."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self._random = random.Random(SEED)
        self._over = threading.Event()
        self.workers = [self._new(n) for n in range(2)]
        self._numbers = itertools.count(2)
        self.strikes = 0
        self._thread = threading.Thread(target=self._storm)

    def _new(self, number: int) -> Worker:
        worker = Worker(
            self._url, self._folder, "-c", "2", app="tests.apps.talo_app", name=f"talo{number}", env=FORM,
        )  # fmt: skip
        return worker.start()

    def _storm(self) -> None:
        while not self._over.wait(self._random.uniform(0.3, 1.2)):
            place = self._random.randrange(len(self.workers))
            worker = self.workers[place]
            processes = worker.descendants()
            if self._random.random() < 0.15 or not processes:
                worker.destroy()  # all of it at once, as with a machine
                self.workers[place] = self._new(next(self._numbers))
            else:
                kill(self._random.choice(processes), signal.SIGKILL)
            self.strikes += 1

    def __enter__(self) -> Fleet:
        self._thread.start()
        return self

    def calm(self) -> None:
        """No more strikes."""
        self._over.set()
        self._thread.join()

    def __exit__(self, *exc: object) -> None:
        self.calm()
        for worker in self.workers:
            worker.destroy()


def s(app: Talo, name: str, *args: Any) -> Signature:
    found: Signature = app.tasks[f"shared.{name}"].s(*args)
    return found


def send(app: Talo, kind: str, n: int) -> tuple[str, Any]:
    """Send one call of a kind from Talo; return the id to ask for and what should come."""
    if kind == "add":
        return app.send_task("shared.add", (n, 1)).id, n + 1
    if kind == "later":
        return app.send_task("shared.add", (n, 2), countdown=1 + n % 3).id, n + 2
    if kind == "flaky":
        return app.send_task("shared.flaky", (2, 0.1)).id, 2
    if kind == "chain":
        return chain(s(app, "add", n, 1), s(app, "add", 1), s(app, "add", 1)).apply_async().id, n + 3
    if kind == "link":
        after = s(app, "add", 5)
        after.freeze()
        s(app, "add", n, 1).apply_async(link=after)
        return after.id, n + 6
    return chord([s(app, "add", n, i) for i in range(4)], s(app, "echo")).apply_async().id, [
        [[n + i for i in range(4)]],
        {},
    ]


CELERYS = {
    "add": ("send('add', {n}, 1)", lambda n: n + 1),
    "later": ("send('add', {n}, 2, countdown=1 + {n} % 3)", lambda n: n + 2),
    "flaky": ("send('flaky', 2, 0.1)", lambda n: 2),
    "chain": ("chain(s('add', {n}, 1), s('add', 1), s('add', 1)).apply_async().id", lambda n: n + 3),
    "link": (
        "(lambda after: (after.freeze(), s('add', {n}, 1).apply_async(link=after), after.id)[2])(s('add', 5))",
        lambda n: n + 6,
    ),
    "chord": (
        "chord([s('add', {n}, i) for i in range(4)], s('echo')).apply_async().id",
        lambda n: [[[n + i for i in range(4)]], {}],
    ),
}


def kinds(count: int) -> list[str]:
    found = [kind for kind, share in MIX.items() for _ in range(share * count // 100)]
    random.Random(SEED).shuffle(found)
    return found


@pytest.mark.timeout(TIMEOUT + 120)
@pytest.mark.parametrize("size", [pytest.param(COUNT, marks=[pytest.mark.soak] if COUNT > 1_000 else [])])
def test_nothing_is_lost_between_the_two_while_talo_is_killed(
    redis_server: RedisServer, url: str, tmp_path: Path, size: int
) -> None:
    celery = CeleryClient(url)
    app = Talo(
        "client", broker=url, backend=url, set_as_current=False, redis_priority_order="low-first",
        task_canvas_form="celery",
    )  # fmt: skip
    define(app, "client")
    wanted: dict[str, Any] = {}
    try:
        # Given both kinds of workers at one queue, and processes of Talo's dying all the time,
        with CeleryWorker(url, tmp_path) as theirs, Fleet(url, tmp_path) as fleet:
            # when both send,
            for n, kind in enumerate(kinds(size)):
                if n % 2:
                    wanted.update([send(app, kind, n)])
                else:
                    code, value = CELERYS[kind]
                    wanted[celery(code.replace("{n}", str(n)))] = value(n)
            # then each task ends, with the right result, whoever asks.
            got: dict[str, Any] = {}

            def all_there() -> None:
                missing = [task_id for task_id in wanted if task_id not in got]
                for task_id, payload in app.backend.get(missing).items():
                    del payload
                    result = app.AsyncResult(task_id)
                    if result.ready():
                        got[task_id] = result.result
                assert len(got) == len(wanted), f"{len(wanted) - len(got)} are missing"

            eventually(all_there, timeout=TIMEOUT, interval=0.2)
            assert {i: v for i, v in got.items() if v != wanted[i]} == {}
            assert fleet.strikes > 3
            some = random.Random(SEED).sample(sorted(wanted), 50)
            assert celery("[result(i).get(timeout=30) for i in {ids}]", ids=some) == [wanted[i] for i in some]
            # When all are told to stop,
            fleet.calm()

            def at_rest() -> None:
                left = [q for q in app.store.broker.stats() if q.ready or q.delayed or q.leased]
                assert not left, left

            eventually(at_rest, timeout=60, interval=0.2)
            for worker in fleet.workers:
                assert worker.stop() == 0
            theirs.stop()
        # then nobody holds anything.
        held = redis_server.command("EXISTS", "celery", "unacked", "unacked_index", db=int(url.rpartition("/")[2]))
        assert held == b":0\r\n"
        assert [d.death.reason for d in app.store.broker.dead(limit=50)] == []
    finally:
        app.close()
        celery.close()
