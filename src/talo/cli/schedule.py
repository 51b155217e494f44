"""``talo schedule``: the periodic tasks, and what to do with them.

Owns options and layout; the work is ``control.schedules``'s, which the dashboard calls too. Called by ``cli.main``."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import click

from talo.cli._commands import TaloCommand
from talo.cli._errors import Refused
from talo.cli._output import print_json, print_table
from talo.cli._params import JSON_ARRAY, JSON_OBJECT
from talo.cli._session import Session
from talo.control.schedules import Periodic, ScheduleControl

__all__ = ["schedule"]

_JSON = click.option("-j", "--json", "as_json", is_flag=True, help="As JSON.")
_NAME = click.argument("name")
_NAMES = click.argument("names", nargs=-1, required=True, metavar="NAME...")
_SECONDS = click.FloatRange(min=0)


def _entry_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The keys of an entry as options."""
    options = (
        click.option("--args", type=JSON_ARRAY, help="Positional arguments of the task."),
        click.option("--kwargs", type=JSON_OBJECT, help="Keyword arguments of the task."),
        click.option("--options", type=JSON_OBJECT, help="Options of apply_async."),
        click.option("--queue", metavar="NAME", help="The queue, if not the task's own."),
        click.option("--timezone", metavar="ZONE", help="The zone in which the schedule counts."),
        click.option("--misfire", type=click.Choice(["once", "skip", "all"]), help="What becomes of missed runs."),
        click.option("--window", type=_SECONDS, metavar="SECONDS", help="--misfire all: make up so much."),
        click.option("--grace", type=_SECONDS, metavar="SECONDS", help="--misfire skip: so late is not missed."),
        click.option("--overlap", type=click.Choice(["allow", "skip"]), help="skip: no run while one is going on."),
        click.option("--max-instances", type=click.IntRange(min=1), help="So many runs may go on at a time."),
        click.option("--jitter", type=_SECONDS, metavar="SECONDS", help="Spread runs over so many seconds."),
        click.option("--expires", type=_SECONDS, metavar="SECONDS", help="Drop a run not started so long after."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def schedule() -> None:
    """List, add, edit, pause, resume, run and remove periodic tasks.

    A change acts on every running beat within two seconds. Entries of the configuration are listed once a beat has
    run.
    """


@schedule.command("list", cls=TaloCommand)
@_JSON
@click.pass_obj
def list_(session: Session, /, as_json: bool) -> None:
    """List periodic tasks by name."""
    with _control(session) as control:
        found = control.list()
    if as_json:
        print_json([_facts(each) for each in found])
        return
    rows = [
        (
            each.name,
            each.definition.task,
            each.definition.shown,
            each.source,
            "on" if each.enabled else "off",
            _when(each.last_run),
            _when(each.next_run),
            each.total,
        )
        for each in found
    ]
    print_table(session, ("name", "task", "schedule", "source", "state", "last run", "next run", "runs"), rows)


@schedule.command(cls=TaloCommand)
@_NAME
@click.argument("task")
@click.argument("when", nargs=-1, required=True, metavar="SCHEDULE...")
@_entry_options
@click.option("--paused", is_flag=True, help="Do not send it yet.")
@click.pass_obj
def add(session: Session, /, name: str, task: str, when: tuple[str, ...], paused: bool, **fields: Any) -> None:
    """Add a periodic task.

    SCHEDULE is a cron line ('*/5 * * * *': minute hour day-of-month month day-of-week), 'every 30s' (s m h d w), 'at
    2030-01-01T09:00' (once), 'sunset LATITUDE LONGITUDE', or 'rrule FREQ=...'.
    """
    with _control(session) as control:
        added = control.add(name, task, " ".join(when), enabled=not paused, **_fields(fields))
    _tell(session, "Added", added)


@schedule.command(cls=TaloCommand)
@_NAME
@click.option("--task", metavar="NAME", help="The task.")
@click.option("--schedule", metavar="TEXT", help="As of add, in one argument.")
@_entry_options
@click.pass_obj
def edit(session: Session, /, name: str, **fields: Any) -> None:
    """Change a periodic task; what is not given stays.

    An edit of an entry of the configuration counts until the configuration itself is changed.
    """
    changed = _fields(fields)
    if not changed:
        raise Refused("say what to change")
    with _control(session) as control:
        edited = control.edit(name, **changed)
    _tell(session, "Edited", edited)


@schedule.command(cls=TaloCommand)
@_NAMES
@click.pass_obj
def pause(session: Session, names: tuple[str, ...]) -> None:
    """Stop sending periodic tasks."""
    with _control(session) as control:
        for name in names:
            _tell(session, "Paused", control.pause(name))


@schedule.command(cls=TaloCommand)
@_NAMES
@click.pass_obj
def resume(session: Session, names: tuple[str, ...]) -> None:
    """Send periodic tasks again; what was due meanwhile is not made up."""
    with _control(session) as control:
        for name in names:
            _tell(session, "Resumed", control.resume(name))


@schedule.command("run-now", cls=TaloCommand)
@_NAMES
@click.pass_obj
def run_now(session: Session, names: tuple[str, ...]) -> None:
    """Send tasks now, once, and print their ids."""
    with _control(session) as control:
        for name in names:
            click.echo(control.run_now(name))


@schedule.command(cls=TaloCommand)
@_NAMES
@click.pass_obj
def remove(session: Session, names: tuple[str, ...]) -> None:
    """Delete periodic tasks and their history."""
    with _control(session) as control:
        for name in names:
            control.remove(name)
            if not session.quiet:
                click.echo(f"Removed {name}.")


@schedule.command("next", cls=TaloCommand)
@_NAME
@click.argument("count", type=click.IntRange(1, 1000), default=10)
@_JSON
@click.pass_obj
def next_(session: Session, /, name: str, count: int, as_json: bool) -> None:
    """Print the next due times of a periodic task."""
    with _control(session) as control:
        times = control.next(name, count)
    if as_json:
        print_json(times)
    else:
        for time in times:
            click.echo(_when(time))


@schedule.command(cls=TaloCommand)
@_NAME
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@_JSON
@click.pass_obj
def history(session: Session, /, name: str, limit: int, as_json: bool) -> None:
    """Print what became of the last runs of a periodic task, latest first."""
    with _control(session) as control:
        runs = control.history(name, limit)
    if as_json:
        print_json([{field: getattr(run, field) for field in run.__struct_fields__} for run in runs])
        return
    rows = [(_when(run.due), run.fate, run.count, _when(run.until), _when(run.at), run.task_id) for run in runs]
    print_table(session, ("due", "fate", "runs", "until", "decided", "task id"), rows)


@contextlib.contextmanager
def _control(session: Session) -> Iterator[ScheduleControl]:
    with session.opened(required=True) as app:
        app.import_default_modules()
        app.finalize()
        yield ScheduleControl(app)


def _fields(fields: dict[str, Any]) -> dict[str, Any]:
    """The keys of an entry that were given."""
    return {name: value for name, value in fields.items() if value is not None}


def _tell(session: Session, what: str, periodic: Periodic) -> None:
    if not session.quiet:
        when = f"next run {_when(periodic.next_run)}" if periodic.next_run is not None else "no next run"
        click.echo(f"{what} {periodic.name}: {periodic.definition.task}, {periodic.definition.shown}; {when}.")


def _facts(periodic: Periodic) -> dict[str, Any]:
    definition, hidden = periodic.definition, ("local", "schedule", "shown")
    return {
        **{name: getattr(periodic, name) for name in periodic.__struct_fields__ if name != "definition"},
        **{name: getattr(definition, name) for name in definition.__struct_fields__ if name not in hidden},
        "schedule": definition.shown,
    }


def _when(epoch: float | None) -> str | None:
    return None if epoch is None else dt.datetime.fromtimestamp(epoch).astimezone().isoformat(" ", "seconds")
