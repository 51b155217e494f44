"""Schedules in plain language."""

from __future__ import annotations

import pytest

from talo.schedules import crontab
from talo.schedules.interval import schedule
from talo.schedules.words import in_words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("0 * * * *", "every hour"),
        ("15,45 * * * *", "every hour at :15 and :45"),
        ("0 */6 * * *", "every 6 hours"),
        ("30 */6 * * *", "every 6 hours at :30"),
        ("30 2 * * 1-5", "at 02:30 on weekdays"),
        ("0 9 * * 6,0", "at 09:00 on weekends"),
        ("0 9,17 * * 1", "at 09:00 and 17:00 on Monday"),
        ("0 0 1 * *", "at 00:00 on the 1st"),
        ("0 0 1,15 1 *", "at 00:00 on the 1st and 15th in January"),
        ("0 0 13 * 5", "at 00:00 on Friday and on the 13th"),
        ("*/10 9-17 * * *", "every 10 minutes from 09:00 to 17:59"),
        ("* 3 * * *", "every minute from 03:00 to 03:59"),
        ("5 1,2,3,7,9 * * *", "at :05 in the hours 01, 02, 03, 07 and 09"),
        ("0 0 22 * *", "at 00:00 on the 22nd"),
    ],
)
def test_cron_lines(line: str, words: str) -> None:
    assert in_words(crontab.from_string(line)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "every second"),
        (30, "every 30 seconds"),
        (60, "every minute"),
        (7200, "every 2 hours"),
        (86400, "every day"),
    ],
)
def test_intervals(seconds: float, words: str) -> None:
    assert in_words(schedule(seconds)) == words
