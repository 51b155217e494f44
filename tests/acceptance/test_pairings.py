"""The same app on every broker with every result store, by their URLs alone.

Each pairing runs what people do: a task and its result, a failure, a retry, a chain, a chord, a task revoked before it
starts, and one whose process is killed. What the contract suite shows of each store by itself is not repeated. Every
store is here in ``make test``; all pairings are a soak.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import chain, chord
from talo.app.app import Talo
from talo.errors import ImproperlyConfigured, NotSupported
from tests.acceptance.conftest import named
from tests.chaos.kit import HANGS, LONG, check, full
from tests.support import eventually
from tests.workers import Worker, client

BROKERS = ["sqlite", "redis", "postgres", "mariadb", "rabbit", "sqs"]
#: What keeps results; ``rpc`` sends them back instead, which only RabbitMQ does.
RESULTS = ["sqlite", "redis", "postgres", "mariadb"]
EVERY = [*itertools.product(BROKERS, RESULTS), ("rabbit", "rpc")]
#: Each store in each of its parts at least once.
SOME = [
    ("sqlite", "redis"),
    ("redis", "postgres"),
    ("postgres", "mariadb"),
    ("mariadb", "sqlite"),
    ("rabbit", "postgres"),
    ("rabbit", "rpc"),
    ("sqs", "redis"),
]
TRACED = "tests.apps.traced"
ENV = {"TALO_WORKER_LEASE": "5"}


@pytest.fixture
def app(urls: tuple[str, str]) -> Iterator[Talo]:
    with client(*urls) as app:
        app.store.broker.purge(["celery"])  # SQS is one for the whole session
        yield app


def does_what_all_do(app: Talo, worker: Worker) -> None:
    """A result, an error with its type, a retry, a chain, and a task whose process is killed and that runs again."""
    add = app.signature(f"{TRACED}.add")
    assert app.send_task(f"{TRACED}.add", (1, 2)).get(timeout=LONG) == 3
    with pytest.raises(ValueError, match="thus"):
        app.send_task(f"{TRACED}.fails", ("thus",)).get(timeout=LONG)
    assert app.send_task(f"{TRACED}.flaky", (2,)).get(timeout=LONG) == 2
    assert chain(add.clone(args=(1, 1)), add.clone(args=(3,)), app=app).apply_async().get(timeout=LONG) == 5
    cut_short = app.send_task(f"{TRACED}.nap", (1.0,))
    os.kill(int(eventually(lambda: started(worker, cut_short.id), LONG)[0][2]), signal.SIGKILL)
    assert cut_short.get(timeout=LONG) == 1.0
    assert len(started(worker, cut_short.id)) == 2


def started(worker: Worker, task_id: str) -> list[list[str]]:
    """The lines that a task wrote when it began; AssertionError if it has not."""
    found = [line for line in worker.trace.lines() if line[:2] == ["start", task_id]]
    assert found
    return found


@pytest.mark.promise("B06")
@pytest.mark.parametrize("urls", full(EVERY, SOME), indirect=True, ids=named)
@pytest.mark.timeout(HANGS)
def test_the_same_app_runs_on_every_pairing_of_broker_and_results(
    urls: tuple[str, str], app: Talo, tmp_path: Path
) -> None:
    header = [app.signature(f"{TRACED}.add", (n, n)) for n in range(5)]
    workflow = chord(header, app.signature(f"{TRACED}.total"), app=app)
    if urls[1] == "rpc://":
        with Worker(urls[0], tmp_path, "-c", "2", results=urls[1], env=ENV) as worker:
            does_what_all_do(app, worker)
        # What answers alone cannot do is refused
        with pytest.raises(NotSupported, match="result_backend"):
            workflow.apply_async()
        return
    # Given a task that is revoked while no worker is there
    revoked = app.send_task(f"{TRACED}.noop")
    revoked.revoke()
    with Worker(urls[0], tmp_path, "-c", "2", results=urls[1], env=ENV) as worker:
        does_what_all_do(app, worker)
        assert workflow.apply_async().get(timeout=LONG) == 20
        eventually(lambda: check(revoked.state == "REVOKED"), LONG)
        assert revoked.id not in worker.trace.count("start")


@pytest.mark.promise("B06")
@pytest.mark.parametrize("broker", ["redis://localhost", "sqs://"])
def test_answers_are_refused_where_no_broker_sends_them(broker: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="sends no answers"), client(broker, "rpc://") as app:
        app.backend.get(["x"])
