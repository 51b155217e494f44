"""The classic scheduler: the protocol that third-party schedulers subclass.

Owns the heap of entries and one pass over it (``tick``); it keeps last runs in memory, so a subclass keeps them
elsewhere (``persistent``, Django's database). One such scheduler may run at a time; ``stored`` has no such limit.
Called by ``service``.
"""

from __future__ import annotations

import copy
import heapq
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from talo import signals
from talo.beat.entries import ScheduleEntry, evaluated
from talo.beat.jobs import POLICIES, schedule_of
from talo.errors import OperationalError, TaloError
from talo.schedules._cron import ParseException
from talo.schedules.base import schedstate

__all__ = ["DEFAULT_MAX_INTERVAL", "Scheduler", "SchedulingError", "event_t"]

#: Seconds that a scheduler sleeps at most.
DEFAULT_MAX_INTERVAL = 300
#: Header of messages that a scheduler sent, as Celery has it.
HEADER = "celery_beat_task"
#: Seconds until an entry that cannot say when it is due is asked again.
_AGAIN = 60.0

log = logging.getLogger("talo.beat")


class SchedulingError(TaloError):
    """A periodic task could not be sent."""


class event_t(NamedTuple):
    """A place in the heap: when to look at the entry (epoch seconds), a number for ties, the entry."""

    time: float
    priority: int
    entry: Any


