"""Kill -9 while tasks of a paused type are put aside, and while they go on: nothing is lost, and each starts once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo.app.app import Talo
from talo.stores.parking import parking_of
from tests.acceptance.conftest import ONE_OF_EACH, named, urls  # noqa: F401  a fixture
from tests.chaos.kit import HANGS, LONG, SEED, Fleet, Judge, Storm, call, check, full, kill, send_all
from tests.support import eventually
from tests.workers import client

BURN = "tests.apps.traced.burn"
PARKING = parking_of("celery", BURN) or ""
Urls = tuple[str, str | None]
STRIKES = full(200, 8)

pytestmark = [
    pytest.mark.promise("F08"),
    pytest.mark.parametrize("urls", ONE_OF_EACH, indirect=True, ids=named),
    pytest.mark.timeout(HANGS),
]


@pytest.fixture
def app(urls: Urls) -> Iterator[Talo]:  # noqa: F811
    with client(*urls) as app:
        yield app


def fleet_of(urls: Urls, tmp_path: Path) -> Fleet:  # noqa: F811
    return Fleet(urls[0], tmp_path, "-c", "2", results=urls[1], env={"TALO_WORKER_LEASE": "3"})


def burns(app: Talo, count: int, rng: random.Random) -> list[str]:
    return send_all(app, [call("burn", rng.choice([0.0, 0.001, 0.004])) for _ in range(count)])


def strike(fleet: Fleet, rng: random.Random) -> None:
    """Kill a child of any worker, or now and then its agent."""
    worker = rng.choice(fleet.workers)
    parts = worker.children() if rng.random() < 0.8 else worker.descendants()
    if parts:
        kill(rng.choice(parts))


def parked(app: Talo) -> int:
    return app.store.broker.stats([PARKING])[0].ready


def test_what_is_put_aside_under_kills_starts_once(urls: Urls, app: Talo, tmp_path: Path) -> None:  # noqa: F811
    rng = random.Random(SEED)
    app.control.pause(tasks=[BURN])
    with fleet_of(urls, tmp_path) as fleet:
        fleet.start()
        # Given processes that die while tasks come and are put aside
        ids: list[str] = []
        for _ in range(STRIKES):
            ids += burns(app, 60, rng)
            aimed = rng.randrange(len(ids) - 60, len(ids))
            eventually(lambda aimed=aimed: check(parked(app) >= aimed), LONG)
            strike(fleet, rng)
        eventually(lambda: check(parked(app) >= len(ids)), LONG)
        eventually(lambda: check(app.store.broker.stats(["celery"])[0].ready == 0), LONG)
        assert fleet.trace.count("start") == {}
        # When they go on
        app.control.resume(tasks=[BURN])
        judge = Judge(app, fleet.trace, ids)
        judge.wait()
        judge.nothing_is_left()
        eventually(lambda: check(parked(app) == 0), LONG)
    # Then each has started once
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    assert judge.repeated() == set()


def test_nothing_is_lost_by_kills_while_a_type_goes_on(urls: Urls, app: Talo, tmp_path: Path) -> None:  # noqa: F811
    rng = random.Random(SEED)
    app.control.pause(tasks=[BURN])
    with fleet_of(urls, tmp_path) as fleet:
        fleet.start()
        # Given tasks that wait aside
        ids = burns(app, full(20_000, 800), rng)
        eventually(lambda: check(parked(app) >= len(ids)), LONG)
        judge = Judge(app, fleet.trace, ids)
        app.control.resume(tasks=[BURN])

        def harm(rng: random.Random) -> None:
            strike(fleet, rng)
            if len(ids) < full(40_000, 1_600):
                more = burns(app, 40, rng)
                ids.extend(more)
                judge.ids.extend(more)
            if rng.random() < 0.3:
                app.control.pause(tasks=[BURN])
                app.control.resume(tasks=[BURN])

        # When processes die, more is sent, and the type is paused again, while they go on
        strikes = Storm().until(judge.all_have_ended, harm, every=0.3)
        judge = Judge(app, fleet.trace, ids)
        judge.wait()
        judge.nothing_is_left()
        eventually(lambda: check(parked(app) == 0), LONG)
    # Then every task has ended well
    assert strikes >= 2
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    if app.store.features.atomic:
        # and what had ended did not start again.
        assert judge.repeated_without_cause() == set()
        assert len(judge.repeated()) <= strikes
