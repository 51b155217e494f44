"""Tasks over their rate limit wait without being in anybody's way."""

from __future__ import annotations

import statistics
import time

import pytest

from talo.app.app import Talo
from tests.chaos.kit import HANGS, LONG, SOAK, check, full
from tests.places import APP, STORES, Place, a_place  # noqa: F401  fixture
from tests.support import eventually

pytestmark = [pytest.mark.soak] if SOAK else []
#: Tasks that wait for their limit, and probes without one.
LIMITED, PROBES = full(10_000, 300), full(200, 20)


@pytest.mark.promise("F01")
@pytest.mark.parametrize("place", STORES, indirect=True)
@pytest.mark.timeout(HANGS)
def test_tasks_without_a_limit_pass_those_that_wait_for_theirs(place: Place) -> None:
    with place.client() as app, place.worker("-c", "2") as worker:
        began = time.monotonic()
        alone = _waits(app)
        # Given many tasks of which one may start in a minute, for hours
        app.send_many([(f"{APP}.rare",)] * LIMITED)
        # When others without a limit come behind them, Then they run
        _waits(app)
        # And also when all that wait have been sent away, from where they come back to ask again
        eventually(lambda: check(_ready(app) == 0), LONG, 0.1)
        beside = _waits(app)
        if SOAK:
            # A promise about the reference machine
            assert statistics.median(beside) - statistics.median(alone) < 0.05
            assert sorted(beside)[-PROBES // 20] - sorted(alone)[-PROBES // 20] < 0.05
        # And the others wait for their minutes
        started = len(worker.trace.count("start"))
        [queue] = app.store.broker.stats(["celery"])
        assert started <= 1 + (time.monotonic() - began) / 60
        if place.broker.partition(":")[0] not in ("amqp", "sqs"):  # which do not tell what they delay
            assert queue.ready + queue.delayed + queue.leased == LIMITED - started


def _waits(app: Talo) -> list[float]:
    """Seconds from the call of a task without a limit to its result, call by call."""
    seconds = []
    for _ in range(PROBES):
        began = time.monotonic()
        assert app.send_task(f"{APP}.add", (1, 2)).get(timeout=LONG) == 3
        seconds.append(time.monotonic() - began)
    return seconds


def _ready(app: Talo) -> int:
    return sum(queue.ready for queue in app.store.broker.stats(["celery"]))
