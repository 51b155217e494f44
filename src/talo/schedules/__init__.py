"""When periodic tasks run: pure arithmetic over time zones; time is an argument.

Exports the schedules and their protocol; ``beat`` runs them.
"""

from talo.schedules._cron import ParseException, crontab_parser
from talo.schedules.base import BaseSchedule, schedstate
from talo.schedules.bounded import between
from talo.schedules.clocked import clocked
from talo.schedules.crontab import crontab
from talo.schedules.interval import maybe_schedule, schedule
from talo.schedules.recurrence import rrule
from talo.schedules.solar import solar

__all__ = [
    "BaseSchedule",
    "ParseException",
    "between",
    "clocked",
    "crontab",
    "crontab_parser",
    "maybe_schedule",
    "rrule",
    "schedstate",
    "schedule",
    "solar",
]
