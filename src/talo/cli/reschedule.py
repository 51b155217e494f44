"""``talo reschedule``: give waiting tasks another time.

Owns the options; the work is the app's. Called by ``cli.main``."""

from __future__ import annotations

import datetime as dt

import click

from talo.cli._commands import TaloCommand
from talo.cli._errors import Failed
from talo.cli._params import DURATION, MOMENT
from talo.cli._session import Session
from talo.util.text import count

__all__ = ["reschedule"]


@click.command(cls=TaloCommand)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--countdown", type=DURATION, metavar="SECONDS", help="Run them in so many seconds, or in 5m, 2h; 0 is now."
)
@click.option("--eta", type=MOMENT, help="Run them at this time.")
@click.pass_obj
def reschedule(session: Session, /, ids: tuple[str, ...], countdown: float | None, eta: dt.datetime | None) -> None:
    """Give waiting tasks another time, earlier or later.

    What runs or has ended is left alone; exit code 1 if that is so for one of them.
    """
    if (countdown is None) == (eta is None):
        raise click.UsageError("When? Give --countdown or --eta")
    with session.opened() as app:
        moved = app.control.reschedule(ids, countdown, eta)
    if not session.quiet:
        click.echo(f"Rescheduled {count(len(moved), 'task')}.")
    if others := [each for each in ids if each not in moved]:
        raise Failed(f"not waiting (it runs, has ended, or nobody knows it; see talo explain): {', '.join(others)}")
