"""Sentry's monitors of periodic tasks: which check-ins open and close. A transport collects the envelopes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from talo import Talo
from talo.beat import Scheduler, StoreScheduler
from talo.errors import Ignore
from talo.testing.clock import Clock
from tests.unit.observe.test_sentry import Collector, init, sentry

__all__ = ["sentry"]

HOUR = {"type": "interval", "value": 1, "unit": "hour"}


@pytest.fixture
def monitored(sentry: Collector) -> Collector:
    init(sentry, monitor_beat_tasks=True, exclude_beat_tasks=["^internal-", "cleanup"])
    return sentry


@pytest.fixture(autouse=True)
def tasks(talo_app: Talo) -> None:
    """One for each way to end."""

    @talo_app.task(name="works")
    def works() -> None:
        return None

    @talo_app.task(name="ignores")
    def ignores() -> None:
        raise Ignore

    @talo_app.task(name="breaks")
    def breaks() -> None:
        raise KeyError

    @talo_app.task(name="repeats", bind=True)
    def repeats(self: Any) -> None:
        if not self.request.retries:
            raise self.retry(countdown=0)


@pytest.fixture
def beat(talo_app: Talo, talo_clock: Clock) -> Callable[[dict[str, Any]], None]:
    """Sends what becomes due of these entries within nine days."""

    def send(entries: dict[str, Any]) -> None:
        talo_app.conf.beat_schedule = entries
        StoreScheduler(talo_app).tick()
        talo_clock.advance(9 * 86_400)
        StoreScheduler(talo_app).tick()

    return send


Beat = Callable[[dict[str, Any]], None]
RunAll = Callable[[], int]


def told(sentry: Collector) -> list[tuple[str, str]]:
    """(monitor, status) of each check-in so far, by monitor."""
    return sorted((each["monitor_slug"], each["status"]) for each in sentry.of("check_in"))


@pytest.mark.parametrize(("task", "end"), [("works", "ok"), ("ignores", "ok"), ("breaks", "error"), ("repeats", "ok")])
def test_a_run_opens_a_check_in_when_it_is_sent_and_closes_it_when_it_has_ended_for_good(
    monitored: Collector, beat: Beat, run_all: RunAll, task: str, end: str
) -> None:
    # When it is sent
    beat({"hourly": {"task": task, "schedule": 3600}})
    # Then the monitor awaits it
    (opened,) = monitored.of("check_in")
    assert (opened["monitor_slug"], opened["status"]) == ("hourly", "in_progress")
    assert opened["monitor_config"] == {"schedule": HOUR, "timezone": "UTC"}
    # And when it has run, and been tried again if it asked for that, the same check-in ends
    run_all()
    _, closed = monitored.of("check_in")
    assert (closed["check_in_id"], closed["status"]) == (opened["check_in_id"], end)


def test_a_run_that_comes_too_late_is_an_error(
    monitored: Collector, beat: Beat, run_all: RunAll, talo_clock: Clock
) -> None:
    beat({"hourly": {"task": "works", "schedule": 3600, "options": {"expires": 60}}})
    talo_clock.advance(3600)
    run_all()
    assert told(monitored) == [("hourly", "error"), ("hourly", "in_progress")]


@pytest.mark.parametrize(
    ("schedule", "config"),
    [
        (60, {"type": "interval", "value": 1, "unit": "minute"}),
        (90 * 60, {"type": "interval", "value": 90, "unit": "minute"}),
        (2 * 86_400, {"type": "interval", "value": 2, "unit": "day"}),
        ("*/5 3 * * mon-fri", {"type": "crontab", "value": "*/5 3 * * mon-fri"}),
    ],
)
def test_the_monitor_has_the_schedule_and_its_zone(
    monitored: Collector, beat: Beat, schedule: Any, config: dict[str, Any]
) -> None:
    beat({"job": {"task": "works", "schedule": schedule, "timezone": "Asia/Tokyo"}})
    (opened,) = monitored.of("check_in")
    assert opened["monitor_config"] == {"schedule": config, "timezone": "Asia/Tokyo"}


@pytest.mark.parametrize("schedule", [90, 86_400.5, "rrule FREQ=DAILY"])
def test_what_sentry_cannot_follow_runs_unmonitored_and_is_told_once(
    monitored: Collector, beat: Beat, run_all: RunAll, caplog: pytest.LogCaptureFixture, schedule: Any
) -> None:
    with caplog.at_level(logging.WARNING, "talo.beat"):
        for _ in range(2):
            beat({"odd": {"task": "works", "schedule": schedule}})
    assert run_all() == 2
    assert told(monitored) == []
    [said] = [record.message for record in caplog.records if "Sentry" in record.message]
    assert "'odd'" in said


def test_excluded_names_are_left_out(monitored: Collector, beat: Beat) -> None:
    names = ("internal-mail", "mail-internal-", "db-cleanup", "mail")
    beat({name: {"task": "works", "schedule": 3600} for name in names})
    assert told(monitored) == [("mail", "in_progress"), ("mail-internal-", "in_progress")]


def test_nothing_is_monitored_unless_asked_for(sentry: Collector, beat: Beat, run_all: RunAll) -> None:
    beat({"hourly": {"task": "works", "schedule": 3600}})
    run_all()
    assert told(sentry) == []


def test_of_two_beats_that_want_to_send_the_one_that_does_opens_the_check_in(
    monitored: Collector, talo_app: Talo, talo_clock: Clock
) -> None:
    # Given two beats that have both seen that a run is due
    talo_app.conf.beat_schedule = {"hourly": {"task": "works", "schedule": 3600}}
    StoreScheduler(talo_app).tick()
    talo_clock.advance(3600)
    beats = [StoreScheduler(talo_app) for _ in range(2)]
    for each in beats:
        each._join()
    # When both decide
    for each in beats:
        each.tick()
    # Then
    assert told(monitored) == [("hourly", "in_progress")]


def test_the_classic_scheduler_opens_check_ins_too(monitored: Collector, talo_app: Talo, run_all: RunAll) -> None:
    scheduler = Scheduler(talo_app, lazy=True)
    entry = scheduler.Entry("hourly", "works", schedule=3600, app=talo_app)
    scheduler.apply_async(entry, advance=False)
    run_all()
    assert told(monitored) == [("hourly", "in_progress"), ("hourly", "ok")]


def test_each_run_begins_a_trace_of_its_own(monitored: Collector, beat: Beat, run_all: RunAll) -> None:
    beat({name: {"task": "works", "schedule": 3600} for name in ("a", "b")})
    run_all()
    traces = [each["contexts"]["trace"]["trace_id"] for each in monitored.of("transaction")]
    assert len(set(traces)) == len(traces) == 2
