"""Cron arithmetic against an oracle that counts every minute there is, and laws of every schedule.

The oracle shares nothing with the code: it lists the minutes of a span in UTC, looks at the clock on the wall at each,
reads the line by itself, and applies the documented rule for gaps and overlaps.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
import zoneinfo
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talo.schedules import crontab, schedule

UTC = dt.UTC
MINUTE = dt.timedelta(minutes=1)
#: Zones with rules of every kind: half-hour shifts, shifts at midnight, a day left out, politics, none.
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Tehran",
    "Africa/Casablanca", "Pacific/Apia", "America/Havana", "Asia/Kathmandu", "America/St_Johns", "Europe/Dublin",
    "Antarctica/Troll", "Africa/Cairo", "Asia/Beirut", "America/Santiago", "Pacific/Chatham", "Asia/Gaza",
)  # fmt: skip
NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


# -- the oracle


def numbers(field: str, low: int, high: int) -> set[int]:
    """What a field matches, found by asking every number."""
    wanted = set()
    for part in field.split(","):
        body, _, step = part.partition("/")
        if body == "*":
            span = list(range(low, high + 1))
        else:
            ends = [NAMES.index(end) if end in NAMES else int(end) for end in body.split("-")]
            span, at = [ends[0]], ends[0]
            while at != ends[-1]:
                at = low if at == high else at + 1
                span.append(at)
        wanted |= {number for index, number in enumerate(span) if index % int(step or 1) == 0}
    return wanted


@lru_cache(maxsize=4)
def walls(zone: str, start: dt.datetime, days: int) -> list[tuple[dt.datetime, dt.datetime]]:
    """(instant, what the clock on the wall shows) of every minute."""
    tz = zoneinfo.ZoneInfo(zone)
    minutes = [start + n * MINUTE for n in range(days * 1440)]
    return [(instant, instant.astimezone(tz).replace(tzinfo=None, fold=0)) for instant in minutes]


def oracle(line: str, zone: str, start: dt.datetime, days: int) -> list[dt.datetime]:
    """Every run of the line within the span."""
    minute, hour, day, month, weekday = line.split()
    spans = ((minute, 0, 59), (hour, 0, 23), (day, 1, 31), (month, 1, 12), (weekday, 0, 6))
    sets = [numbers(*span) for span in spans]

    def matches(wall: dt.datetime) -> bool:
        of = (wall.minute, wall.hour, wall.day, wall.month, (wall.weekday() + 1) % 7)
        return all(number in wanted for number, wanted in zip(of, sets, strict=True))

    runs, latest = set(), None
    for instant, wall in walls(zone, start, days):
        if latest is None or wall > latest:
            # Times that the clock jumps over run at the first instant after the gap.
            missing = wall if latest is None else latest + MINUTE
            while missing <= wall:
                if matches(missing):
                    runs.add(instant)
                missing += MINUTE
            latest = wall
        elif len(sets[1]) == 24 and matches(wall):
            # The clock was put back: only lines that name no hour run again.
            runs.add(instant)
    return sorted(runs)


def counted(line: str, zone: str, start: dt.datetime, days: int) -> list[dt.datetime]:
    """The same by Talo."""
    cron = crontab.from_string(line, tz=zone)
    end, at, runs = start + days * dt.timedelta(days=1), start - MINUTE, []
    while True:
        due = cron.following(at)
        if due is None or due >= end:
            return runs
        if due >= start:
            runs.append(due)
        at = due


def random_line(rng: random.Random) -> str:
    def field(low: int, high: int) -> str:
        kind = rng.randrange(7)
        a, b = rng.randint(low, high), rng.randint(low, high)
        if kind <= 1:
            return "*"
        if kind == 2:
            return f"*/{rng.randint(1, high)}"
        if kind == 3:
            return f"{a}-{b}"
        if kind == 4:
            return f"{a}-{b}/{rng.randint(1, 5)}"
        if kind == 5:
            return f"{a},{b}"
        return str(a)

    day = "*" if rng.random() < 0.7 else f"{rng.randint(1, 28)}-{rng.randint(1, 28)}"
    month = "*" if rng.random() < 0.8 else f"{rng.randint(1, 12)}-{rng.randint(1, 12)}"
    weekday = rng.choice(["*", "*", "*", "mon-fri", "sat-mon", str(rng.randint(0, 6)), f"{rng.choice(NAMES)}"])
    return f"{field(0, 59)} {field(0, 23)} {day} {month} {weekday}"


def transitions(zone: str, year: int, years: int) -> list[dt.datetime]:
    """Days on which the clock of a zone is changed."""
    tz = zoneinfo.ZoneInfo(zone)
    days = [dt.datetime(year, 1, 1, tzinfo=UTC) + dt.timedelta(days=n) for n in range(366 * years)]
    return [a for a, b in itertools.pairwise(days) if a.astimezone(tz).utcoffset() != b.astimezone(tz).utcoffset()]


@pytest.mark.promise("S02")
@pytest.mark.parametrize("zone", ZONES)
def test_runs_around_changes_of_the_clock_are_the_documented_ones(zone: str) -> None:
    # Given the days around each change of the clock in some years, and random lines
    rng = random.Random(zone)
    changes = transitions(zone, 2010, 4) or [dt.datetime(2024, 2, 28, tzinfo=UTC)]
    for change in rng.sample(changes, min(2, len(changes))):
        start = change - dt.timedelta(days=1)
        fixed = ["0 * * * *", "*/10 * * * *", "30 2 * * *", "0,30 1-3 * * *", "59 23 * * *", "0 0 * * *", "15 1 * * *"]
        for line in fixed + [random_line(rng) for _ in range(8)]:
            # When both count, then they agree: none skipped, none doubled
            assert counted(line, zone, start, 4) == oracle(line, zone, start, 4), (line, start)


@pytest.mark.promise("S02")
def test_a_whole_year_is_the_documented_one() -> None:
    start = dt.datetime(2024, 1, 1, tzinfo=UTC)
    zone = "Europe/Berlin"
    for line in ["30 2 * * *", "0 0 29 2 *"]:
        assert counted(line, zone, start, 366) == oracle(line, zone, start, 366), line


@pytest.mark.soak
@pytest.mark.promise("S02")
def test_ten_years_of_all_zones_are_the_documented_ones() -> None:
    rng = random.Random(2)
    lines = [random_line(rng) for _ in range(500)]
    for zone in sorted(zoneinfo.available_timezones()):
        for change in transitions(zone, 2024, 10):
            start = change - dt.timedelta(days=1)
            for line in rng.sample(lines, 25):
                assert counted(line, zone, start, 4) == oracle(line, zone, start, 4), (zone, line, start)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    zone=st.sampled_from(ZONES),
    at=st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2060, 1, 1)),
)
def test_the_next_run_lies_ahead_and_nothing_lies_between(seed: int, zone: str, at: dt.datetime) -> None:
    cron = crontab.from_string(random_line(random.Random(seed)), tz=zone)
    after = at.replace(tzinfo=UTC)
    due = cron.following(after)
    assert due is not None
    assert due > after
    # From any moment before it, it is the next one still.
    between = after + (due - after) * 0.5
    assert cron.following(between) == due


@settings(max_examples=100, deadline=None)
@given(
    every=st.timedeltas(dt.timedelta(milliseconds=1), dt.timedelta(days=400)),
    at=st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2060, 1, 1)),
)
def test_an_interval_does_not_drift(every: dt.timedelta, at: dt.datetime) -> None:
    start = at.replace(tzinfo=UTC)
    due: dt.datetime | None = start
    for _ in range(10):
        assert due is not None
        due = schedule(every).following(due)
    assert due == start + 10 * every
