"""Times are read in every form that Celery's receivers read."""

from __future__ import annotations

import datetime as dt

import pytest

from talo.wire._times import epoch_of, iso, parse_iso

MOMENT = dt.datetime(2026, 11, 21, 9, 36, 44, tzinfo=dt.UTC).timestamp()
MINUTE = MOMENT - 44
DAY = dt.datetime(2026, 11, 21, tzinfo=dt.UTC).timestamp()

FORMS = [
    ("2026-11-21T09:36:44+00:00", MOMENT),
    ("2026-11-21T09:36:44Z", MOMENT),
    ("2026-11-21T09:36:44+0000", MOMENT),
    ("2026-11-21T10:36:44+01:00", MOMENT),
    ("2026-11-21T10:36:44+01", MOMENT),
    ("2026-11-21 09:36:44", MOMENT),
    ("2026-11-21T09:36:44.250", MOMENT + 0.25),
    ("2026-11-21T09:36:44,250", MOMENT + 0.25),
    ("2026-11-21T09:36:44.250000123", MOMENT + 0.25),
    ("2026-11-21T09:36", MINUTE),
    ("2026-11-21T09:36Z", MINUTE),
    ("20261121T093644", MOMENT),
    ("20261121T093644Z", MOMENT),
    ("2026-11-21", DAY),
    ("20261121", DAY),
    ("2026-W47-6", DAY),
    ("2026W476", DAY),
    ("2026-W47-6T09:36:44Z", MOMENT),
    ("2026-325", DAY),
    ("2026325T093644", MOMENT),
    ("2026-11", DAY - 20 * 86400),
    ("2026", dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()),
    ("2026-11-20T24:00:00Z", DAY),
    ("2026-11-20T24", DAY),
    ("9999-12-31T23:59:59+00:00", 253402300799.0),
]


@pytest.mark.parametrize(("text", "epoch"), FORMS)
def test_any_iso_form_is_read(text: str, epoch: float) -> None:
    assert parse_iso(text, dt.UTC) == pytest.approx(epoch, abs=1e-6)


def test_a_time_without_offset_is_read_in_the_zone_given() -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    assert parse_iso("2026-11-21T11:36:44", zone) == MOMENT
    assert parse_iso("2026-11-21T09:36:44Z", zone) == MOMENT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "12",
        "2026-13-01",
        "2026-366",
        "2026-000",
        "2026-11-20T24:01",
        "2026-11-21T25:00",
        "20261",
        "T09:36",
        "\ud800",
    ],
)
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_iso(text, dt.UTC)


def test_written_times_are_read_back() -> None:
    for epoch in (0.0, MOMENT, 1795254467.123456):
        assert parse_iso(iso(epoch), dt.UTC) == pytest.approx(epoch, abs=1e-6)


def test_moments_are_seconds_or_datetimes() -> None:
    assert epoch_of(5, dt.UTC) == 5.0
    assert epoch_of(dt.datetime(2026, 11, 21, 9, 36, 44), dt.UTC) == MOMENT
