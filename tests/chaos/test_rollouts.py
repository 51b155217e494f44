"""TERM to the whole process group, again and again, with a new worker each time: nothing is lost or begun twice."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from talo.app.app import Talo
from tests.chaos.kit import HANGS, LONG, SEED, Fleet, Judge, call, check, full, send_all
from tests.support import eventually

GRACE = 5.0
#: What a busy machine may need to end processes after the grace.
SLACK = 5.0


def roll(fleet: Fleet, rollouts: int, every: int) -> list[str]:
    """Replace the worker after each so many starts; return what was wrong."""
    wrong = []
    for _ in range(rollouts):
        begun = len(fleet.trace.count("start"))
        eventually(lambda begun=begun: check(len(fleet.trace.count("start")) >= begun + every), LONG)
        asked = time.monotonic()
        fleet.last.signal(signal.SIGTERM, group=True)
        # As an orchestrator does it, the new one comes while the old one goes
        old = fleet.last
        fleet.start()
        code, took = old.wait(GRACE + SLACK + 10), time.monotonic() - asked
        if code != 0 or took > GRACE + SLACK:
            wrong.append(f"{old.node} ended with {code} after {took:.1f} s")
    return wrong


@pytest.mark.promise("L05")
@pytest.mark.parametrize("pool", full(["processes", "threads", "asyncio"], ["processes", "threads"]))
@pytest.mark.timeout(HANGS)
def test_rollouts_lose_nothing_and_begin_nothing_twice(pool: str, broker: str, app: Talo, tmp_path: Path) -> None:
    # Given tasks all of which end within the grace, and many more behind them
    rng = random.Random(SEED)
    ids = send_all(app, [call("nap", rng.uniform(0.3, full(3, 1))) for _ in range(full(200, 30))])
    quick = send_all(app, [call("noop") for _ in range(300)])
    with Fleet(broker, tmp_path, "-P", pool, "-c", "4", "--grace", str(GRACE)) as fleet:
        judge = Judge(app, fleet.trace, ids + quick)
        # When the workers are replaced in the middle of them
        wrong = roll(fleet, full(6, 2), every=6)
        judge.wait()
        judge.nothing_is_left()
        assert fleet.last.stop() == 0
    # Then each has started once
    assert wrong == []
    assert judge.states() == {"SUCCESS": len(ids) + len(quick)}
    assert fleet.trace.count("start") == dict.fromkeys(ids + quick, 1)
    assert judge.dead() == []


@pytest.mark.promise("L05", "L06")
@pytest.mark.timeout(HANGS)
def test_what_the_grace_cuts_short_is_handed_back_unharmed(broker: str, app: Talo, tmp_path: Path) -> None:
    # Given tasks that are longer than the grace, may not be charged once, and have more behind them
    ids = send_all(app, [call("nap", 4.0) for _ in range(2)])
    quick = send_all(app, [call("noop") for _ in range(100)])
    with Fleet(broker, tmp_path, "-c", "2", "--grace", "2.5", env={"TALO_TASK_MAX_DELIVERIES": "1"}) as fleet:
        for _ in range(full(10, 2)):
            seen = fleet.trace.count("start").total()
            eventually(lambda: check(running_now(fleet, ids) == 2), LONG)
            asked = time.monotonic()
            fleet.last.signal(signal.SIGTERM, group=True)
            assert fleet.last.wait() == 0
            assert time.monotonic() - asked < 2.5 + SLACK
            # Then what was not finished is back in its queue, at once
            [queue] = [queue for queue in app.store.broker.stats() if queue.name == "celery"]
            assert queue.ready == len(ids) + len(quick) - len(fleet.trace.count("end"))
            assert queue.leased == 0
            assert all("raised" not in worker.output() for worker in fleet.workers)
            assert fleet.trace.count("start").total() >= seen
            fleet.start()
        # And ends well, with nothing charged, where it is let
        judge = Judge(app, fleet.trace, ids + quick)
        judge.wait()
        judge.nothing_is_left()
    assert judge.states() == {"SUCCESS": len(ids) + len(quick)}
    assert judge.dead() == []
    starts = fleet.trace.count("start")
    assert {starts[task_id] for task_id in quick} == {1}


def running_now(fleet: Fleet, ids: list[str]) -> int:
    """How many of these have been started by the children that live now."""
    alive = {str(pid) for pid in fleet.last.descendants()}
    return len({line[1] for line in fleet.trace.lines() if line[0] == "start" and line[2] in alive and line[1] in ids})


@pytest.mark.promise("L05")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT], ids=["TERM", "QUIT"])
@pytest.mark.timeout(HANGS)
def test_a_stop_while_much_is_fetched_gives_it_back_uncharged(
    number: int, broker: str, app: Talo, tmp_path: Path
) -> None:
    # Given children that hold hundreds
    ids = send_all(app, [call("burn", 0.001) for _ in range(full(20_000, 2_000))])
    with Fleet(broker, tmp_path, "-c", "2", "--grace", str(GRACE)) as fleet:
        judge = Judge(app, fleet.trace, ids)
        for _ in range(full(10, 3)):
            done = len(fleet.trace.count("end"))
            eventually(
                lambda done=done: check(len(fleet.trace.count("end")) > done + 50 or judge.all_have_ended()), LONG
            )
            fleet.last.signal(number, group=True)
            assert fleet.last.wait() == 0
            assert [info for info in app.store.broker.owners() if info.held] == []
            fleet.start()
        judge.wait()
        judge.nothing_is_left()
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    if number == signal.SIGTERM:
        assert judge.repeated() == set()
