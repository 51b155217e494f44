"""What becomes of runs: misfire policies, lateness, jitter, overlap, and clocks that jump."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from talo.app.app import Talo
from talo.beat.fate import judge, latest, next_due, ready_at
from talo.beat.jobs import Job, job_of
from talo.schedules import between, crontab
from talo.stores.schedules import Plan

#: Monday, 2 March 2026, 12:00 UTC
NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC).timestamp()
HOUR, DAY = 3600.0, 86400.0

app = Talo("fate", broker="memory://fate", set_as_current=False)


def job(schedule: Any, **fields: Any) -> Job:
    return job_of(app, "n", {"task": "t", "schedule": schedule, **fields})


def plan(of: Job, **fields: Any) -> Plan:
    return Plan(name="n", definition=of.raw, **{"since": NOW - 10 * DAY, **fields})


def decide(of: Job, last_due: float, now: float = NOW, alive: int = 0, deadline: float | None = None) -> Any:
    first = next_due(of, plan(of, last_due=last_due), now)
    assert first is not None
    return judge(of, first, now, alive, deadline)


def test_a_run_on_time_is_sent() -> None:
    every = job(60.0)
    verdict = decide(every, NOW - 60.5)
    assert (verdict.send, verdict.rest, verdict.last_due) == ([NOW - 0.5], [], NOW - 0.5)
    assert verdict.fate(NOW - 0.5, NOW, every.definition) == "ran"


@pytest.mark.promise("S04")
def test_by_default_a_daily_job_that_was_off_for_four_days_runs_once() -> None:
    # Given a job of every day at 9, last run four days ago
    daily = job(crontab(0, 9))
    verdict = decide(daily, NOW - 4 * DAY - 3 * HOUR)
    # Then the last due one is sent, late, and the others are missed
    assert verdict.send == [NOW - 3 * HOUR]
    assert verdict.fate(verdict.send[0], NOW, daily.definition) == "late"
    [missed] = verdict.rest
    assert (missed.fate, missed.count, missed.due) == ("missed", 3, NOW - 3 * DAY - 3 * HOUR)
    assert missed.until == NOW - DAY - 3 * HOUR


@pytest.mark.promise("S04")
@pytest.mark.parametrize("schedule", [600.0, crontab("*/10")])
def test_after_six_hours_each_policy_does_just_what_it_says(schedule: Any) -> None:
    last = NOW - 6 * HOUR - 300
    if schedule == 600.0:
        dues = [last + 600 * n for n in range(1, 37)]
    else:
        dues = [NOW - 600 * n for n in range(36, -1, -1)]
    recent = [due for due in dues if due >= NOW - HOUR]
    # skip: what is late is missed
    skip = decide(job(schedule, misfire="skip"), last, now=NOW + 100)
    assert (skip.send, [(run.fate, run.count) for run in skip.rest]) == ([], [("missed", len(dues))])
    # once: the last one
    once = decide(job(schedule, misfire="once"), last)
    assert (once.send, [(run.fate, run.count) for run in once.rest]) == ([dues[-1]], [("missed", len(dues) - 1)])
    # all: those within the window
    every = job(schedule, misfire="all", window=HOUR)
    verdict = decide(every, last)
    assert verdict.send == recent
    assert [(run.fate, run.count) for run in verdict.rest] == [("missed", len(dues) - len(recent))]
    assert verdict.fate(recent[0], NOW, every.definition) == "caught-up"


@pytest.mark.promise("S04")
def test_what_is_made_up_comes_in_portions_and_completely() -> None:
    every = job(1.0, misfire="all", window=500.0)
    last, sent = NOW - 1000.0, []
    while last < NOW:
        verdict = decide(every, last)
        assert len(verdict.send) <= 50
        sent += verdict.send
        last = verdict.last_due
    assert sent == [NOW - 500 + n for n in range(501)]


def test_skipping_forgives_the_lateness_of_a_take_over() -> None:
    assert decide(job(60.0, misfire="skip"), NOW - 80).send == [NOW - 20]


def test_months_of_missed_minutes_are_found_at_once() -> None:
    verdict = decide(job(crontab()), NOW - 300 * DAY)
    assert verdict.send == [NOW]
    [missed] = verdict.rest
    assert missed.count >= 2000
    verdict = decide(job(crontab("*/10", "9-11", "mon")), NOW - 3000 * DAY)
    assert verdict.send == [NOW - 600]


def test_a_deadline_holds_for_cron_lines_only() -> None:
    assert decide(job(crontab(0, 9)), NOW - DAY, deadline=HOUR).send == []
    assert decide(job(crontab(0, 9)), NOW - DAY, deadline=4 * HOUR).send == [NOW - 3 * HOUR]
    assert decide(job(DAY), NOW - DAY - 3 * HOUR, deadline=HOUR).send == [NOW - 3 * HOUR]


def test_a_run_is_not_sent_after_it_has_expired() -> None:
    assert decide(job(600.0, expires=30), NOW - 700).send == []
    assert decide(job(600.0, expires=300), NOW - 700).send == [NOW - 100]


@pytest.mark.promise("S05")
def test_no_more_runs_than_allowed_go_on_at_a_time() -> None:
    skipping = job(60.0, overlap="skip")
    verdict = decide(skipping, NOW - 60, alive=1)
    assert (verdict.send, [run.fate for run in verdict.rest], verdict.last_due) == ([], ["skipped"], NOW)
    assert decide(skipping, NOW - 60, alive=0).send == [NOW]
    two = job(60.0, max_instances=2, misfire="all")
    assert decide(two, NOW - 60, alive=1).send == [NOW]
    verdict = decide(two, NOW - 240, alive=0)
    assert (verdict.send, [run.fate for run in verdict.rest]) == ([NOW - 180, NOW - 120], ["skipped", "skipped"])


def test_jitter_is_the_same_for_every_scheduler_and_spreads() -> None:
    one, other = job(60.0, jitter=30), job(60.0, jitter=30)
    moments = [ready_at(one, NOW + 60 * n) - (NOW + 60 * n) for n in range(200)]
    assert moments == [ready_at(other, NOW + 60 * n) - (NOW + 60 * n) for n in range(200)]
    assert min(moments) >= 0
    assert max(moments) <= 30
    assert max(moments) - min(moments) > 20
    assert ready_at(job(60.0), NOW) == NOW


@pytest.mark.promise("S03")
def test_an_interval_keeps_its_anchor() -> None:
    # Given a run that was decided 25 s late
    every = job(60.0)
    verdict = decide(every, NOW - 85)
    # Then the next is due by the anchor, not by the delay
    assert next_due(every, plan(every, last_due=verdict.last_due), NOW) == NOW + 35


def test_after_the_clock_was_put_back_it_counts_from_now() -> None:
    daily = job(60.0)
    assert next_due(daily, plan(daily, last_due=NOW + DAY), NOW) == NOW + 60
    # ... but a few seconds are no reason
    assert next_due(daily, plan(daily, last_due=NOW + 3), NOW) == NOW + 63


def test_a_schedule_that_has_ended_has_no_next_run() -> None:
    over = job("at 2020-01-01T00:00+00:00")
    assert next_due(over, plan(over), NOW) is None
    assert latest(over, plan(over), NOW) is None
    endless = job(86400.0 * 365 * 9000)
    assert next_due(endless, plan(endless), NOW) is None


def test_a_one_off_is_sent_once_however_many_runs_are_due() -> None:
    once = job(60.0, one_off=True, misfire="all")
    assert decide(once, NOW - HOUR).send == [NOW - HOUR + 60]


def test_missed_runs_of_a_bounded_interval_end_with_its_end_and_keep_its_phase() -> None:
    # Given an interval that ended an hour ago, and nobody looked for two days
    start, end = (dt.datetime.fromtimestamp(at, dt.UTC) for at in (NOW - 3 * DAY, NOW - HOUR))
    bounded = job(between(30.0, start, end))
    verdict = decide(bounded, NOW - 2 * DAY)
    # Then its last run is made up for, and nothing comes after it
    assert verdict.send == [NOW - HOUR]
    assert next_due(bounded, plan(bounded, last_due=verdict.last_due), NOW) is None
