"""``manage.py talo_import beat|results|q``: takes over what Celery's Django packages and Django Q left in their tables.

Owns writing their periodic tasks and results through the project's app; what their rows mean is ``celery_beat``'s and
``celery_results``'s; those of Django Q are ``q.importing``'s. It changes nothing in the tables of Celery's packages,
and may be run again: what is there already stays as it is.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from talo.app.app import Talo
from talo.control.schedules import ScheduleControl, ScheduleError
from talo.django import _foreign, celery_beat, celery_results
from talo.errors import TaloError
from talo.stores.base import ResultMeta

__all__ = ["Command"]

_BATCH = 500


class Command(BaseCommand):
    """Imports once."""

    help = "Import the tables of django-celery-beat (beat), django-celery-results (results) or Django Q (q)."

    def add_arguments(self, parser: CommandParser) -> None:
        """What, and from which database."""
        parser.add_argument("what", choices=("beat", "results", "q"))
        parser.add_argument("--database", default="default", help="the alias that has the tables")

    def handle(self, *_args: Any, what: str = "", database: str = "default", **_options: Any) -> None:
        """One line per thing that could not be imported, and the number of those that were."""
        app: Talo = apps.get_app_config("talo_django").app
        try:
            done = {"beat": self._beat, "results": self._results, "q": self._q}[what](app, database)
        except Error as exc:
            raise CommandError(f"database {database!r} has no such tables: {exc}") from exc
        except TaloError as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(f"imported: {done}")

    # -- periodic tasks

    def _beat(self, app: Talo, database: str) -> int:
        schedules = ScheduleControl(app)
        done = 0
        for name, row in celery_beat.read(database, app).items():
            try:
                if isinstance(row.entry, str):
                    raise ScheduleError(row.entry)
                if row.entry["task"] == "celery.backend_cleanup":
                    continue  # stores clean up by themselves
                schedules.add(name, **row.entry, enabled=row.enabled)
                done += 1
            except ScheduleError as exc:
                self.stderr.write(f"{name}: {exc}")
        return done

    # -- results

    def _results(self, app: Talo, database: str) -> int:
        backend = app.backend
        expires = app.conf.result_expires
        expires = expires.total_seconds() if isinstance(expires, dt.timedelta) else expires
        done, batch = 0, []
        for row in _foreign.rows(database, celery_results.RESULTS):
            try:
                payload = celery_results.document(database, row)
            except (ValueError, TaloError) as exc:
                self.stderr.write(f"{row['task_id']}: {exc}")
                continue
            batch.append(ResultMeta(task_id=row["task_id"], status=row["status"], payload=payload, expires=expires))
            if len(batch) >= _BATCH:
                done, batch = done + _stored(backend, batch), []
        return done + _stored(backend, batch)

    # -- Django Q

    def _q(self, _app: Talo, database: str) -> int:
        if not apps.is_installed("talo.django.q"):
            raise CommandError("Django Q's tables become those of 'talo.django.q': add it to INSTALLED_APPS")
        from talo.django.q.importing import import_all

        return import_all(database, lambda refusal: self.stderr.write(": ".join(refusal)))


def _stored(backend: Any, batch: list[ResultMeta]) -> int:
    """Store those that are not there; return how many."""
    there = backend.get([each.task_id for each in batch]) if batch else {}
    new = [each for each in batch if each.task_id not in there]
    if new:
        backend.store(new)
    return len(new)
