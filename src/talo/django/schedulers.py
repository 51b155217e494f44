"""The scheduler that reads the tables of django-celery-beat in place.

Owns bringing rows to the store as plans, and back what became of them; ticks are claimed in the store as
``beat.stored`` does it, so any number of beats may run. What a row means is ``celery_beat``'s. Chosen by
``beat_scheduler``; ``docs/internals/django.md`` says how rows and plans are kept together.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from typing import Any

import msgspec
from django.db import Error, connections

from talo.beat.fate import latest
from talo.beat.jobs import Job
from talo.beat.stored import StoreScheduler
from talo.django import _foreign, celery_beat
from talo.errors import ImproperlyConfigured, OperationalError
from talo.schedules.bounded import innermost
from talo.schedules.clocked import clocked
from talo.stores.schedules import Plan

__all__ = ["DatabaseScheduler"]

log = logging.getLogger("talo.django")

#: Whole tables are read so seldom that it takes at most this part of the time; an edit that the package knows of is
#: seen at the next look all the same.
_SHARE = 0.05
#: A database's times may be cut to the millisecond.
_SAME = 0.002

_replace = msgspec.structs.replace


class DatabaseScheduler(StoreScheduler):
    """Runs the rows of django-celery-beat, and the entries of ``beat_schedule`` beside them.

    An entry of the configuration counts more than a row of its name, of which it takes only whether it is enabled.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._rows: dict[str, celery_beat.Row] | None = None
        self._marker: Any = None
        self._next_read = 0.0
        self._refused: dict[str, str] = {}
        self._fault = ""
        super().__init__(*args, **kwargs)

    # -- from the tables

    def setup_schedule(self) -> None:
        """Find the tables; the configuration's own entries are read once."""
        super().setup_schedule()
        self._coded = dict(self._configured)
        self._alias = celery_beat.tables_alias()
        try:
            there = _foreign.has_table(self._alias, celery_beat.TASKS)
        except Error:
            # The database is away: the first look tells.
            there = True
        if not there:
            raise ImproperlyConfigured(
                f"database {self._alias!r} has no tables of django-celery-beat: migrate it, or choose another "
                "beat_scheduler"
            )

    def _look(self) -> None:
        super()._look()
        try:
            if self._read():
                self._take()
            self._write_back()
        except Error as exc:
            self._lost(exc)
        else:
            self._fault = ""

    def _read(self) -> bool:
        """Read the rows if it is time, or the package says that there was an edit; return whether they were read."""
        began = time.monotonic()
        marker = celery_beat.mark(self._alias)
        if self._rows is not None and began < self._next_read and marker == self._marker:
            return False
        before, self._rows = self._rows, celery_beat.read(self._alias, self.app)
        self._marker = marker
        ended = time.monotonic()
        self._next_read = ended + (ended - began) / _SHARE
        return self._rows != before

    def _take(self) -> None:
        assert self._rows is not None
        jobs: dict[str, Job] = {}
        refused: dict[str, str] = {}
        for name, row in self._rows.items():
            if name in self._coded:
                coded = self._coded[name]
                jobs[name] = Job(name, coded.definition, coded.schedule, (coded.args, coded.kwargs, coded.options),
                                 row.enabled)  # fmt: skip
                continue
            made = celery_beat.job(self.app, name, row)
            if isinstance(made, str):
                refused[name] = made
                if self._refused.get(name) != made:
                    log.error("The periodic task %r is left out: %s", name, made)
            else:
                jobs[name] = made
        self._refused = refused
        now = {name: self._mark(job) for name, job in self._configured.items()}
        self._configured.clear()
        self._configured.update({**self._coded, **jobs})
        # Only who sees an edit brings it: one who still has the rows of before must not take it back.
        if now != {name: self._mark(job) for name, job in self._configured.items()}:
            self._joined = False

    def _lost(self, exc: Error) -> None:
        """The tables cannot be read: go on with what is known."""
        connections[self._alias].close()
        if self._rows is None:
            # Nothing is known yet, and an empty schedule would delete every plan.
            raise OperationalError(f"the tables of django-celery-beat cannot be read: {exc}") from exc
        if str(exc) != self._fault:
            self._fault = str(exc)
            log.warning("The tables of django-celery-beat cannot be read; what was read before counts: %s", exc)

    # -- to the store

    def _mark(self, job: Job) -> str:
        return f"{super()._mark(job)}{'' if job.enabled else ' off'}"

    def _continued(self, new: Plan, job: Job) -> Plan:
        row = (self._rows or {}).get(new.name)
        if row is None:
            return new
        if row.last_run is None:
            # A one-off whose time passed while no beat ran is still to be sent.
            return _replace(new, since=0.0) if isinstance(innermost(job.schedule), clocked) else new
        last = row.last_run.timestamp()
        return _replace(new, last_due=last, last_run=last, total=row.total)

    def _edited(self, plan: Plan, changed: Plan, job: Job, now: float) -> Plan:
        if job.enabled and not plan.enabled and (last := latest(job, changed, now)) is not None:
            # What was due while it was off is no missed run.
            changed = _replace(changed, last_due=last)
        return _replace(changed, enabled=job.enabled)

    # -- and back

    def _write_back(self) -> None:
        """Note in the rows what became of their plans, whoever decided it. A repeat changes nothing."""
        for name, row in (self._rows or {}).items():
            plan, job = self._book.plans.get(name), self._configured.get(name)
            if plan is None or job is None:
                continue
            if plan.last_run is not None and not _noted(row, plan):
                last_run = dt.datetime.fromtimestamp(plan.last_run, dt.UTC)
                celery_beat.note_run(self._alias, row, last_run, plan.total)
            if plan.enabled != row.enabled and plan.configured == self._mark(job):
                # Paused by hand, or done for good. The row's own edits are brought to the plan first.
                celery_beat.note_enabled(self._alias, row, plan.enabled)
                self._next_read = 0.0

    def close(self) -> None:
        """At the end: the connection is this thread's own."""
        super().close()
        connections[self._alias].close()

    @property
    def info(self) -> str:
        return f"{super().info}\n    . rows -> {celery_beat.TASKS} in {self._alias!r}"


def _noted(row: celery_beat.Row, plan: Plan) -> bool:
    assert plan.last_run is not None
    return row.last_run is not None and plan.last_run - row.last_run.timestamp() < _SAME
