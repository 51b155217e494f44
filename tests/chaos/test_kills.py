"""Kill -9 of everything at random: nothing is lost, nothing ends twice, and only what ran is charged."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from talo.app.app import Talo
from tests.chaos.kit import (
    HANGS,
    LONG,
    SEED,
    Fleet,
    Judge,
    Storm,
    any_process,
    call,
    check,
    full,
    kill,
    roles,
    send_all,
)
from tests.support import eventually

#: A worker that was killed with its agent is found by its lease; the storm need not wait half a minute for that.
SHORT_LEASE = {"TALO_WORKER_LEASE": "3"}


def mixed(app: Talo, count: int) -> tuple[list[str], list[str]]:
    """Send short tasks, each twentieth with a callback; return all ids and those of the latter."""
    after = app.signature("tests.apps.traced.after")
    rng = random.Random(SEED)
    calls = [
        call("burn", rng.choice([0.0, 0.001, 0.004]), **({"link": [after]} if at % 20 == 0 else {}))
        for at in range(count)
    ]
    ids = send_all(app, calls)
    return ids, ids[::20]


@pytest.mark.promise("D02", "D03")
@pytest.mark.timeout(HANGS)
def test_every_task_ends_while_children_agents_and_workers_are_killed(broker: str, app: Talo, tmp_path: Path) -> None:
    # Given work for a while
    ids, linked = mixed(app, full(20_000, 2_000))
    with Fleet(broker, tmp_path, "-c", "2", env=SHORT_LEASE) as fleet:
        judge = Judge(app, fleet.trace, ids)

        # When any of its processes is killed, again and again, and a supervisor is replaced
        strikes = Storm().until(judge.all_have_ended, any_process(app, fleet), every=0.4)
        # Then every task has ended well, its settlement was applied once, and nobody was charged to death
        judge.wait()
        judge.nothing_is_left()
    assert strikes >= 3
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    judge.settled_once(linked)


@pytest.mark.promise("D14")
@pytest.mark.timeout(HANGS)
def test_what_had_ended_does_not_start_again_when_only_children_die(broker: str, app: Talo, tmp_path: Path) -> None:
    ids, linked = mixed(app, full(100_000, 5_000))
    with Fleet(broker, tmp_path, "-c", "2") as fleet:
        judge = Judge(app, fleet.trace, ids)

        def strike(rng: random.Random) -> None:
            children = roles(app, fleet.last)["child"]
            if children:
                kill(rng.choice(children))

        strikes = Storm().until(judge.all_have_ended, strike, every=0.3)
        judge.nothing_is_left()
    assert strikes >= 3
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.repeated_without_cause() == set()
    assert len(judge.repeated()) <= strikes
    assert judge.dead() == []
    judge.settled_once(linked)


@pytest.mark.promise("D14", "D03")
def test_what_was_merely_fetched_is_not_charged(broker: str, app: Talo, tmp_path: Path) -> None:
    # Given a child that fetches many at a time, and dies in the middle of them more often than a message may
    ids = send_all(app, [call("burn", 0.002) for _ in range(full(10_000, 1_500))])
    with Fleet(broker, tmp_path, "-c", "1") as fleet:
        judge = Judge(app, fleet.trace, ids)
        for death in range(1, 9):
            done = len(fleet.trace.count("end"))
            eventually(
                lambda done=done: check(len(fleet.trace.count("end")) > done + 50 or judge.all_have_ended()), LONG
            )
            for child in roles(app, fleet.last)["child"]:
                kill(child)
        judge.wait()
        judge.nothing_is_left()
    # Then at most the one that ran each time has started again, and none is charged to death
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    assert judge.repeated_without_cause() == set()
    assert len(judge.repeated()) <= death


@pytest.mark.promise("D05")
@pytest.mark.parametrize("pool", ["processes", "threads"])
@pytest.mark.timeout(HANGS)
def test_a_poison_pill_starts_three_times_and_its_neighbours_succeed(
    pool: str, broker: str, app: Talo, tmp_path: Path
) -> None:
    # Given one task that kills its process among many good ones
    count = full(1_000, 200)
    good = [call("burn", 0.002) for _ in range(count)]
    ids = send_all(app, [*good[: count // 2], call("poison"), *good[count // 2 :]])
    poison = ids.pop(count // 2)
    with Fleet(broker, tmp_path, "-P", pool, "-c", "2") as fleet:
        judge = Judge(app, fleet.trace, ids)
        judge.wait()
        eventually(lambda: check(app.AsyncResult(poison).state == "FAILURE"), LONG)
        judge.nothing_is_left()
    # Then it has started three times, and is kept with all that is known of its death
    starts = fleet.trace.count("start")
    assert starts[poison] == 3
    [letter] = app.store.broker.dead()
    assert (letter.death.reason, letter.death.task_id) == ("worker_lost", poison)
    assert "SIGKILL" in letter.death.detail["status"]
    assert letter.death.detail["exit_code"] == -9
    assert letter.death.detail["peak_kib"] > 1000
    assert letter.death.detail["worker"] == "w0@test"
    assert app.AsyncResult(poison).state == "FAILURE"
    # And its neighbours have succeeded
    assert judge.states() == {"SUCCESS": count}
    if pool == "processes":
        assert {task_id for task_id in ids if starts[task_id] != 1} == set()
    else:
        # A thread beside it dies with the process: at most one neighbour each time
        assert sum(starts[task_id] - 1 for task_id in ids) <= 3


@pytest.mark.promise("D04")
@pytest.mark.timeout(HANGS)
def test_at_most_once_is_at_most_once(broker: str, app: Talo, tmp_path: Path) -> None:
    # Given tasks with early acknowledgement
    ids = send_all(app, [call("once", 0.002) for _ in range(full(5_000, 800))])
    with Fleet(broker, tmp_path, "-c", "2", env=SHORT_LEASE) as fleet:
        judge = Judge(app, fleet.trace, ids)

        def strike(rng: random.Random) -> None:
            parts = roles(app, fleet.last)
            if rng.random() < 0.2:
                fleet.last.signal(signal.SIGKILL, group=True)
                fleet.last.wait()
                fleet.start()
            elif parts["child"]:
                kill(rng.choice(parts["child"]))

        strikes = Storm().until(judge.all_have_ended, strike, every=0.3)
        judge.nothing_is_left()
    # Then none starts twice, and what was cut short is recorded as lost
    assert strikes >= 3
    starts, ends = fleet.trace.count("start"), fleet.trace.count("end")
    assert {task_id for task_id in ids if starts[task_id] > 1} == set()
    cut = {task_id for task_id in ids if starts[task_id] and not ends[task_id]}
    lost = {letter.death.task_id for letter in app.store.broker.dead(limit=10_000)}
    assert cut <= lost
    assert {app.AsyncResult(task_id).state for task_id in lost} <= {"FAILURE"}
    assert sum(judge.states().values()) == len(ids)
