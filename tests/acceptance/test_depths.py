"""How much waits in a queue, how much of it for its time, and how long the oldest has waited: on every store, and by a
ledger beside it where the store does not tell."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from talo.app.app import Talo
from talo.stores.base import QueueStats
from tests.acceptance.conftest import named
from tests.support import eventually
from tests.workers import Worker, client

LONG = 60.0
ENV = {"TALO_WORKER_LEASE": "8", "TALO_BROKER_LEDGER": "1"}


class Sent:
    """A task that was sent, between two moments."""

    def __init__(self, app: Talo, *arguments: float, **options: Any) -> None:
        self.after = time.time()
        self.id = app.send_task("tests.apps.traced.nap", arguments, **options).id
        self.before = time.time()


def has_begun(worker: Worker, sent: Sent) -> None:
    assert worker.trace.count("start")[sent.id]


def numbers(app: Talo) -> QueueStats:
    [found] = app.store.broker.stats(["celery"])
    return found


def is_oldest(app: Talo, sent: Sent, ready: int, delayed: int) -> None:
    """So many wait, and this one longest."""
    begun = time.time()
    found = numbers(app)
    assert (found.ready, found.delayed) == (ready, delayed)
    assert found.oldest is not None
    # The header that tells it has whole microseconds.
    assert begun - sent.before - 0.001 <= found.oldest <= time.time() - sent.after + 0.001


@pytest.mark.promise("M02")
@pytest.mark.timeout(300)
def test_depth_and_age_are_told_as_they_are(urls: tuple[str, str | None], tmp_path: Path) -> None:
    broker, results = urls
    with client(broker, results, broker_ledger=True) as app:
        app.store.broker.purge(["celery"])  # SQS is one for the whole session
        # Given a worker with one slot, which is busy
        with Worker(broker, tmp_path, "-c", "1", results=results, env=ENV) as worker:
            busy = Sent(app, 600)
            eventually(lambda: has_begun(worker, busy), LONG)
            # Then nothing waits, and nothing is old
            eventually(lambda: _check(numbers(app), 0, 0, None), LONG)
            # When tasks are sent for now, for later and for much later
            first, second = Sent(app, 600), Sent(app, 0)
            for seconds in (4, 3600):
                Sent(app, 0, countdown=seconds)
            # Then those wait that are ready, the rest is delayed, until its time comes
            eventually(lambda: is_oldest(app, first, 3, 1), LONG)
            # When the worker takes the first, Then the second has waited longest
            app.AsyncResult(busy.id).revoke(terminate=True)
            eventually(lambda: is_oldest(app, second, 2, 1), LONG)
            worker.signal(signal.SIGKILL, group=True)
            worker.wait()
        # When the queue is purged, Then nothing is ready any more.
        app.store.broker.purge(["celery"])
        assert numbers(app).oldest is None


def _check(found: QueueStats, ready: int, delayed: int, oldest: float | None) -> None:
    assert (found.ready, found.delayed, found.oldest) == (ready, delayed, oldest)


@pytest.mark.parametrize("urls", [("rabbit", "redis")], indirect=True, ids=named)
@pytest.mark.timeout(180)
def test_what_a_dead_worker_held_waits_again_since_it_was_sent(urls: tuple[str, str | None], tmp_path: Path) -> None:
    broker, results = urls
    with client(broker, results, broker_ledger=True) as app:
        with Worker(broker, tmp_path, "-c", "1", results=results, env=ENV) as worker:
            held = Sent(app, 600)
            eventually(lambda: has_begun(worker, held), LONG)
            Sent(app, 0)
            worker.signal(signal.SIGKILL, group=True)
            worker.wait()
        eventually(lambda: is_oldest(app, held, 2, 0), LONG)
