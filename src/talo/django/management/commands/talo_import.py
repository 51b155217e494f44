"""``manage.py talo_import beat|results``: takes over what Celery's Django packages have left in their tables.

Owns reading ``django_celery_beat_*`` and ``django_celery_results_taskresult``, whether or not those packages are still
installed, and writing periodic tasks and results through the project's app. It changes nothing in the tables, and may
be run again: what is there already stays as it is.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connections
from django.utils import timezone

from talo.app.app import Talo
from talo.control.schedules import ScheduleControl, ScheduleError
from talo.errors import TaloError
from talo.schedules.base import BaseSchedule
from talo.schedules.clocked import clocked
from talo.schedules.crontab import crontab
from talo.schedules.interval import schedule
from talo.schedules.solar import solar
from talo.stores.base import ResultMeta
from talo.wire.results import encode_result

__all__ = ["Command"]

_BATCH = 500


class Command(BaseCommand):
    """Imports once; the source is left alone."""

    help = "Import the tables of django-celery-beat (beat) or django-celery-results (results)."

    def add_arguments(self, parser: CommandParser) -> None:
        """What, and from which database."""
        parser.add_argument("what", choices=("beat", "results"))
        parser.add_argument("--database", default="default", help="the alias that has the tables")

    def handle(self, *_args: Any, what: str = "", database: str = "default", **_options: Any) -> None:
        """One line per thing that could not be imported, and the number of those that were."""
        app: Talo = apps.get_app_config("talo_django").app
        try:
            done = (self._beat if what == "beat" else self._results)(app, database)
        except Error as exc:
            raise CommandError(f"database {database!r} has no such tables: {exc}") from exc
        except TaloError as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(f"imported: {done}")

    # -- periodic tasks

    def _beat(self, app: Talo, database: str) -> int:
        schedules = ScheduleControl(app)
        times = _Times(app, database)
        done = 0
        for row in _rows(database, "django_celery_beat_periodictask"):
            if row["task"] == "celery.backend_cleanup":
                continue  # stores clean up by themselves
            try:
                times.check(row)
                schedules.add(row["name"], row["task"], times.of(row), **_entry(row))
                if not row["enabled"]:
                    schedules.pause(row["name"])
                done += 1
            except (ScheduleError, ValueError, KeyError, TypeError) as exc:
                self.stderr.write(f"{row['name']}: {exc}")
        return done

    # -- results

    def _results(self, app: Talo, database: str) -> int:
        backend = app.backend
        expires = app.conf.result_expires
        expires = expires.total_seconds() if isinstance(expires, dt.timedelta) else expires
        done, batch = 0, []
        for row in _rows(database, "django_celery_results_taskresult"):
            try:
                payload = _document(row)
            except (ValueError, TaloError) as exc:
                self.stderr.write(f"{row['task_id']}: {exc}")
                continue
            batch.append(ResultMeta(task_id=row["task_id"], status=row["status"], payload=payload, expires=expires))
            if len(batch) >= _BATCH:
                done, batch = done + _stored(backend, batch), []
        return done + _stored(backend, batch)


def _stored(backend: Any, batch: list[ResultMeta]) -> int:
    """Store those that are not there; return how many."""
    there = backend.get([each.task_id for each in batch]) if batch else {}
    new = [each for each in batch if each.task_id not in there]
    if new:
        backend.store(new)
    return len(new)


def _rows(database: str, table: str) -> Iterator[dict[str, Any]]:
    """The rows of a table by column."""
    connection = connections[database]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
        names = [column[0] for column in cursor.description]
        while rows := cursor.fetchmany(_BATCH):
            for row in rows:
                yield dict(zip(names, row, strict=True))


def _document(row: dict[str, Any]) -> bytes:
    """The result in the form in which results are stored. ``ValueError`` for what is not JSON."""
    if row["content_type"] not in ("application/json", ""):
        raise ValueError(f"the result is kept as {row['content_type']}, which is not read")
    meta = json.loads(row["meta"] or "{}")
    done = row["date_done"]
    fields = {
        "name": row["task_name"],
        "args": row["task_args"],
        "kwargs": row["task_kwargs"],
        "worker": row["worker"],
    }
    return encode_result(
        row["task_id"],
        row["status"],
        json.loads(row["result"]) if row["result"] else None,
        traceback=row["traceback"],
        children=meta.get("children"),
        date_done=_aware(done).timestamp() if done else None,
        extended={name: value for name, value in fields.items() if value is not None},
    )


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    """The other keys of an entry."""
    names = ("queue", "exchange", "routing_key", "priority")
    options = {name: row[name] for name in names if row[name] is not None}
    if headers := json.loads(row["headers"] or "{}"):
        options["headers"] = headers
    if row["expires"]:
        options["expires"] = _aware(row["expires"])
    elif row["expire_seconds"]:
        options["expires"] = row["expire_seconds"]
    return {"args": json.loads(row["args"] or "[]"), "kwargs": json.loads(row["kwargs"] or "{}"), "options": options}


class _Times:
    """The schedules that rows refer to."""

    def __init__(self, app: Talo, database: str) -> None:
        self._app = app
        kinds = ("interval", "crontab", "solar", "clocked")
        self._rows = {
            kind: {row["id"]: row for row in _rows(database, f"django_celery_beat_{kind}schedule")} for kind in kinds
        }

    def of(self, row: dict[str, Any]) -> BaseSchedule:
        """The schedule of a periodic task. ``ValueError`` if it has none."""
        for kind, rows in self._rows.items():
            if (key := row[f"{kind}_id"]) is not None:
                made: BaseSchedule = getattr(self, f"_{kind}")(rows[key])
                return made
        raise ValueError("it has no schedule")

    @staticmethod
    def check(row: dict[str, Any]) -> None:
        """``ValueError`` for what would run more often, or earlier, as a schedule of Talo's."""
        if row["one_off"] and row["clocked_id"] is None:
            raise ValueError("it runs once (one_off): add it with 'talo schedule add', at its time")
        if row["start_time"] and _aware(row["start_time"]) > timezone.now():
            raise ValueError("its start_time is still to come: import it afterwards")

    def _interval(self, row: dict[str, Any]) -> BaseSchedule:
        return schedule(dt.timedelta(**{row["period"]: row["every"]}), app=self._app)

    def _crontab(self, row: dict[str, Any]) -> BaseSchedule:
        names = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
        return crontab(**{name: row[name] for name in names}, app=self._app, tz=row["timezone"] or None)

    def _solar(self, row: dict[str, Any]) -> BaseSchedule:
        return solar(row["event"], float(row["latitude"]), float(row["longitude"]), app=self._app)

    def _clocked(self, row: dict[str, Any]) -> BaseSchedule:
        return clocked(_aware(row["clocked_time"]), app=self._app)


def _aware(moment: Any) -> dt.datetime:
    """A moment of a table, which some databases give as text or without zone."""
    found = dt.datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found if timezone.is_aware(found) else found.replace(tzinfo=dt.UTC)
