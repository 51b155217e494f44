"""``talo inspect``: ask workers, Talo's and Celery's, what they do. Called by ``cli.main``."""

from __future__ import annotations

from typing import Any

import click

from talo.cli._commands import TaloCommand
from talo.cli._remote import ask, remote_options
from talo.cli._session import Session

__all__ = ["inspect"]


@click.command(cls=TaloCommand)
@remote_options
@click.pass_obj
def inspect(session: Session, /, words: tuple[str, ...], **options: Any) -> None:
    """Ask workers what they do.

    Commands: active, active_queues, clock, conf, memdump, memsample, ping, query_task ID..., registered, report,
    reserved, revoked, scheduled, stats; --list describes them. The answers come from each worker's agent, so they come
    while every slot is busy. Exit code 69 if nobody answers.
    """
    ask(session, "inspect", words, options)
