"""Coroutines by the thousand in one worker, and plain functions beside them."""

from __future__ import annotations

import time

import pytest

from talo.app.app import Talo
from tests.chaos.kit import HANGS, SOAK, Judge
from tests.places import STORES, Place, a_place  # noqa: F401  fixture
from tests.support import eventually
from tests.workers import Worker

pytestmark = [pytest.mark.soak] if SOAK else []
APP = "tests.apps.gathered"
LONG = 60.0
#: Coroutines, and plain functions that run meanwhile.
MANY, PLAIN = 1000, 100
#: Seconds of a processor that the busiest process may take beside the second that all sleep, so that 2.5 are enough.
#: What else the machine does changes them little; the seconds of the clock are judged in a soak.
WORK = 1.5


@pytest.mark.promise("P05")
@pytest.mark.timeout(HANGS)
@pytest.mark.parametrize("place", STORES, indirect=True)
def test_a_thousand_coroutines_wait_at_a_time_and_functions_run_beside_them(place: Place) -> None:
    with place.client() as app, place.worker("-P", "asyncio", "-c", str(MANY + 10), app=APP) as worker:
        # Given coroutines that all wait for something which happens when all wait: in turns they would never end
        waits = app.send_many([(f"{APP}.waits",)] * MANY, batch=100)

        def all_wait() -> None:
            # When plain functions are called meanwhile, Then they run
            assert app.send_task(f"{APP}.waiting").get(timeout=LONG) == MANY

        eventually(all_wait, LONG)
        assert app.send_task(f"{APP}.opens").get(timeout=LONG) == MANY
        Judge(app, worker.trace, [each.id for each in waits]).wait()
        # And each has run once
        assert worker.trace.count("start") == dict.fromkeys([result.id for result in waits], 1)
        # And if each sleeps for a second, and functions run meanwhile, there is little to do but that
        eventually(lambda: a_second_is_slept(place, app, worker), HANGS / 2)


def a_second_is_slept(place: Place, app: Talo, worker: Worker) -> None:
    """As quickly as promised. What else the machine does can only add to that, so it may be seen a second time."""
    before, began = worker.processor_times(), time.monotonic()
    sleeps = app.send_many([(f"{APP}.sleeps", (1.0,))] * MANY, batch=100)
    plain = app.send_many([(f"{APP}.works", (0.02,))] * PLAIN)
    Judge(app, worker.trace, [each.id for each in sleeps]).wait()
    seconds, after = time.monotonic() - began, worker.processor_times()
    Judge(app, worker.trace, [each.id for each in plain]).wait()
    work = max(after[pid] - before[pid] for pid in before)
    print(f"{place.broker}: {MANY} coroutines of one second in {seconds:.2f} s, {work:.2f} s of a processor")
    assert work < WORK
    assert not SOAK or seconds < 1.0 + WORK
