"""Entries: Celery's keys and Talo's, what is kept of them, and what a bad one is told."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from talo.app.app import Talo
from talo.beat import BeatLazyFunc, ScheduleEntry
from talo.beat.jobs import Definition, job_of, job_of_definition
from talo.schedules import BaseSchedule, crontab, schedule

app = Talo("jobs", broker="memory://jobs", set_as_current=False)
GOOD = {"task": "t", "schedule": 10}


class Own(BaseSchedule):
    def remaining_estimate(self, last_run_at: dt.datetime) -> dt.timedelta:
        return dt.timedelta(1)


def test_an_entry_of_celery_is_a_job() -> None:
    made = job_of(app, "n", {**GOOD, "args": (1, [2]), "kwargs": {"k": 3}, "options": {"queue": "q"}, "relative": True})
    assert made.schedule == schedule(10, relative=True)
    assert (made.definition.task, made.args, made.kwargs, made.options) == ("t", (1, [2]), {"k": 3}, {"queue": "q"})
    assert not made.definition.local


def test_what_a_store_keeps_is_the_same_job() -> None:
    made = job_of(
        app, "n", {**GOOD, "schedule": crontab(5), "timezone": "Europe/Berlin", "args": (1,), "misfire": "all",
                   "window": dt.timedelta(hours=2), "overlap": "skip", "jitter": 3, "expires": 60},
    )  # fmt: skip
    kept = job_of_definition(app, "n", made.raw)
    assert kept.raw == made.raw
    assert kept.schedule == made.schedule == crontab(5, tz="Europe/Berlin")
    assert (kept.definition.window, kept.definition.limit, kept.definition.expires) == (7200.0, 1, 60.0)


def test_a_classic_entry_is_taken() -> None:
    made = job_of(app, "n", ScheduleEntry(name="n", task="t", schedule=5, args=(1,), app=app))
    assert (made.definition.task, made.args, made.schedule) == ("t", (1,), schedule(5))


@pytest.mark.parametrize(
    "entry",
    [
        {"args": (object(),)},
        {"args": (BeatLazyFunc(int),)},
        {"kwargs": {"d": dt.date(2026, 1, 1)}},
        {"schedule": Own()},
    ],
)
def test_what_is_no_json_runs_from_its_configuration_only(entry: dict[str, Any]) -> None:
    made = job_of(app, "n", {**GOOD, **entry})
    assert made.definition.local
    with pytest.raises(ValueError, match="only the configuration"):
        job_of_definition(app, "n", made.raw)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("t", "a dict"),
        ({"schedule": 10}, "task"),
        ({"task": 5, "schedule": 10}, "task"),
        ({"task": "t"}, "schedule"),
        ({"task": "t", "schedule": "99 * * * *"}, "99 > 59"),
        ({"task": "t", "schedule": "30 2 31 2 *"}, "never occurs"),
        ({"task": "t", "schedule": 0}, "interval"),
        ({"task": "t", "schedule": object()}, "schedule"),
        ({**GOOD, "timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({**GOOD, "timezone": 5}, "no time zone"),
        ({**GOOD, "kwargs": [1]}, "kwargs"),
        ({**GOOD, "misfires": "skip"}, "did you mean misfire"),
        ({**GOOD, "misfire": "sometimes"}, "once, skip, all"),
        ({**GOOD, "overlap": "no"}, "allow, skip"),
        ({**GOOD, "jitter": -1}, "seconds"),
        ({**GOOD, "window": float("nan")}, "seconds"),
        ({**GOOD, "max_instances": 0}, "at least 1"),
        ({**GOOD, "max_instances": True}, "at least 1"),
    ],
)
def test_a_bad_entry_says_why(entry: Any, text: str) -> None:
    with pytest.raises((ValueError, TypeError), match=text):
        job_of(app, "n", entry)


def test_overlap_is_refused_where_no_result_tells_of_an_end() -> None:
    with Talo("silent", broker="memory://silent", backend="disabled://", set_as_current=False) as silent:
        assert job_of(silent, "n", GOOD)
        for policy in ({"overlap": "skip"}, {"max_instances": 2}):
            with pytest.raises(ValueError, match="result backend"):
                job_of(silent, "n", {**GOOD, **policy})


def test_a_definition_that_cannot_be_read_says_so() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        job_of_definition(app, "n", b"{")
    assert Definition(task="t", schedule=None, max_instances=3, overlap="skip").limit == 3
