"""The tables of django-celery-beat: its periodic tasks as entries of a schedule.

Owns what a row means; it needs the tables, not the package. Called by ``schedulers``, which keeps them in place, and by
``manage.py talo_import beat``, which copies them once.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec

from talo.beat.jobs import Job, job_of
from talo.django import _foreign
from talo.errors import TaloError
from talo.schedules import BaseSchedule, ParseException, between, clocked, crontab, schedule, solar

__all__ = ["MARKER", "TASKS", "Row", "job", "mark", "note_enabled", "note_run", "read", "tables_alias"]

TASKS, MARKER = "django_celery_beat_periodictask", "django_celery_beat_periodictasks"
_KINDS = ("interval", "crontab", "solar", "clocked")


class Row(msgspec.Struct):
    """What a row holds beside the definition of its task. Moments are aware."""

    key: int
    enabled: bool
    last_run: dt.datetime | None
    total: int
    #: As an entry of ``beat_schedule``, or why it makes none.
    entry: dict[str, Any] | str


def tables_alias() -> str:
    """The alias of the database with the tables. The one that is written to: a replica is behind."""
    return _foreign.alias_of("django_celery_beat", "PeriodicTask", write=True)


def mark(alias: str) -> Any:
    """What the package changes with every edit; None if it never did."""
    return next((row["last_update"] for row in _foreign.rows(alias, MARKER)), None)


def read(alias: str, app: Any) -> dict[str, Row]:
    """The rows by the names of their periodic tasks."""
    schedules = {
        kind: {row["id"]: row for row in _foreign.rows(alias, f"django_celery_beat_{kind}schedule")} for kind in _KINDS
    }
    found = {}
    for row in _foreign.rows(alias, TASKS):
        entry: dict[str, Any] | str
        try:
            entry = _entry(alias, row, _schedule(alias, row, schedules, app))
        except (ValueError, KeyError, TypeError, ParseException) as exc:
            entry = str(exc)
        found[row["name"]] = Row(
            row["id"],
            bool(row["enabled"]),
            _foreign.moment(alias, row["last_run_at"]),
            row["total_run_count"],
            entry,
        )
    return found


def job(app: Any, name: str, row: Row) -> Job | str:
    """The job of a row, or why it has none."""
    if isinstance(row.entry, str):
        return row.entry
    try:
        return job_of(app, name, {**row.entry, "enabled": row.enabled})
    except (TypeError, ValueError, KeyError, ParseException, TaloError) as exc:
        return str(exc)


def note_run(alias: str, row: Row, last_run: dt.datetime, total: int) -> None:
    """Write down a run, unless somebody else has noted another since the row was read."""
    new = {"last_run_at": last_run, "total_run_count": total}
    _foreign.update(alias, TASKS, row.key, new, {"total_run_count": row.total})
    row.last_run, row.total = last_run, total


def note_enabled(alias: str, row: Row, enabled: bool) -> None:
    """Switch a row on or off, unless somebody else has."""
    _foreign.update(alias, TASKS, row.key, {"enabled": enabled}, {"enabled": row.enabled})


def _schedule(alias: str, row: dict[str, Any], schedules: dict[str, dict[Any, Any]], app: Any) -> BaseSchedule:
    """The schedule of a periodic task. ``ValueError`` if it has none."""
    for kind in _KINDS:
        if (key := row[f"{kind}_id"]) is not None:
            found = _made(kind, alias, schedules[kind][key], app)
            break
    else:
        raise ValueError("it has no schedule")
    start, end = _foreign.moment(alias, row["start_time"]), _foreign.moment(alias, row["expires"])
    return between(found, start, end, app=app) if start or end else found


def _made(kind: str, alias: str, row: dict[str, Any], app: Any) -> BaseSchedule:
    if kind == "interval":
        return schedule(dt.timedelta(**{row["period"]: row["every"]}), app=app)
    if kind == "crontab":
        names = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
        return crontab(**{name: row[name] for name in names}, app=app, tz=str(row["timezone"] or "") or None)
    if kind == "solar":
        return solar(row["event"], float(row["latitude"]), float(row["longitude"]), app=app)
    at = _foreign.moment(alias, row["clocked_time"])
    assert at is not None
    return clocked(at, app=app)


def _entry(alias: str, row: dict[str, Any], when: BaseSchedule) -> dict[str, Any]:
    names = ("queue", "exchange", "routing_key", "priority")
    options = {name: row[name] for name in names if row[name] not in (None, "")}
    if headers := json.loads(row["headers"] or "{}"):
        options["headers"] = headers
    if end := _foreign.moment(alias, row["expires"]):
        # As a text, for a store keeps it as JSON.
        options["expires"] = end.isoformat()
    entry = {
        "task": row["task"],
        "schedule": when,
        "args": json.loads(row["args"] or "[]"),
        "kwargs": json.loads(row["kwargs"] or "{}"),
        "options": options,
        "one_off": bool(row["one_off"]),
    }
    if not end and row["expire_seconds"]:
        entry["expires"] = row["expire_seconds"]
    return entry
