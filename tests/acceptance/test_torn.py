"""Messages on RabbitMQ or SQS, results elsewhere: what an end frees runs once, wherever a process breaks off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talo import chain, chord
from talo.errors import ChordError
from tests.acceptance.conftest import named
from tests.apps import flows
from tests.chaos.kit import LONG, check
from tests.support import eventually
from tests.workers import Worker

PLACES = [("rabbit", "redis"), ("rabbit", "postgres"), ("sqs", "sqlite")]
pytestmark = pytest.mark.parametrize("urls", PLACES, indirect=True, ids=named)


@pytest.fixture
def worker(urls: tuple[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Worker]:
    """One whose processes break off as the parameter says."""
    flows.app.conf.broker_url, flows.app.conf.result_backend = urls
    flows.app.close_stores()
    words = ("-c", "2", "--prefetch-multiplier", "1")
    # What a dead process had been given by SQS comes again when its lease is over.
    env = {"TORN": request.param, "TALO_TASK_MAX_DELIVERIES": "10", "TALO_WORKER_LEASE": "10"}
    with Worker(urls[0], tmp_path, *words, results=urls[1], app="tests.apps.torn", env=env) as worker:
        yield worker
    flows.app.close_stores()


def runs(worker: Worker, word: str, task_id: str) -> int:
    """How often a task ran, once whoever came to an end has remembered it and all that was sent has ended."""

    def remembered() -> None:
        files = {path.name for path in worker.trace.path.parent.glob("trace-*")}
        came, closed = ({name.split("-")[1] for name in files if f"-{word}" in name} for word in ("came", "closed"))
        check(came and came == closed)
        check(sum("-came" in name for name in files) <= sum("-closed" in name for name in files))

    eventually(remembered, LONG)
    eventually(nothing_ready, LONG, 0.2)
    worker.stop(LONG)
    while ready():  # what it still held
        worker.start()
        eventually(nothing_ready, LONG, 0.2)
        worker.stop(LONG)
    return worker.trace.count(word)[task_id]


def ready() -> int:
    return sum(each.ready for each in flows.app.store.broker.stats(["celery"]))


def nothing_ready() -> None:
    check(not ready())


@pytest.mark.promise("W02")
@pytest.mark.parametrize("worker", ["dies", "together"], indirect=True)
def test_the_body_of_a_chord_runs_once(worker: Worker) -> None:
    result = chord([flows.add.s(n, n) for n in range(5)], flows.gather.s()).apply_async()
    assert result.get(timeout=LONG) == [0, 2, 4, 6, 8]
    assert runs(worker, "gather", result.id) == 1


@pytest.mark.promise("W02", "W03")
@pytest.mark.parametrize("worker", ["dies", "together"], indirect=True)
def test_the_error_callback_of_a_body_runs_once(worker: Worker) -> None:
    signature = chord([flows.fail.s(), flows.add.s(1, 1)], flows.gather.s().on_error(flows.on_error.s()))
    result = signature.apply_async()
    with pytest.raises(ChordError):
        result.get(timeout=LONG, follow_parents=False)
    assert runs(worker, "errback", result.id) == 1


@pytest.mark.parametrize("worker", ["dies"], indirect=True)
@pytest.mark.parametrize(
    ("steps", "value"),
    [
        ([flows.add.s(1, 1), flows.add.s(2), flows.add.s(3)], 7),
        ([flows.replaced_by_chord.s(5), flows.add.s(1)], 14),
        ([chord([flows.add.s(1, 1)], flows.total.s()), flows.add.s(1)], 3),
    ],
    ids=["chain", "replaced", "nested"],
)
def test_the_last_step_of_a_chain_runs_once(worker: Worker, steps: list[Any], value: int) -> None:
    result = chain(*steps).apply_async()
    assert result.get(timeout=LONG) == value
    assert runs(worker, "add", result.id) == 1
