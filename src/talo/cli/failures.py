"""``talo failures`` and ``talo explain``: what goes wrong, and why a task does not run.

Owns options and layout; the work is ``control.history``'s. Called by ``cli.main``."""

from __future__ import annotations

import time

import click
import msgspec

from talo.cli._commands import TaloCommand
from talo.cli._output import print_json, print_table
from talo.cli._params import PAST
from talo.cli._session import Session
from talo.cli.runs import facts, when
from talo.control import history
from talo.util.text import shorten

__all__ = ["explain", "failures"]

_JSON = click.option("-j", "--json", "as_json", is_flag=True, help="As JSON.")
_DAY = 86_400.0


@click.command(cls=TaloCommand)
@click.option("--since", type=PAST, metavar="TIME", help="Since then.  [default: 1d]")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many kinds.")
@_JSON
@click.pass_obj
def failures(session: Session, since: float | None, limit: int, as_json: bool) -> None:
    """Group failures by kind, those that came last first.

    Of one kind are attempts that failed with the same exception at the same place of your code. TIME is a time
    (2026-01-31 12:00) or an age (90s, 15m, 2h, 7d).
    """
    with session.opened() as app:
        found = history.history_of(app).failures(time.time() - _DAY if since is None else since, limit)
    if as_json:
        print_json([{**msgspec.structs.asdict(each), "example": facts(each.example)} for each in found])
        return
    rows = [
        (
            each.fingerprint,
            each.count,
            when(each.first),
            when(each.last),
            each.name,
            shorten(" ".join((each.example.error or "").split()), 60),
            each.example.id,
        )
        for each in found
    ]
    print_table(session, ("kind", "attempts", "first", "last", "task", "latest error", "its id"), rows)


@click.command(cls=TaloCommand)
@click.argument("task_id", metavar="ID")
@_JSON
@click.pass_obj
def explain(session: Session, task_id: str, as_json: bool) -> None:
    """Say why a task is not running.

    Looks at what waits, at what workers hold, at dead letters, revoked ids and history; changes nothing.
    """
    with session.opened() as app:
        found = history.explain(app, task_id)
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    if found.task is not None and not session.quiet:
        click.echo(f"{found.task} [{found.id}]" + (f" in queue {found.queue}" if found.queue else ""))
    for reason in found.reasons:
        click.echo(f"{reason.code}: {reason.text}")
