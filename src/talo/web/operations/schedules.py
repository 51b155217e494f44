"""Periodic tasks: in plain language, with their next runs and their ledger; pausing, editing, running now.

Owns forms and words; the rules are ``control.schedules``'."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec

from talo.control.schedules import Periodic, ScheduleError
from talo.errors import NotSupported, TaloError
from talo.schedules.text import from_data, to_text
from talo.schedules.words import in_words
from talo.web.desk import Desk
from talo.web.operation import NotFound, Nothing, Unacceptable, acts, reads
from talo.web.user import Role

__all__ = [
    "schedule",
    "schedule_add",
    "schedule_edit",
    "schedule_pause",
    "schedule_remove",
    "schedule_resume",
    "schedule_run",
    "schedules",
]

#: Seconds after which a run that should have been is late.
_LATE = 30.0
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """The name of a periodic task."""

    name: _Name


class Edited(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be different; what is empty stays. ``schedule`` is a line (``*/5 * * * *``, ``every 30s``), ``args``
    and ``kwargs`` are JSON texts."""

    name: _Name
    schedule: str | None = None
    args: str | None = None
    kwargs: str | None = None
    queue: str | None = None
    timezone: str | None = None


class Added(Edited, kw_only=True, forbid_unknown_fields=True):
    """A new periodic task."""

    task: _Name


@reads("/schedules", Nothing)
def schedules(desk: Desk, _: Nothing) -> dict[str, Any]:
    """Every periodic task: what, when, when next."""
    try:
        found = desk.schedules.list()
    except NotSupported as error:
        return {"schedules": [], "kept": False, "why": str(error)}
    return {"schedules": [_facts(desk, each) for each in found], "kept": True, "why": None}


@reads("/schedule", Named)
def schedule(desk: Desk, asked: Named) -> dict[str, Any]:
    """One periodic task, its next runs and what became of the last."""
    control = desk.schedules
    try:
        found = control.get(asked.name)
        coming = list(control.next(asked.name, 10))
        ledger = control.history(asked.name, 50)
    except ScheduleError as error:
        raise NotFound(str(error)) from error
    return {**_facts(desk, found), "next": coming, "ledger": [_run(each) for each in ledger]}


def _run(run: Any) -> dict[str, Any]:
    return {name: getattr(run, name) for name in ("due", "fate", "at", "task_id", "count", "until")}


def _facts(desk: Desk, each: Periodic) -> dict[str, Any]:
    definition = each.definition
    now = time.time()
    return {
        "name": each.name,
        "task": definition.task,
        "shown": definition.shown,
        "words": _words(desk, definition.schedule, definition.shown),
        "timezone": (definition.schedule or {}).get("tz") or str(desk.app.timezone),
        "line": to_text(definition.schedule),
        "args": definition.args,
        "kwargs": definition.kwargs,
        "queue": definition.options.get("queue"),
        "policy": {
            "misfire": definition.misfire,
            "overlap": definition.overlap,
            "jitter": definition.jitter,
            "expires": definition.expires,
        },
        "source": each.source,
        "enabled": each.enabled,
        "last_run": each.last_run,
        "next_run": each.next_run,
        "late": each.next_run is not None and each.next_run < now - _LATE,
        "total": each.total,
        "editable": not definition.local,
    }


def _words(desk: Desk, data: dict[str, Any] | None, shown: str) -> str:
    if data is None:
        return shown
    try:
        return in_words(from_data(data, desk.app))
    except (ValueError, KeyError, TypeError, TaloError):
        # Somebody else's, or of a version to come: its own words have to do.
        return shown


@acts("/schedules/run", Named)
def schedule_run(desk: Desk, asked: Named) -> dict[str, Any]:
    """Send a periodic task once, now."""
    task_id = _done(lambda: desk.schedules.run_now(asked.name))
    return {"text": f"{asked.name} is sent as {task_id}.", "task_id": task_id}


@acts("/schedules/pause", Named)
def schedule_pause(desk: Desk, asked: Named) -> dict[str, Any]:
    """Send a periodic task no more until it is resumed."""
    _done(lambda: desk.schedules.pause(asked.name))
    return {"text": f"{asked.name} is paused."}


@acts("/schedules/resume", Named)
def schedule_resume(desk: Desk, asked: Named) -> dict[str, Any]:
    """Send a periodic task again, from its next due time on."""
    _done(lambda: desk.schedules.resume(asked.name))
    return {"text": f"{asked.name} is resumed."}


@acts("/schedules/edit", Edited, Role.ADMIN, hidden=("args", "kwargs"))
def schedule_edit(desk: Desk, asked: Edited) -> dict[str, Any]:
    """Change when or with what a periodic task runs."""
    fields = _fields(asked)
    if not fields:
        raise Unacceptable("say what is to be different")
    changed = _done(lambda: desk.schedules.edit(asked.name, **fields))
    return {"text": f"{asked.name} is changed.", **_facts(desk, changed)}


@acts("/schedules/add", Added, Role.ADMIN, hidden=("args", "kwargs"))
def schedule_add(desk: Desk, asked: Added) -> dict[str, Any]:
    """Add a periodic task."""
    fields = _fields(asked)
    line = fields.pop("schedule", None)
    if line is None:
        raise Unacceptable("say when: a cron line, or every 30s")
    added = _done(lambda: desk.schedules.add(asked.name, asked.task, line, **fields))
    return {"text": f"{asked.name} is added.", **_facts(desk, added)}


@acts("/schedules/remove", Named, Role.ADMIN)
def schedule_remove(desk: Desk, asked: Named) -> dict[str, Any]:
    """Delete a periodic task and its ledger."""
    _done(lambda: desk.schedules.remove(asked.name))
    return {"text": f"{asked.name} is removed."}


def _fields(asked: Edited) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: value for name in ("schedule", "queue", "timezone") if (value := (getattr(asked, name) or "").strip())
    }
    for name, kind in (("args", list), ("kwargs", dict)):
        text = getattr(asked, name)
        if text and text.strip():
            try:
                fields[name] = msgspec.json.decode(text, type=kind)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                word = "list" if kind is list else "object"
                raise Unacceptable(f"{name} is a JSON {word}: {error}") from error
    return fields


def _done(change: Any) -> Any:
    try:
        return change()
    except ScheduleError as error:
        raise Unacceptable(str(error)) from error
