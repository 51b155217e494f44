"""What events add up to: late ones, foreign ones, nonsense, bounds, pictures."""

from __future__ import annotations

import pickle
import threading
import time
from typing import Any

import pytest

from talo.events import Event, State
from talo.events.dumper import Dumper
from talo.events.snapshot import Polaroid
from tests.support import eventually


def event(kind: str, clock: int, uuid: str = "a", **fields: Any) -> dict[str, Any]:
    return Event(kind, hostname="w@h", clock=clock, timestamp=1000.0 + clock, uuid=uuid, **fields)


LIFE = [
    event("task-sent", 1, name="t.add", args="(1,)", kwargs="{}", queue="celery", routing_key="celery"),
    event("task-received", 2, name="t.add", args="(1,)", kwargs="{}", retries=0, root_id="a"),
    event("task-started", 3),
    event("task-succeeded", 4, result="2", runtime=0.5),
]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]])
def test_events_in_any_order_make_the_same_task(order: list[int]) -> None:
    state = State()
    for index in order:
        state.event(dict(LIFE[index]))
    task = state.tasks["a"]
    assert (task.state, task.name, task.result, task.runtime, task.args) == ("SUCCESS", "t.add", "2", 0.5, "(1,)")
    assert (task.sent, task.received, task.started, task.succeeded) == (1001.0, 1002.0, 1003.0, 1004.0)
    assert task.worker.hostname == "w@h" and task.ready
    assert task.info() == {
        "args": "(1,)", "kwargs": "{}", "result": "2", "runtime": 0.5, "routing_key": "celery", "root_id": "a",
        "retries": 0,
    }  # fmt: skip


def test_a_retried_task_begins_anew() -> None:
    state = State()
    for kind, clock in (("task-started", 1), ("task-retried", 2), ("task-received", 3), ("task-started", 4)):
        state.event(event(kind, clock, exception="ValueError()" if kind == "task-retried" else None))
    assert state.tasks["a"].state == "STARTED"
    state.event(event("task-failed", 5, exception="KeyError()", traceback="..."))
    assert (state.tasks["a"].state, state.tasks["a"].exception) == ("FAILURE", "KeyError()")


def test_a_worker_is_alive_by_its_own_rhythm_and_leaves() -> None:
    joined: list[str] = []
    left: list[str] = []
    state = State(
        on_node_join=lambda worker: joined.append(worker.hostname),
        on_node_leave=lambda worker: left.append(worker.hostname),
    )
    now = time.time()
    beat = {"type": "worker-heartbeat", "hostname": "w@h", "freq": 2.0, "active": 1, "processed": 7, "clock": 1}
    state.event({**beat, "local_received": now})
    assert [worker.hostname for worker in state.alive_workers()] == joined == ["w@h"]
    assert state.workers["w@h"].status_string == "ONLINE"
    state.event({**beat, "hostname": "old@h", "local_received": now - 5})
    assert [worker.hostname for worker in state.alive_workers()] == ["w@h"]
    state.event({"type": "worker-offline", "hostname": "w@h"})
    assert left == ["w@h"] and "w@h" not in state.workers


@pytest.mark.parametrize(
    "forged",
    [
        {"type": "task-received"},
        {"type": "task-received", "uuid": 7},
        {"type": "worker-heartbeat"},
        {"type": "worker-heartbeat", "hostname": ["x"]},
        {"type": "task-received", "uuid": "f", "hostname": 3, "clock": "x", "timestamp": "y", "name": 5, "worker": 1},
        {"type": "worker-heartbeat", "hostname": "f", "freq": "often", "heartbeats": "none", "_defaults": 3},
        {"type": ""},
        {"type": "mine-own", "x": 1},
    ],
)
def test_a_forged_event_changes_nothing_that_matters(forged: dict[str, Any]) -> None:
    state = State()
    for each in LIFE:
        state.event(dict(each))
    state.event(forged)
    assert state.tasks["a"].state == "SUCCESS"
    list(state.tasks_by_time())
    list(state.alive_workers())
    repr(state.tasks), repr(state.workers)


def test_what_it_remembers_is_bounded_and_the_oldest_goes() -> None:
    state = State(max_tasks_in_memory=3, max_workers_in_memory=2)
    for n in range(10):
        state.event(Event("task-received", uuid=f"t{n}", hostname=f"w{n}", clock=n, name="t.add"))
    assert list(state.tasks) == ["t7", "t8", "t9"]
    assert list(state.workers) == ["w8", "w9"]
    assert [uuid for uuid, _ in state.tasks_by_time(limit=2)] == ["t9", "t8"]
    assert [uuid for uuid, _ in state.tasks_by_type("t.add", reverse=False)] == ["t7", "t8", "t9"]
    assert [uuid for uuid, _ in state.tasks_by_worker("w9")] == ["t9"]
    assert state.task_types() == ["t.add"]


def test_it_travels_whole() -> None:
    state = State(max_tasks_in_memory=7)
    for each in LIFE:
        state.event(dict(each))
    state.event(event("task-received", 9, uuid="child", parent_id="a"))
    copy = pickle.loads(pickle.dumps(state))
    assert (copy.event_count, copy.task_count, copy.tasks.limit) == (5, 2, 7)
    assert copy.tasks["a"].as_dict() == state.tasks["a"].as_dict()
    assert [child.uuid for child in copy.tasks["a"].children] == ["child"]
    assert copy.tasks["child"].parent is copy.tasks["a"]


def test_a_camera_takes_pictures_of_a_state_that_stands_still() -> None:
    seen: list[int] = []

    class Camera(Polaroid):
        clear_after = True

        def on_shutter(self, state: State) -> None:
            seen.append(len(state.tasks))

    state = State()
    for each in LIFE:
        state.event(dict(each))
    with Camera(state, freq=0.01):
        eventually(lambda: _assert_pictures(seen))
    assert seen[0] == 1 and seen[-1] == 0
    assert threading.active_count() < 50


def _assert_pictures(seen: list[int]) -> None:
    assert len(seen) > 2


def test_a_dumped_event_is_one_line_whatever_it_holds() -> None:
    dumper = Dumper()
    first = dumper.line(LIFE[1])
    assert "w@h [" in first and "task-received: t.add(a) args='(1,)'" in first
    assert "t.add(a)" in dumper.line(LIFE[2])
    assert dumper.line({"type": "x\n\x1b[31m", "hostname": "h", "timestamp": "never"}) == "h [?] x\\n\\x1b[31m:"
