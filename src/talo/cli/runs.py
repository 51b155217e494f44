"""``talo runs``, ``run``, ``forget`` and ``waiting``: what ended, one task's story, and what is still to come.

Owns options and layout; the work is ``control.history``'s. Called by ``cli.main``."""

from __future__ import annotations

import datetime as dt
from typing import Any

import click

from talo.cli._commands import TaloCommand
from talo.cli._errors import Failed
from talo.cli._output import print_json, print_table
from talo.cli._params import PAST
from talo.cli._session import Session
from talo.control.history import found, history_of, story_of
from talo.stores.history import RunQuery, RunRecord
from talo.util.text import count, shorten
from talo.wire.message import Message
from talo.wire.sent import ready_since

__all__ = ["forget", "run", "runs", "waiting"]

_JSON = click.option("-j", "--json", "as_json", is_flag=True, help="As JSON.")


@click.command(cls=TaloCommand)
@click.option("--task", "name", metavar="NAME", help="Of this task.")
@click.option("--queue", metavar="NAME", help="Of this queue.")
@click.option("--worker", metavar="NAME", help="Of this worker.")
@click.option("--state", "states", multiple=True, metavar="STATE", help="In this state; may be given several times.")
@click.option("--error", "text", metavar="TEXT", help="With this in the error's text.")
@click.option("--argument", metavar="TEXT", help="With this in the arguments, as talo run shows them.")
@click.option("--kind", "fingerprint", metavar="KIND", help="Failures of this kind (see talo failures).")
@click.option("--root", metavar="ID", help="Of the workflow that this task began.")
@click.option("--since", type=PAST, metavar="TIME", help="Ended at this time or later.")
@click.option("--until", type=PAST, metavar="TIME", help="Ended before this time.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--cursor", metavar="CURSOR", help="Go on where a list ended (--json tells).")
@click.option("--count", "counted", is_flag=True, help="Only count them, by state.")
@_JSON
@click.pass_obj
def runs(session: Session, /, limit: int, cursor: str | None, counted: bool, as_json: bool, **asked: Any) -> None:
    """List runs that have ended, latest first.

    Each attempt is a run. TIME is a time (2026-01-31 12:00) or an age (90s, 15m, 2h, 7d).
    """
    query = RunQuery(**{**asked, "states": tuple(state.upper() for state in asked["states"])})
    with session.opened() as app:
        history = history_of(app)
        if counted:
            sums = history.count(query)
            if as_json:
                print_json(sums)
            else:
                print_table(session, ("state", "runs"), sorted(sums.items()))
            return
        page = found(history, query, limit, cursor)
    if as_json:
        print_json({"runs": [facts(run) for run in page.runs], "cursor": page.cursor})
        return
    rows = [
        (
            when(run.ended),
            run.state,
            run.name,
            run.id,
            run.attempt,
            run.queue,
            run.worker,
            _seconds(run.seconds),
            shorten(" ".join((run.error or "").split()), 60),
        )
        for run in page.runs
    ]
    print_table(session, ("ended", "state", "task", "id", "attempt", "queue", "worker", "seconds", "error"), rows)


@click.command(cls=TaloCommand)
@click.option("--task", "name", metavar="NAME", help="Of this task.")
@click.option("--queue", metavar="NAME", help="Of this queue.")
@click.option("--state", "states", multiple=True, metavar="STATE", help="In this state; may be given several times.")
@click.option("--until", type=PAST, metavar="TIME", help="Ended before this time.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_obj
def forget(session: Session, /, force: bool, **asked: Any) -> None:
    """Delete records of runs from the history; counters stay.

    TIME is a time (2026-01-31 12:00) or an age (90s, 15m, 2h, 7d). Without any option all records go.
    """
    query = RunQuery(**{**asked, "states": tuple(state.upper() for state in asked["states"])})
    with session.opened() as app:
        history = history_of(app)
        number = sum(history.count(query).values())
        if number and not force:
            click.confirm(f"Delete {count(number, 'record')} for good?", abort=True)
        done = history.forget(query) if number else 0
    if not session.quiet:
        click.echo(f"Forgot {count(done, 'record')}.")


@click.command(cls=TaloCommand)
@click.argument("task_id", metavar="ID")
@_JSON
@click.pass_obj
def run(session: Session, task_id: str, as_json: bool) -> None:
    """Tell one task's story: each attempt, with its times and traceback.

    Of a task that began a workflow, also what came of it.
    """
    with session.opened() as app:
        story = story_of(app, task_id)
    if as_json:
        told = {"attempts": [facts(each) for each in story.attempts], "workflow": [facts(r) for r in story.workflow]}
        print_json({"id": story.id, **told})
    else:
        for number, attempt in enumerate(story.attempts):
            click.echo("\n" if number else "", nl=False)
            _show(attempt)
        if story.workflow:
            click.echo("\nworkflow:")
            rows = [(when(each.ended), each.state, each.name, each.id) for each in story.workflow]
            print_table(session, ("ended", "state", "task", "id"), rows)
    if not story.attempts:
        raise Failed(f"no run of {task_id} is kept: talo explain {task_id} says where it is")


@click.command(cls=TaloCommand)
@click.argument("queue", metavar="QUEUE")
@click.option("--delayed", is_flag=True, help="Those that wait for their time instead.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--offset", type=click.IntRange(min=0), default=0, show_default=True, help="Pass over so many.")
@_JSON
@click.pass_obj
def waiting(session: Session, queue: str, delayed: bool, limit: int, offset: int, as_json: bool) -> None:
    """List what waits in a queue, the next to be fetched first.

    Nothing is taken out by looking.
    """
    with session.opened() as app:
        found = app.store.broker.peek(queue, limit, offset, delayed=delayed)
    rows = [_waits(message) for message in found]
    if as_json:
        print_json(rows)
    else:
        print_table(session, ("since", "due", "priority", "task", "id", "args"), [tuple(r.values()) for r in rows])


def _waits(message: Message) -> dict[str, Any]:
    return {
        "since": when(ready_since(message)) if message.due is None else None,
        "due": when(message.due),
        "priority": message.priority,
        "task": message.task,
        "id": message.id,
        "args": shorten(str(message.headers.get("argsrepr") or ""), 60),
    }


def facts(run: RunRecord) -> dict[str, Any]:
    """Return a run as JSON tells it."""
    return {name: getattr(run, name) for name in RunRecord.__struct_fields__}


def when(epoch: float | None) -> str | None:
    """Return a time for people, in their own zone."""
    if epoch is None:
        return None
    return dt.datetime.fromtimestamp(epoch).astimezone().isoformat(sep=" ", timespec="milliseconds")


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _show(run: RunRecord) -> None:
    told = {
        "attempt": f"{run.attempt}  {run.state}",
        "task": run.name,
        "queue": run.queue,
        "worker": run.worker,
        "sent": when(run.sent),
        "started": when(run.started),
        "ended": when(run.ended),
        "waited": None if run.waited is None else f"{run.waited:.3f} s",
        "ran": None if run.seconds is None else f"{run.seconds:.6f} s",
        "args": run.args,
        "kwargs": run.kwargs,
        "root": run.root if run.root != run.id else None,
        "parent": run.parent,
        "group": run.group,
        "dead letter": run.dead,
        "kind": run.fingerprint,
        "error": run.error,
    }
    for name, value in told.items():
        if value not in (None, ""):
            click.echo(f"{name + ':':<12} {value}")
    if run.traceback:
        click.echo(run.traceback.rstrip())
