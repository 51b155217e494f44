"""Processes that stand still for longer than their lease, and reapers that die at work: one result per task."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from talo.app.app import Talo
from tests.chaos.kit import (
    HANGS,
    LONG,
    Fleet,
    Judge,
    Storm,
    call,
    check,
    for_seconds,
    full,
    kill,
    roles,
    send_all,
    stopped,
)
from tests.support import eventually

LEASE = 1.0
ENV = {"TALO_WORKER_LEASE": str(LEASE)}


def linked(app: Talo, name: str, count: int, *args: object) -> list[str]:
    """Send tasks each of which tells by a callback that its settlement was applied."""
    after = app.signature("tests.apps.traced.after")
    return send_all(app, [call(name, *args, link=[after]) for _ in range(count)])


@pytest.mark.promise("T11", "D02")
@pytest.mark.timeout(HANGS)
def test_a_worker_that_slept_past_its_lease_changes_nothing(broker: str, app: Talo, tmp_path: Path) -> None:
    # Given a worker in the middle of long and short tasks
    ids = linked(app, "nap", 2, 1.5) + linked(app, "burn", 300, 0.002)
    with Fleet(broker, tmp_path, "-c", "2", env=ENV) as fleet:
        sleeper = fleet.last
        judge = Judge(app, fleet.trace, ids)
        eventually(lambda: check(len(fleet.trace.count("start")) >= 2), LONG)
        with stopped([sleeper.pid, *sleeper.descendants()], app):
            # When it stands still for so long that others have run all that it held
            fleet.start()
            judge.wait()
        # Then, awake again, it settles nothing of that, and works on
        more = linked(app, "burn", 100, 0.005)
        Judge(app, fleet.trace, more).wait()
        for worker in reversed(fleet.workers):
            assert worker.stop() == 0
        judge.nothing_is_left()
    assert judge.states() == {"SUCCESS": len(ids)}
    judge.settled_once(ids + more)
    assert judge.dead() == []
    assert "Traceback" not in sleeper.output()


@pytest.mark.promise("T11")
@pytest.mark.timeout(HANGS)
def test_what_a_sleeper_had_fetched_and_not_started_is_forgotten(broker: str, app: Talo, tmp_path: Path) -> None:
    # Given a child with many fetched tasks, of which it may start a few before it notices
    ids = send_all(app, [call("burn", 0.01) for _ in range(300)])
    with Fleet(broker, tmp_path, "-c", "1", env={**ENV, "TALO_WORKER_BATCH_TIME": "30.0"}) as fleet:
        sleeper = fleet.last
        judge = Judge(app, fleet.trace, ids)
        eventually(lambda: check(any(info.held > 80 for info in app.store.broker.owners())), LONG)
        with stopped([sleeper.pid, *sleeper.descendants()], app):
            held = max(info.held for info in app.store.broker.owners())
            fleet.start()
            judge.wait()
        # When it alone is left to run what comes next
        assert fleet.last.stop() == 0
        assert app.send_task("tests.apps.traced.add", (1, 1)).get(timeout=LONG) == 2
        assert sleeper.stop() == 0
    assert held > 50
    assert judge.states() == {"SUCCESS": len(ids)}
    # Then it has not run them all again
    assert len(judge.repeated()) < held / 2, (held, len(judge.repeated()))


@pytest.mark.promise("T11")
@pytest.mark.timeout(HANGS)
def test_an_agent_that_stands_still_harms_nobody(broker: str, app: Talo, tmp_path: Path) -> None:
    # Given two workers, the agent of one of which renews no lease for a while
    ids = linked(app, "nap", 40, 0.2)
    with Fleet(broker, tmp_path, "-c", "2", env=ENV) as fleet:
        sleeper = fleet.last
        eventually(lambda: check(roles(app, sleeper)["agent"]), LONG)
        [agent] = roles(app, sleeper)["agent"]
        fleet.start()
        with stopped([agent], app):
            for_seconds(4 * LEASE)
        # Then all ends well, and both work on
        judge = Judge(app, fleet.trace, ids)
        judge.wait()
        more = linked(app, "nap", 20, 0.1)
        Judge(app, fleet.trace, more).wait()
        for worker in reversed(fleet.workers):
            assert worker.stop() == 0
        judge.nothing_is_left()
    assert judge.states() == {"SUCCESS": len(ids)}
    judge.settled_once(ids + more)
    assert judge.dead() == []
    assert all("Traceback" not in worker.output() for worker in fleet.workers)


@pytest.mark.promise("T11")
@pytest.mark.timeout(HANGS)
def test_alone_a_worker_does_not_reap_itself(broker: str, app: Talo, tmp_path: Path) -> None:
    # Given a single worker, all of which stands still for longer than its lease
    ids = linked(app, "nap", 10, 0.3)
    with Fleet(broker, tmp_path, "-c", "2", env=ENV) as fleet:
        eventually(lambda: check(len(fleet.trace.count("end")) >= 2), LONG)
        with stopped([fleet.last.pid, *fleet.last.descendants()], app):
            for_seconds(3 * LEASE)
        judge = Judge(app, fleet.trace, ids)
        judge.wait()
        judge.nothing_is_left()
    # Then nothing has started twice
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.repeated() == set()
    judge.settled_once(ids)


@pytest.mark.promise("D01")
@pytest.mark.timeout(HANGS)
def test_lease_and_run_time_are_strangers(broker: str, app: Talo, tmp_path: Path) -> None:
    ids = send_all(app, [call("nap", 3.0) for _ in range(8)]) + send_all(app, [call("nap", 3.0, countdown=1)])
    with Fleet(broker, tmp_path, "-c", "5", env=ENV) as fleet:
        fleet.start()
        judge = Judge(app, fleet.trace, ids)
        judge.wait()
    assert judge.states() == {"SUCCESS": len(ids)}
    assert fleet.trace.count("start") == dict.fromkeys(ids, 1)


@pytest.mark.promise("T01", "T02")
@pytest.mark.timeout(HANGS)
def test_reaping_goes_on_when_reapers_die_at_it(broker: str, app: Talo, tmp_path: Path) -> None:
    # Given much that is held by the dead
    ids = linked(app, "burn", full(20_000, 1_500), 0.001)
    with Fleet(broker, tmp_path, "-c", "2", env=ENV) as fleet:
        judge = Judge(app, fleet.trace, ids)

        def strike(rng: random.Random) -> None:
            # When children die, and shortly after them the agents that bury them
            for worker in fleet.workers:
                for child in roles(app, worker)["child"]:
                    kill(child)
            for_seconds(rng.uniform(0.0, 0.02))
            for worker in fleet.workers:
                for agent in roles(app, worker)["agent"]:
                    kill(agent)

        fleet.start()
        # Again and again, but never before anything has ended since the last time
        Storm().until(judge.all_have_ended, strike, every=0.6, progress=lambda: fleet.trace.number("end"))
        judge.wait()
        judge.nothing_is_left()
    # Then every task has one end
    assert judge.states() == {"SUCCESS": len(ids)}
    judge.settled_once(ids)
    assert judge.dead() == []
