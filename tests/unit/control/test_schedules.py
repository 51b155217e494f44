"""Steering periodic tasks: what is refused, what is told, and running one now."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from talo.app.app import Talo
from talo.control.schedules import ScheduleControl, ScheduleError


@pytest.fixture
def app() -> Iterator[Talo]:
    with Talo("proj", broker=f"memory://{uuid.uuid4().hex}", set_as_current=False) as app:
        yield app


@pytest.fixture
def control(app: Talo) -> ScheduleControl:
    return ScheduleControl(app)


def test_what_was_added_is_listed(control: ScheduleControl) -> None:
    control.add("night", "t.clean", "0 3 * * *", timezone="Europe/Berlin", args=[1], queue="q", overlap="skip")
    control.add("often", "t.ping", 30.0, enabled=False)
    night, often = control.list()
    assert (night.name, night.source, night.enabled, night.total, night.last_run) == ("night", "dynamic", True, 0, None)
    assert night.definition.options == {"queue": "q"}
    assert night.definition.shown == "0 3 * * * (Europe/Berlin)"
    assert (often.enabled, often.next_run) == (False, None)
    assert control.get("night") == night
    times = control.next("night", 3)
    assert len(times) == 3
    assert times[0] == night.next_run


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"schedule": "often"}, "5 fields"),
        ({"schedule": "61 * * * *"}, "61 > 59"),
        ({"schedule": "at 2020-01-01T00:00+00:00"}, "never comes"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"args": [object()]}, "JSON"),
        ({"misfire": "perhaps"}, "once, skip, all"),
        ({"task": ""}, "task"),
    ],
)
def test_what_makes_no_sense_is_refused(control: ScheduleControl, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ScheduleError, match=text):
        control.add(**{"name": "n", "task": "t", "schedule": "every 5m", **fields})
    assert control.list() == []


def test_a_name_is_taken_once_and_unknown_names_are_told(control: ScheduleControl) -> None:
    control.add("n", "t", "every 5m")
    with pytest.raises(ScheduleError, match="already"):
        control.add("n", "t", "every 5m")
    for verb in (control.get, control.pause, control.resume, control.remove, control.run_now, control.history):
        with pytest.raises(ScheduleError, match="no periodic task 'x'"):
            verb("x")


def test_an_edit_changes_what_it_names(control: ScheduleControl) -> None:
    control.add("n", "t", "0 3 * * *", timezone="Europe/Berlin", args=[1], misfire="skip", options={"priority": 3})
    edited = control.edit("n", schedule="0 4 * * *", queue="q")
    assert edited.definition.shown == "0 4 * * * (Europe/Berlin)"
    assert (edited.definition.args, edited.definition.misfire) == ([1], "skip")
    assert edited.definition.options == {"priority": 3, "queue": "q"}
    with pytest.raises(ScheduleError, match="99 > 59"):
        control.edit("n", schedule="99 * * * *")
    assert control.get("n") == edited


def test_run_now_sends_and_shifts_nothing(app: Talo, control: ScheduleControl) -> None:
    control.add("n", "t", "every 1h", args=[7])
    before = control.get("n")
    task_id = control.run_now("n")
    after = control.get("n")
    assert (after.next_run, after.total) == (before.next_run, 1)
    [run] = control.history("n")
    assert (run.fate, run.task_id) == ("manual", task_id)
    app.store.broker.open("reader", worker="w", slots=1, lease=30)
    [delivery] = app.store.broker.turn([], "reader", ["celery"], 9).deliveries
    assert delivery.message is not None
    assert delivery.message.id == task_id


def test_what_was_due_during_a_pause_is_no_missed_run(control: ScheduleControl) -> None:
    control.add("n", "t", "every 1h")
    due = control.get("n").next_run
    assert control.pause("n").next_run is None
    assert control.resume("n").next_run == due
    control.remove("n")
    assert control.list() == []