class Scheduler:
    """Sends what is due, pass by pass. Subclasses change where entries come from (``setup_schedule``, ``schedule``),
    how last runs are kept (``reserve``, ``sync``) or how tasks are sent (``apply_entry``, ``apply_async``)."""

    Entry: Any = ScheduleEntry
    max_interval: float = DEFAULT_MAX_INTERVAL
    #: Seconds between two calls of ``sync``.
    sync_every: float = 3 * 60
    #: Call ``sync`` after so many tasks; None: by time only.
    sync_every_tasks: int | None = None
    logger = log

    _last_sync: float | None = None
    _tasks_since_sync = 0

    def __init__(
        self,
        app: Any,
        schedule: Any = None,
        max_interval: float | None = None,
        Producer: Any = None,
        lazy: bool = False,
        sync_every_tasks: int | None = None,
        **kwargs: Any,
    ) -> None:
        del kwargs  # what the service knows and a scheduler may ask for by name
        self.app = app
        self.data: Any = {} if schedule is None else schedule
        self.max_interval = max_interval or app.conf.beat_max_loop_interval or self.max_interval
        self.Producer = Producer
        self._heap: list[Any] | None = None
        self.old_schedulers: Any = None
        self.sync_every_tasks = app.conf.beat_sync_every if sync_every_tasks is None else sync_every_tasks
        if not lazy:
            self.setup_schedule()

    # -- the entries

    def setup_schedule(self) -> None:
        """Fill the schedule; called once, before the first pass."""
        self.install_default_entries(self.data)
        self.merge_inplace(self.app.conf.beat_schedule)

    def install_default_entries(self, data: Any) -> None:
        """Add entries that every app has. Talo has none: its stores delete what has expired by themselves."""

    def update_from_dict(self, dict_: Mapping[str, Any]) -> None:
        """Add or replace entries."""
        self.schedule.update(self._entries(dict_))

    def merge_inplace(self, b: Mapping[str, Any]) -> None:
        """Make the schedule that of ``b``; entries that stay keep their last run."""
        schedule = self.schedule
        wanted = self._entries(b)
        for name in set(schedule) - set(wanted):
            schedule.pop(name, None)
        for name, entry in wanted.items():
            if schedule.get(name) is not None:
                schedule[name].update(entry)
            else:
                schedule[name] = entry

    def _entries(self, entries: Mapping[str, Any]) -> dict[str, Any]:
        """Those entries that make sense; each of the others is a line in the log."""
        found = {}
        for name, entry in entries.items():
            try:
                found[name] = self._maybe_entry(name, entry)
                _check(found[name])
            except (TypeError, ValueError, AttributeError, ParseException, TaloError) as error:
                found.pop(name, None)
                log.error("The periodic task %r is left out: %s", name, error)
        return found

    def _maybe_entry(self, name: str, entry: Any) -> Any:
        if isinstance(entry, self.Entry):
            entry.app = self.app
            return entry
        needs = sorted(POLICIES & set(entry))
        if needs:
            raise ValueError(f"{', '.join(needs)} needs a store that keeps schedules")
        fields = {"name": name, **entry}
        if "timezone" in fields or isinstance(fields.get("schedule"), str):
            fields["schedule"] = schedule_of(self.app, fields)
            fields.pop("timezone", None)
        return self.Entry(**fields, app=self.app)

    def add(self, **kwargs: Any) -> Any:
        """Add an entry of these fields; return it."""
        entry = self.Entry(app=self.app, **kwargs)
        self.schedule[entry.name] = entry
        return entry

    def get_schedule(self) -> Any:
        """The entries by name."""
        return self.data

    def set_schedule(self, schedule: Any) -> None:
        """Replace the entries."""
        self.data = schedule

    schedule = property(lambda self: self.get_schedule(), lambda self, value: self.set_schedule(value))

    @property
    def info(self) -> str:
        """A word about where the schedule is kept."""
        return ""

    # -- one pass

    def tick(
        self, event_t: Any = event_t, min: Any = min, heappop: Any = heapq.heappop, heappush: Any = heapq.heappush
    ) -> float:
        """Send the next entry if it is due; return in how many seconds to call again."""
        schedule = self.schedule
        if self._heap is None or not self.schedules_equal(self.old_schedulers, schedule):
            self.old_schedulers = copy.copy(schedule)
            self.populate_heap()
        heap: Any = self._heap
        if not heap:
            return self.max_interval
        event = heap[0]
        entry = event[2]
        due, rest = self.is_due(entry)
        if not due:
            return min(self.adjust(rest), self.max_interval) if _is_number(rest) else self.max_interval
        heappop(heap)
        following = self.reserve(entry)
        self.apply_entry(entry, producer=self.producer)
        heappush(heap, event_t(self._when(following, rest), event[1], following))
        return 0.0

    def populate_heap(self, event_t: Any = event_t, heapify: Any = heapq.heapify) -> None:
        """Order all entries by when they have to be looked at."""
        heap = []
        for entry in self.schedule.values():
            state = self.is_due(entry)
            heap.append(event_t(self._when(entry, 0 if state[0] else state[1]), 5, entry))
        heapify(heap)
        self._heap = heap

    def schedules_equal(self, old_schedules: Any, new_schedules: Any) -> bool:
        """Whether two schedules have the same entries."""
        if old_schedules is None or new_schedules is None:
            return old_schedules is new_schedules
        if old_schedules.keys() != new_schedules.keys():
            return False
        # Most of them are the very same object, and there may be many.
        return all((new := new_schedules[name]) is entry or new == entry for name, entry in old_schedules.items())

    def is_due(self, entry: Any) -> Any:
        """(whether the entry is due, seconds until the next look). An entry that cannot say is passed over."""
        try:
            return entry.is_due()
        except Exception as error:  # noqa: BLE001  one entry's trouble must not stop the others
            return self._is_due_failed(entry, error)

    def _is_due_failed(self, entry: Any, error: Exception | None = None) -> schedstate:
        log.error("The periodic task %r cannot say when it is due: %r", getattr(entry, "name", entry), error)
        return schedstate(False, _AGAIN)

    def _when(self, entry: Any, next_time_to_run: Any, mktime: Any = None) -> float:
        del entry, mktime
        return time.time() + (self.adjust(next_time_to_run) if _is_number(next_time_to_run) else self.max_interval)

    def adjust(self, n: float, drift: float = -0.010) -> float:
        """Seconds to sleep for ``n`` seconds, a little less."""
        return n + drift if n and n > 0 else n

    def reserve(self, entry: Any) -> Any:
        """Note that the entry runs now; return the entry after this run."""
        following = self.schedule[entry.name] = next(entry)
        return following

    # -- sending

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send the entry's task; what goes wrong is logged. While the broker is away (``OperationalError``) the entry
        stays due."""
        log.info("Scheduler: Sending due task %s (%s)", entry.name, entry.task)
        try:
            result = self.apply_async(entry, producer=producer, advance=False)
        except OperationalError:
            self.schedule[entry.name] = entry
            self._heap = None
            raise
        except Exception as error:  # noqa: BLE001  one entry's trouble must not stop the others
            log.error("The periodic task %r was not sent: %s", entry.name, error)
        else:
            log.debug("%s sent. id-> %s", entry.task, getattr(result, "id", None))

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send the entry's task; return its result. ``SchedulingError`` if it cannot be sent."""
        del producer
        entry = self.reserve(entry) if advance else entry
        task = self.app.tasks.get(entry.task)
        try:
            args, keywords = evaluated(entry.args, entry.kwargs)
            options = {**(entry.options or {}), **kwargs}
            options["headers"] = self.headers_of(entry, options)
            if task is not None:
                return task.apply_async(args, keywords, **options)
            return self.send_task(entry.task, args, keywords, **options)
        except OperationalError:
            raise
        except Exception as error:
            raise SchedulingError(f"{entry.name}: {error}").with_traceback(sys.exc_info()[2]) from error
        finally:
            self._tasks_since_sync += 1
            if self.should_sync():
                self._do_sync()

    def headers_of(self, entry: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """The headers of one run of an entry that is sent with these options, as receivers of
        ``periodic_task_prepared`` want them."""
        headers = {**(options.get("headers") or {}), HEADER: True}
        if signals.periodic_task_prepared.receivers:
            signals.periodic_task_prepared.send(sender=self, entry=entry, headers=headers)
        return headers

    def send_task(self, *args: Any, **kwargs: Any) -> Any:
        """Send by name."""
        return self.app.send_task(*args, **kwargs)

    @property
    def producer(self) -> None:
        """Celery's; Talo needs none."""

    @property
    def connection(self) -> None:
        """Celery's; Talo needs none."""

    # -- keeping

    def should_sync(self) -> bool:
        """Whether it is time to call ``sync``."""
        due = self._last_sync is None or time.monotonic() - self._last_sync > self.sync_every
        return due or bool(self.sync_every_tasks and self._tasks_since_sync >= self.sync_every_tasks)

    def _do_sync(self) -> None:
        try:
            log.debug("beat: Synchronizing schedule...")
            self.sync()
        finally:
            self._last_sync = time.monotonic()
            self._tasks_since_sync = 0

    def sync(self) -> None:
        """Keep the last runs somewhere; nothing here."""

    def close(self) -> None:
        """Called at the end."""
        self.sync()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value != float("inf")


def _check(entry: Any) -> None:
    if type(entry) is ScheduleEntry and not hasattr(entry.schedule, "is_due"):
        raise TypeError(f"its schedule is a crontab, a number of seconds or a timedelta, not {entry.schedule!r}")
    if type(entry) is ScheduleEntry and not isinstance(entry.task, str):
        raise TypeError(f"its task is the name of one, not {entry.task!r}")
