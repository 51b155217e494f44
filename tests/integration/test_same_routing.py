"""Routing as in the manual: the same queues, routes and calls bring the same tasks to the same workers on the real
Celery and on Talo, on Redis and on RabbitMQ.

Each engine has a broker place of its own and three workers, of which each reads queues that the others do not; what is
compared is which worker ran what.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.peers import CeleryWorker, celery_env
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer, empty_database
from tests.support import eventually
from tests.workers import ROOT, Worker

pytestmark = pytest.mark.promise("K02")

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
    "fanout": ("plain", {"exchange": "alarm", "routing_key": "any"}, ["rest", "rest"]),
    "broadcast": ("wake", {}, ["few", "rest"]),
}
#: What the real Celery does otherwise on Redis: fanout exchanges bring tasks to one reader or to nobody there, and an
#: exchange is not known before a queue of it was named.
OTHERWISE: dict[str, dict[str, list[str]]] = {
    "redis": {
        "exchange-of-the-task": [],
        "fanout": [],
        "fanout-by-one-of-its-queues": ["rest"],
        "broadcast": [],
    },
    "rabbitmq": {},
}
#: What Talo refuses on Redis: a broadcast is a queue of each worker's own, of which a sender there knows nothing.
REFUSED: dict[str, list[str]] = {"redis": ["broadcast NotSupported"], "rabbitmq": []}
Ran = dict[str, list[str]]


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def place(request: pytest.FixtureRequest, redis_server: RedisServer) -> Iterator[tuple[str, Callable[[], str]]]:
    """The kind of broker, and what gives a new place on it."""
    kind: str = request.param
    taken = contextlib.ExitStack()

    def new() -> str:
        if kind == "rabbitmq":
            rabbit: RabbitServer = request.getfixturevalue("rabbit_server")
            return rabbit.url_of(rabbit.new_vhost())
        return taken.enter_context(empty_database(redis_server))

    with taken:
        yield kind, new


@pytest.fixture(scope="module")
def ran(place: tuple[str, Callable[[], str]], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Ran, Ran]:
    """The kind of broker, and which workers ran what: Celery's, and Talo's."""
    kind, new = place
    manual = {label: expected for label, (_, _, expected) in CALLS.items()}
    theirs = {label: workers for label, workers in {**manual, **OTHERWISE[kind]}.items() if workers}
    ours = {label: workers for label, workers in manual.items() if not REFUSED[kind] or label != "broadcast"}
    return (
        kind,
        _run("celery", new(), tmp_path_factory.mktemp("celery"), theirs, []),
        _run("talo", new(), tmp_path_factory.mktemp("talo"), ours, REFUSED[kind]),
    )


def _run(engine: str, url: str, folder: Path, expected: Ran, refused: list[str]) -> Ran:
    """Start the workers, send the calls, and return who ran what, as soon as all that is expected has run."""
    env = {"ENGINE": engine, "CELERY_RESULT_BACKEND": "", "TRACE": str(folder / "trace")}
    with contextlib.ExitStack() as stack:
        workers = [_worker(engine, name, url, folder, env) for name in WORKERS]
        for worker in workers:
            stack.enter_context(worker.start(ready=False))
        for worker in workers:
            worker.wait_ready()
        calls = json.dumps([(label, task, options) for label, (task, options, _) in CALLS.items()])
        sent = subprocess.run(
            [sys.executable, "-m", "tests.apps.routed", calls], cwd=ROOT, capture_output=True, text=True, timeout=60,
            env={**os.environ, **celery_env(url), "TALO_BROKER_URL": url, **env}, check=False,
        )  # fmt: skip
        assert (sent.returncode, sent.stdout.splitlines()) == (0, refused), sent.stdout + sent.stderr

        def all_ran() -> None:
            found = _found(folder / "trace")
            missing = {label: workers for label, workers in expected.items() if found.get(label) != workers}
            assert not missing, "\n".join([f"{engine}: {missing}, found {found}", *(w.output() for w in workers)])

        eventually(all_ran, timeout=20)
    return _found(folder / "trace")


def _worker(engine: str, name: str, url: str, folder: Path, env: dict[str, str]) -> Worker:
    words = (*WORKERS[name], "-P", "solo", "-n", f"{name}@test")
    if engine == "talo":
        return Worker(url, folder, *words, env=env, app="tests.apps.routed", name=name)
    worker = CeleryWorker(url, folder, *words, env=env, app="tests.apps.routed")
    worker.log = folder / f"{name}.log"
    return worker


def _found(trace: Path) -> Ran:
    found: Ran = {}
    for line in sorted(trace.read_text().split("\n")[:-1]) if trace.exists() else ():
        label, worker = line.split()
        found.setdefault(label, []).append(worker)
    return found


@pytest.mark.parametrize("label", CALLS)
def test_a_call_runs_on_the_workers_that_the_manual_says(ran: tuple[str, Ran, Ran], label: str) -> None:
    kind, theirs, ours = ran
    manual = CALLS[label][2]
    assert theirs.get(label, []) == OTHERWISE[kind].get(label, manual)
    assert ours.get(label, []) == ([] if label == "broadcast" and REFUSED[kind] else manual)
