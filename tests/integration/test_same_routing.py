"""Routing as in the manual: the same queues, routes and calls bring the same tasks to the same workers on the real
Celery and on Talo, on Redis and on RabbitMQ.

Each engine has a broker place of its own and three workers, of which each reads queues that the others do not; what is
compared is which worker ran what.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.peers import CeleryWorker, celery_env
from tests.servers.rabbitmq import RabbitServer, rabbit_server  # noqa: F401
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.workers import ROOT, Worker

pytestmark = pytest.mark.promise("K02")

_databases = itertools.count(455)
#: The workers, and what each is told of queues. ``late`` stands in no setting.
WORKERS = {
    "few": ("-Q", "video,late,everybody,every_news"),
    "rest": ("-X", "video,every_news,image,paris"),
    "third": ("-Q", "image,paris"),
}
#: (label, task, options of the call) -> the workers that run it, as the manual has it.
CALLS = {
    "default": ("plain", {}, ["rest"]),
    "route-by-name": ("film", {}, ["few"]),
    "route-by-pattern": ("picture_small", {}, ["third"]),
    "route-by-expression": ("left", {}, ["few"]),
    "film-route-by-function": ("ordered", {}, ["few"]),
    "function-that-knows-nothing": ("ordered", {}, ["rest"]),
    "queue-of-the-task": ("own", {}, ["third"]),
    "exchange-of-the-task": ("own_exchange", {}, ["few", "rest"]),
    "queue-of-the-call": ("film", {"queue": "image"}, ["third"]),
    # A key beside the name of a direct queue changes nothing.
    "key-beside-a-direct-queue": ("film", {"routing_key": "media.image"}, ["few"]),
    "exchange-of-a-queue-and-a-key": ("plain", {"queue": "every_news", "routing_key": "news.sport"}, ["few", "rest"]),
    "key-of-the-default-queue": ("plain", {"routing_key": "task.default"}, ["rest"]),
    "fanout-by-one-of-its-queues": ("plain", {"queue": "bell"}, ["rest", "rest"]),
    "queue-that-only-a-worker-names": ("plain", {"queue": "late"}, ["few"]),
    "direct": ("plain", {"exchange": "media", "routing_key": "media.image"}, ["third"]),
    "topic-all": ("plain", {"exchange": "news", "routing_key": "news.politics.rome"}, ["few"]),
    "topic-two": ("plain", {"exchange": "news", "routing_key": "news.sport"}, ["few", "rest"]),
    "topic-one-word": ("plain", {"exchange": "news", "routing_key": "local.sport"}, ["rest"]),
    "topic-star-in-the-middle": ("plain", {"exchange": "news", "routing_key": "news.art.paris"}, ["few", "third"]),
    "fanout": ("plain", {"exchange": "alarm"}, ["rest", "rest"]),
    "broadcast": ("wake", {}, ["few", "rest"]),
}
Ran = dict[str, list[str]]


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def ran(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ran, Ran]]:
    """Which workers ran what: Celery's, and Talo's."""
    made = []
    for engine in ("celery", "talo"):
        db = next(_databases)
        redis_server.command("FLUSHDB", db=db)
        url = redis_server.url_of(db)
        if request.param == "rabbitmq":
            rabbit: RabbitServer = request.getfixturevalue("rabbit_server")
            url = rabbit.url_of(rabbit.new_vhost())
        made.append(_run(engine, url, tmp_path_factory.mktemp(engine)))
        redis_server.command("FLUSHDB", db=db)
    yield made[0], made[1]


def _run(engine: str, url: str, folder: Path) -> Ran:
    env = {"ENGINE": engine, "CELERY_RESULT_BACKEND": "", "TRACE": str(folder / "trace")}
    with contextlib.ExitStack() as stack:
        workers: list[Worker] = []
        for name, words in WORKERS.items():
            words = (*words, "-P", "solo", "-n", f"{name}@test")
            if engine == "celery":
                worker: Worker = CeleryWorker(url, folder, *words, env=env, app="tests.apps.routed")
                worker.log = folder / f"{name}.log"
            else:
                worker = Worker(url, folder, *words, env=env, app="tests.apps.routed", name=name)
            workers.append(worker)
            stack.enter_context(worker.start(ready=False))
        for worker in workers:
            worker.wait_ready()
        calls = json.dumps([(label, task, options) for label, (task, options, _) in CALLS.items()])
        sent = subprocess.run(
            [sys.executable, "-m", "tests.apps.routed", calls], cwd=ROOT, capture_output=True, text=True, timeout=60,
            env={**os.environ, **celery_env(url), "TALO_BROKER_URL": url, **env}, check=False,
        )  # fmt: skip
        assert (sent.returncode, sent.stdout) == (0, ""), sent.stdout + sent.stderr

        def all_ran() -> None:
            found = _found(folder / "trace")
            missing = {label: expected for label, (_, _, expected) in CALLS.items() if found.get(label) != expected}
            assert not missing, f"{engine}: {missing}, found {found}"

        eventually(all_ran, timeout=20)
    return _found(folder / "trace")


def _found(trace: Path) -> Ran:
    lines = Counter(trace.read_text().split("\n")[:-1]) if trace.exists() else Counter()
    found: Ran = {}
    for label, worker in (line.split() for line in sorted(lines.elements())):
        found.setdefault(label, []).append(worker)
    return found


@pytest.mark.parametrize("label", CALLS)
def test_a_call_runs_on_the_workers_that_the_manual_says(ran: tuple[Ran, Ran], label: str) -> None:
    theirs, ours = ran
    assert ours[label] == theirs[label] == CALLS[label][2]
