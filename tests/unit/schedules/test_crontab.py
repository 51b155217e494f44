"""Cron lines: Celery's grammar, Celery's attributes, and daylight saving by example."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from talo.schedules import ParseException, crontab, crontab_parser

UTC = dt.UTC


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def runs(line: str, zone: str, after: str, count: int) -> list[str]:
    """The next runs, as clocks of the zone show them."""
    cron = crontab.from_string(line, tz=zone)
    found, moment = [], at(after)
    for _ in range(count):
        due = cron.following(moment)
        assert due is not None
        found.append(due.astimezone(cron.tz).strftime("%d %H:%M %z"))
        moment = due
    return found


@pytest.mark.parametrize(
    ("field", "spec", "expected"),
    [
        ("minute", "*/15", {0, 15, 30, 45}),
        ("minute", "10-14/2,30", {10, 12, 14, 30}),
        ("minute", " 1 , 2", {1, 2}),
        ("minute", [5, 6], {5, 6}),
        ("minute", "*/70", {0}),
        ("hour", "22-3", {22, 23, 0, 1, 2, 3}),
        ("hour", "20-4/3", {20, 23, 2}),
        ("day_of_week", "mon-fri", {1, 2, 3, 4, 5}),
        ("day_of_week", "sat-mon", {6, 0, 1}),
        ("day_of_week", "Sunday", {0}),
        ("day_of_month", "*/10", {1, 11, 21, 31}),
        ("month_of_year", "jan,jul", {1, 7}),
        ("month_of_year", "nov-feb", {11, 12, 1, 2}),
    ],
)
def test_fields_mean_what_they_mean_in_celery(field: str, spec: Any, expected: set[int]) -> None:
    assert getattr(crontab(**{field: spec}), field) == expected


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"minute": "60"}, ValueError, "60 > 59"),
        ({"minute": "-1"}, ParseException, "negative"),
        ({"minute": ""}, ParseException, "empty"),
        ({"minute": "1,,2"}, ParseException, "empty"),
        ({"minute": "*/0"}, ValueError, "zero"),
        ({"minute": "5/2"}, ValueError, "5/2"),
        ({"minute": "1-2-3"}, ValueError, "1-2-3"),
        ({"minute": []}, ValueError, "never"),
        ({"minute": None}, TypeError, "cronspec"),
        ({"minute": 1.5}, TypeError, "float"),
        ({"minute": "١"}, ValueError, "number"),
        ({"hour": "noon"}, ValueError, "'noon'"),
        ({"day_of_week": 7}, ValueError, "0-6"),
        ({"day_of_week": "7"}, ValueError, "7 > 6"),
        ({"day_of_week": "L"}, ValueError, "weekday"),
        ({"day_of_month": 0}, ValueError, "1-31"),
        ({"day_of_month": "31", "month_of_year": "feb,apr"}, ValueError, "never occurs"),
        ({"tz": "Mars/Olympus"}, ValueError, "Mars/Olympus"),
    ],
)
def test_an_impossible_line_says_why(fields: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        crontab(**fields)


def test_a_zone_that_a_subclass_sets_first_stays() -> None:
    # Given a subclass that sets its zone before it calls the constructor (as django-celery-beat's does)
    class Zoned(crontab):
        def __init__(self) -> None:
            self.tz = ZoneInfo("Europe/Berlin")
            super().__init__(minute="0", hour="7")

    # Then it counts in that zone.
    assert Zoned().following(dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) == dt.datetime(2026, 1, 1, 6, tzinfo=dt.UTC)


@pytest.mark.parametrize("line", ["", "* * * *", "* * * * * *", "@daily"])
def test_a_line_has_five_fields(line: str) -> None:
    with pytest.raises(ValueError, match="5 fields"):
        crontab.from_string(line)


def test_the_order_of_arguments_is_celerys() -> None:
    cron = crontab.from_string("1 2 3 4 5")
    assert cron == crontab(1, 2, 5, 3, 4)
    assert (cron._orig_minute, cron._orig_hour, cron._orig_day_of_month) == ("1", "2", "3")
    assert (cron._orig_month_of_year, cron._orig_day_of_week) == ("4", "5")
    assert repr(cron) == str(cron) == "<crontab: 1 2 3 4 5 (m/h/dM/MY/d)>"
    assert repr(crontab(hour=[1, 2])) == "<crontab: * [1, 2] * * * (m/h/dM/MY/d)>"


def test_it_survives_pickling_and_compares_by_what_matches() -> None:
    cron = crontab(minute="*/15", tz="Europe/Berlin")
    assert pickle.loads(pickle.dumps(cron)) == cron
    assert cron != crontab(minute="*/15")
    assert crontab(5) == crontab(minute="5")
    assert crontab(5) != 5


def test_the_parser_is_public() -> None:
    assert crontab_parser(60).parse("*/15") == {0, 15, 30, 45}
    assert crontab_parser(31, 1).parse("*/10") == {1, 11, 21, 31}


def test_day_of_month_and_day_of_week_must_both_match() -> None:
    # Friday the 13th
    assert runs("0 0 13 * fri", "UTC", "2026-01-01T00:00+00:00", 3) == ["13 00:00 +0000"] * 3
    assert crontab.from_string("0 0 13 * fri").following(at("2026-01-01T00:00+00:00")) == at("2026-02-13T00:00+00:00")


def test_a_leap_day_on_a_weekday_is_found_however_far() -> None:
    assert crontab.from_string("0 0 29 2 mon").following(at("2072-03-01T00:00+00:00")) == at("2112-02-29T00:00+00:00")
    assert crontab.from_string("0 0 29 2 *").following(at("9999-01-01T00:00+00:00")) is None


@pytest.mark.promise("S02")
@pytest.mark.parametrize(
    ("line", "zone", "after", "expected"),
    [
        # A time in the gap runs at its end, once.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00+01:00", ["29 03:00 +0200", "30 02:30 +0200"]),
        ("*/20 2 * * *", "Europe/Berlin", "2026-03-28T12:00+01:00", ["29 03:00 +0200", "30 02:00 +0200"]),
        # ... also where the gap is half an hour, and where it is a whole day.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00+10:30", ["04 02:30 +1100", "05 02:15 +1100"]),
        ("0 9 * * *", "Pacific/Apia", "2011-12-29T08:00-10:00", ["29 09:00 -1000", "31 00:00 +1400", "31 09:00 +1400"]),
        # A time that comes twice runs the first time.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00+02:00", ["25 02:30 +0200", "26 02:30 +0100"]),
        # A line that names no hour counts hours: it runs in both.
        ("30 * * * *", "Europe/Berlin", "2026-10-25T01:45+02:00", ["25 02:30 +0200", "25 02:30 +0100"]),
        # Whoever looks in the middle of the second pass sees the same.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T02:10+01:00", ["26 02:30 +0100"]),
        ("30 * * * *", "Europe/Berlin", "2026-10-25T02:10+01:00", ["25 02:30 +0100"]),
    ],
)  # fmt: skip
def test_daylight_saving_follows_the_documented_rule(line: str, zone: str, after: str, expected: list[str]) -> None:
    assert runs(line, zone, after, len(expected)) == expected


def test_is_due_is_celerys() -> None:
    now = at("2026-03-01T12:00:30+00:00")
    cron = crontab(minute="*/5", nowfun=lambda: now)
    assert cron.is_due(now) == (False, 270.0)
    assert cron.is_due(now - dt.timedelta(minutes=3)) == (True, 270.0)
    assert cron.remaining_estimate(now) == dt.timedelta(seconds=270)
    last, delta, shown = cron.remaining_delta(now)
    assert (last, delta, shown) == (now, dt.timedelta(seconds=270), now)
