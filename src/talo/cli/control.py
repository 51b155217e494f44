"""``talo control``: steer workers, Talo's and Celery's. Called by ``cli.main``.

Owns what Talo has beside the commands that go to workers: ``pause`` and ``resume``, which are kept in the store."""

from __future__ import annotations

from typing import Any

import click

from talo.app.app import Talo
from talo.cli._commands import TaloCommand
from talo.cli._output import print_json
from talo.cli._remote import ask, listed, remote_options
from talo.cli._session import Session

__all__ = ["control"]

_KEPT = ("pause", "resume", "paused")


@click.command(cls=TaloCommand)
@remote_options
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="pause, resume: tasks of this name. Repeatable.")
@click.pass_obj
def control(session: Session, /, words: tuple[str, ...], tasks: tuple[str, ...], **options: Any) -> None:
    """Steer workers.

    Commands: add_consumer QUEUE, autoscale MAX MIN, cancel_consumer QUEUE, disable_events, enable_events, heartbeat,
    pool_grow N, pool_restart, pool_shrink N, rate_limit TASK RATE, revoke ID..., revoke_by_stamped_headers
    KEY=VALUE..., shutdown, terminate SIGNAL ID..., time_limit TASK SOFT HARD; --list describes them. Exit code 69 if
    nobody answers.

    pause QUEUE... and resume QUEUE... (or --task NAME) are kept in the store and hold for all workers of Talo's, those
    to come included; paused lists them. A revocation is kept there too.
    """
    if words and words[0] in _KEPT:
        with session.opened() as app:
            _keep(session, app, words, tasks, as_json=options["as_json"])
        return
    if tasks:
        raise click.UsageError("--task is for pause and resume")
    if options["only_list"]:
        click.echo(listed("control"))
        click.echo("  pause QUEUE... | --task NAME, resume QUEUE... | --task NAME, paused: kept in the store")
        return
    if words and words[0] in ("revoke", "terminate", "revoke_by_stamped_headers"):
        with session.opened() as app:
            _keep_revocation(app, words)
    ask(session, "control", words, options)


def _keep(session: Session, app: Talo, words: tuple[str, ...], tasks: tuple[str, ...], *, as_json: bool) -> None:
    name, *queues = words
    if name != "paused":
        if not queues and not tasks:
            raise click.UsageError(f"{name} what? Name queues, or tasks with --task")
        change = app.control.pause if name == "pause" else app.control.resume
        change(*queues, tasks=tasks)
    paused = dict(zip(("queues", "tasks"), app.control.paused(), strict=True))
    if as_json:
        print_json(paused)
    elif not session.quiet:
        for kind, names in paused.items():
            click.echo(f"paused {kind}: {', '.join(names) or '-'}")


def _keep_revocation(app: Talo, words: tuple[str, ...]) -> None:
    """Remember it for workers that are down."""
    name, *rest = words
    if name == "revoke_by_stamped_headers":
        pairs = [word.partition("=") for word in rest]
        app.control.keep_revoked(stamps={key: value for key, _, value in pairs})
    else:
        ids = rest[1:] if name == "terminate" else rest
        app.control.keep_revoked(ids, terminate=name == "terminate")
