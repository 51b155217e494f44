"""Intervals, one-offs, the sun, calendars' rules, and schedules as text and data."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import Any

import pytest

from talo.schedules import BaseSchedule, between, clocked, crontab, maybe_schedule, rrule, schedule, solar
from talo.schedules.text import describe, from_data, from_text, to_data, to_text

NOW = dt.datetime(2026, 3, 1, 12, 0, 30, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def test_an_interval_is_celerys() -> None:
    every = schedule(100, nowfun=lambda: NOW)
    assert every.is_due(NOW) == (False, 100.0)
    assert every.is_due(NOW - dt.timedelta(seconds=200)) == (True, 100.0)
    assert every.remaining_estimate(NOW) == dt.timedelta(seconds=100)
    assert (every.seconds, every.run_every, every.relative) == (100.0, dt.timedelta(seconds=100), False)
    assert [repr(schedule(each)) for each in (10, HOUR, 2 * 24 * HOUR)] == [
        "<freq: 10.00 seconds>", "<freq: 1.00 hour>", "<freq: 2.00 days>",
    ]  # fmt: skip
    assert schedule(3) == schedule(dt.timedelta(seconds=3)) == dt.timedelta(seconds=3)
    assert pickle.loads(pickle.dumps(schedule(5, relative=True))) == schedule(5, relative=True)


def test_numbers_and_timedeltas_are_intervals() -> None:
    assert maybe_schedule(3) == maybe_schedule(dt.timedelta(seconds=3)) == schedule(3)
    cron = crontab()
    assert maybe_schedule(cron) is cron
    assert maybe_schedule("text") == "text"


def test_a_relative_interval_is_rounded_to_its_unit() -> None:
    daily = schedule(24 * HOUR, relative=True, tz="Europe/Berlin")
    assert daily.following(NOW) == dt.datetime(2026, 3, 1, 23, 0, tzinfo=dt.UTC)
    hourly = schedule(2 * HOUR, relative=True)
    assert hourly.following(NOW) == dt.datetime(2026, 3, 1, 14, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (None, TypeError), ("5", TypeError), (1e300, ValueError)]
)
def test_an_interval_that_is_none_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="interval"):
        schedule(value)


@pytest.mark.promise("S03")
def test_a_one_off_is_due_once() -> None:
    once = clocked(NOW, nowfun=lambda: NOW + HOUR)
    assert once.following(NOW - HOUR) == NOW
    assert once.following(NOW) is None
    assert once.is_due(NOW - HOUR).is_due
    assert not once.is_due(NOW).is_due
    with pytest.raises(TypeError, match="datetime"):
        clocked("tomorrow")  # type: ignore[arg-type]


@pytest.mark.parametrize("event", sorted(solar._all_events))
def test_every_event_of_the_sun_comes_once_a_day(event: str) -> None:
    sun = solar(event, 52.5, 13.4)
    first = sun.following(NOW)
    assert first is not None
    second = sun.following(first)
    assert second is not None
    assert dt.timedelta(hours=23) < second - first < dt.timedelta(hours=25)


def test_the_sun_is_where_almanacs_have_it() -> None:
    # Berlin, 21 June 2026: sunrise 4:43, sunset 21:33, local time
    day = dt.datetime(2026, 6, 20, 22, tzinfo=dt.UTC)
    for event, hour, minute in (("sunrise", 2, 43), ("sunset", 19, 33)):
        found = solar(event, 52.52, 13.4).following(day)
        assert found is not None
        assert abs(found - dt.datetime(2026, 6, 21, hour, minute, tzinfo=dt.UTC)) < dt.timedelta(minutes=2)


def test_a_polar_night_has_no_sunrise() -> None:
    found = solar("sunrise", 78.2, 15.6).following(dt.datetime(2026, 11, 20, tzinfo=dt.UTC))
    assert found is not None
    assert found.month == 2


@pytest.mark.parametrize(
    ("arguments", "text"), [(("noon", 1, 2), "noon"), (("sunset", 100, 2), "100"), (("sunset", 1, 200), "200")]
)
def test_a_sun_that_is_nowhere_is_refused(arguments: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        solar(*arguments)


def test_a_rule_of_calendars_counts_in_its_zone() -> None:
    # The last Friday of the month at 9 in Berlin
    rule = rrule("FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9;BYMINUTE=0;BYSECOND=0", tz="Europe/Berlin")
    first = rule.following(NOW)
    assert first == dt.datetime(2026, 3, 27, 8, 0, tzinfo=dt.UTC)
    assert rule.following(first) == dt.datetime(2026, 4, 24, 7, 0, tzinfo=dt.UTC)
    assert rrule("FREQ=DAILY;COUNT=3", start=dt.datetime(2020, 1, 1)).following(NOW) is None
    with pytest.raises(ValueError, match="no recurrence rule"):
        rrule("FREQ=SOMETIMES")


class Fixed(BaseSchedule):
    """A schedule of somebody's own, with Celery's protocol only."""

    def remaining_estimate(self, last_run_at: dt.datetime) -> dt.timedelta:
        return last_run_at + HOUR - self.now()


def test_a_schedule_of_ones_own_needs_the_protocol_only() -> None:
    own = Fixed(nowfun=lambda: NOW)
    assert own.following(NOW) == NOW + HOUR
    assert own.is_due(NOW - 2 * HOUR) == (True, 3600.0)
    assert to_data(own) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*/5 * * * mon-fri", crontab("*/5", day_of_week="mon-fri")),
        ("every 30s", schedule(30)),
        ("90", schedule(90)),
        ("every 2 hours", schedule(7200)),
        ("1.5d", schedule(129600)),
        ("at 2026-03-01T12:00:30+00:00", clocked(NOW)),
        ("sunset 60.1 24.9", solar("sunset", 60.1, 24.9)),
        ("FREQ=DAILY", rrule("FREQ=DAILY")),
        ("rrule FREQ=DAILY", rrule("FREQ=DAILY")),
    ],
)
def test_a_schedule_is_written_and_kept(text: str, expected: BaseSchedule) -> None:
    made = from_text(text)
    assert made == expected
    data = to_data(made)
    assert data is not None
    assert from_data(data) == made
    assert describe(made)


@pytest.mark.parametrize("text", ["", "often", "every", "every 0s", "sunset here", "at noon", "rrule X", "60 * * * *"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        from_text(text)


def test_data_keeps_the_zone() -> None:
    data = to_data(crontab(minute=[30, 0], hour=9, tz="Europe/Berlin"))
    assert data == {"cron": "0,30 9 * * *", "tz": "Europe/Berlin"}
    with pytest.raises(ValueError, match="no schedule"):
        from_data({"moon": "full"})


def test_a_bounded_interval_begins_at_its_start_and_ends_with_its_end() -> None:
    hourly = between(HOUR, NOW, NOW + 2 * HOUR)
    assert hourly.following(NOW - 100 * HOUR) == NOW
    assert hourly.following(NOW) == NOW + HOUR
    assert hourly.following(NOW + HOUR) == NOW + 2 * HOUR
    assert hourly.following(NOW + 2 * HOUR) is None


def test_a_bounded_cron_line_runs_at_its_own_times_only_the_start_itself_included() -> None:
    line = crontab(0, "*/6", tz="UTC")
    assert between(line, NOW).following(NOW - 100 * HOUR) == dt.datetime(2026, 3, 1, 18, tzinfo=dt.UTC)
    noon = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    assert between(line, noon).following(NOW - 100 * HOUR) == noon
    assert between(line, end=NOW).following(noon) is None


def test_a_bounded_schedule_is_data_words_and_no_line() -> None:
    rule = between(crontab(0, 3, tz="Europe/Berlin"), NOW, NOW + HOUR)
    data = to_data(rule)
    assert data == {
        "cron": "0 3 * * *", "tz": "Europe/Berlin", "from": NOW.isoformat(), "until": (NOW + HOUR).isoformat(),
    }  # fmt: skip
    assert from_data(data) == rule == pickle.loads(pickle.dumps(rule))
    assert describe(rule) == "0 3 * * * (Europe/Berlin) from 2026-03-01 12:00 until 2026-03-01 13:00"
    assert (to_text(data), to_text({"cron": "0 3 * * *"}), to_text(None)) == ("", "0 3 * * *", "")
    assert to_data(between(BaseSchedule(), NOW)) is None


@pytest.mark.parametrize("bounds", [(NOW, NOW - HOUR), ("2026-01-01", None), (None, 5)])
def test_bounds_that_are_none_are_refused(bounds: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"start|datetime"):
        between(HOUR, *bounds)
    with pytest.raises(TypeError, match="what is bounded is a schedule"):
        between("hourly", NOW)
