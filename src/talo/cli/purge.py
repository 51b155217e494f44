"""``talo purge``: delete what waits in queues.

Owns the question and the wording, which are Celery's. Called by ``cli.main``."""

from __future__ import annotations

import click

from talo.cli._commands import TaloCommand
from talo.cli._errors import Refused
from talo.cli._params import NAMES
from talo.cli._session import Session
from talo.util.text import count

__all__ = ["purge"]


@click.command(cls=TaloCommand)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("-Q", "--queues", type=NAMES, metavar="NAMES", help="These queues, between commas. Default: the app's.")
@click.option("-X", "--exclude-queues", type=NAMES, metavar="NAMES", help="Not these.")
@click.pass_obj
def purge(
    session: Session, force: bool, queues: tuple[str, ...] | None, exclude_queues: tuple[str, ...] | None
) -> None:
    """Delete all waiting tasks of queues.

    Delayed tasks count, and those of paused types; what a worker holds already stays. There is no undo.
    """
    with session.opened() as app:
        chosen = set(queues or app.queues.consume_from) - set(exclude_queues or ())
        names = sorted(chosen)
        if not names:
            raise Refused("no queue is left to purge: see -Q and -X")
        noun = "queue" if len(names) == 1 else "queues"
        if not force:
            click.secho(f"WARNING: This will remove all tasks from {noun}: {', '.join(names)}.", fg="red", bold=True)
            click.echo("         There is no undo for this operation!\n\n(to skip this prompt use the -f option)\n")
            click.confirm("Are you sure you want to delete all tasks?", abort=True)
        purged = app.control.purge_queues(names)
        if purged:
            click.echo(f"Purged {count(purged, 'message')} from {len(names)} known task {noun}.")
        else:
            click.echo(f"No messages purged from {len(names)} {noun}.")
