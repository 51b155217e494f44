"""Beat: sends periodic tasks when they fall due, from any number of schedulers.

Exports what schedulers of others subclass and what runs them. ``docs/internals/beat.md`` says how it works.
"""

from talo.beat.entries import BeatLazyFunc, ScheduleEntry
from talo.beat.persistent import PersistentScheduler
from talo.beat.scheduler import DEFAULT_MAX_INTERVAL, Scheduler, SchedulingError
from talo.beat.service import EmbeddedService, Service
from talo.beat.stored import StoreScheduler

__all__ = [
    "DEFAULT_MAX_INTERVAL",
    "BeatLazyFunc",
    "EmbeddedService",
    "PersistentScheduler",
    "ScheduleEntry",
    "Scheduler",
    "SchedulingError",
    "Service",
    "StoreScheduler",
]
