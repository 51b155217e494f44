"""When Django Q's schedules run next."""

from __future__ import annotations

import datetime as dt

import pytest
from django.conf import settings
from django.test.utils import override_settings
from django.utils import timezone

from talo.django.q.times import following

if not settings.configured:
    settings.configure(USE_TZ=True)

UTC = dt.UTC


@pytest.mark.parametrize(
    ("kind", "after", "expected"),
    [
        ("I", "2027-01-01T00:00+00:00", "2027-01-01T00:05+00:00"),
        ("H", "2027-01-01T00:30+00:00", "2027-01-01T01:30+00:00"),
        # By the wall clock of Rome, whose summer begins on 28 March 2027
        ("D", "2027-03-27T08:00+00:00", "2027-03-28T07:00+00:00"),
        ("W", "2027-03-22T08:00+00:00", "2027-03-29T07:00+00:00"),
        ("BW", "2027-06-01T08:00+00:00", "2027-06-15T08:00+00:00"),
        ("M", "2027-01-31T08:00+00:00", "2027-02-28T08:00+00:00"),
        ("BM", "2027-12-31T08:00+00:00", "2028-02-29T08:00+00:00"),
        ("Q", "2027-11-30T08:00+00:00", "2028-02-29T08:00+00:00"),
        ("Y", "2028-02-29T08:00+00:00", "2029-02-28T08:00+00:00"),
        ("C", "2027-01-01T08:00+00:00", "2027-01-02T02:00+00:00"),
        ("O", "2027-01-01T08:00+00:00", None),
    ],
)
def test_the_next_run_of_each_type(kind: str, after: str, expected: str | None) -> None:
    with override_settings(TIME_ZONE="Europe/Rome", USE_TZ=True):
        timezone.get_default_timezone.cache_clear()
        found = following(kind, dt.datetime.fromisoformat(after), 5, "0 3 * * *")
    timezone.get_default_timezone.cache_clear()
    assert found == (dt.datetime.fromisoformat(expected) if expected else None)
