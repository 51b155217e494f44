"""Coroutines by the thousand in one worker, and plain functions beside them."""

from __future__ import annotations

import time

import pytest

from tests.chaos.kit import HANGS, SOAK, Judge, full
from tests.places import STORES, Place, a_place  # noqa: F401  fixture
from tests.support import eventually

pytestmark = [pytest.mark.soak] if SOAK else []
APP = "tests.apps.gathered"
LONG = 60.0
#: Coroutines, and plain functions that run meanwhile.
MANY, PLAIN = full(1000, 200), full(100, 20)


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
        for result in waits:
            result.get(timeout=LONG)
        # And each has run once
        assert worker.trace.count("start") == dict.fromkeys([result.id for result in waits], 1)
        if SOAK:
            # And on the reference machine they take little longer than the one second that each of them sleeps
            began = time.monotonic()
            sleeps = app.send_many([(f"{APP}.sleeps", (1.0,))] * MANY, batch=100)
            plain = app.send_many([(f"{APP}.works", (0.02,))] * PLAIN)
            Judge(app, worker.trace, [each.id for each in sleeps]).wait()
            seconds = time.monotonic() - began
            print(f"{place.broker}: {MANY} coroutines of one second in {seconds:.2f} s")
            assert seconds < 2.5
            Judge(app, worker.trace, [each.id for each in plain]).wait()
