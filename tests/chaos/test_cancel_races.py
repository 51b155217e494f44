"""Cancelling a task in the very moment in which it ends: whoever runs next on its slot is never hit."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from talo.app.app import Talo
from tests.chaos.kit import HANGS, LONG, SEED, Fleet, Judge, call, check, for_seconds, full, send_all

#: Seconds that a task takes, and the moments at which it is cancelled: before, at and after its end.
NAP, UNTIL = 0.03, 0.06
#: Every second task is cancelled, so many of them at a time.
RACES, AT_A_TIME = full(10_000, 40), 4


def terminate(app: Talo, way: str, task_id: str) -> None:
    """Stop a task: by its result as a program does, or by the command that ``talo control terminate`` sends."""
    if way == "result":
        app.AsyncResult(task_id).revoke(terminate=True)
    else:
        app.control.broadcast("terminate", arguments={"signal": "TERM", "task_id": task_id})


@pytest.mark.promise("L04")
@pytest.mark.parametrize(
    ("pool", "way"),
    [
        *[(pool, "command") for pool in ("processes", "threads", "asyncio", "solo")],
        *[(pool, "result") for pool in full(("processes", "threads", "asyncio", "solo"), ("processes",))],
    ],
)
@pytest.mark.parametrize("broker", ["redis"], indirect=True)
@pytest.mark.timeout(HANGS)
def test_a_cancel_that_races_with_the_end_hits_no_other_task_and_the_state_tells_the_truth(
    way: str, pool: str, broker: str, app: Talo, tmp_path: Path
) -> None:
    moments = random.Random(SEED)
    name = "anap" if pool == "asyncio" else "nap"
    ids = send_all(app, [call(name, NAP) for _ in range(2 * RACES)])
    victims = ids[::2]
    pauses = {task_id: moments.uniform(0.0, UNTIL) for task_id in victims}
    with Fleet(broker, tmp_path, "-P", pool, "-c", "2") as fleet:
        started: dict[str, float] = {}
        news, over = threading.Condition(), threading.Event()

        def watch() -> None:
            while not over.wait(0.002):
                with news:
                    started.update(fleet.trace.times("start"))
                    news.notify_all()

        def cancel(task_id: str) -> None:
            # Given a task that runs, when it is terminated about when it ends
            with news:
                check(news.wait_for(lambda: task_id in started, LONG), f"{task_id} has not started")
            for_seconds(max(0.0, started[task_id] + pauses[task_id] - time.time()))
            terminate(app, way, task_id)

        watcher = threading.Thread(target=watch)
        watcher.start()
        with ThreadPoolExecutor(AT_A_TIME) as cancellers:
            for done in [cancellers.submit(cancel, task_id) for task_id in victims]:
                done.result()
        over.set()
        watcher.join()
        judge = Judge(app, fleet.trace, ids)
        judge.wait()
        judge.nothing_is_left()
    states = {task_id: app.AsyncResult(task_id).state for task_id in ids}
    # Then the others have run to their ends, once
    others = set(ids[1::2])
    assert {task_id for task_id in others if states[task_id] != "SUCCESS"} == set()
    assert {
        task_id: count for task_id, count in fleet.trace.count("end").items() if task_id in others
    } == dict.fromkeys(others, 1)
    # And what is called a success has come to its end, what has not is called revoked
    ended = set(fleet.trace.count("end"))
    assert {states[task_id] for task_id in victims} <= {"SUCCESS", "REVOKED"}
    assert {task_id for task_id in victims if states[task_id] == "SUCCESS"} <= ended
    assert judge.dead() == []
