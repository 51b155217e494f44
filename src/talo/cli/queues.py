"""``talo queues``: how much waits where. Called by ``cli.main``."""

from __future__ import annotations

import click
import msgspec

from talo.cli._commands import TaloCommand
from talo.cli._output import print_json, print_table
from talo.cli._session import Session
from talo.control.queues import queue_stats
from talo.stores.base import QueueStats

__all__ = ["queues"]


@click.command(cls=TaloCommand)
@click.option("-j", "--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def queues(session: Session, as_json: bool) -> None:
    """Count what waits in each queue.

    Ready tasks could start now, delayed ones wait for their time, leased ones are held by a worker. Oldest is for how
    long the one that has waited longest could have started. What the broker does not tell is unknown. Tasks of a
    paused type wait in a queue talo.paused/TASK/QUEUE of their own.
    """
    with session.opened() as app:
        rows = queue_stats(app)
    if as_json:
        print_json([msgspec.to_builtins(row) for row in rows])
    else:
        print_table(
            session,
            ("queue", "ready", "delayed", "leased", "oldest"),
            [(row.name, row.ready, _known(row.delayed), row.leased, _age(row)) for row in rows],
        )


def _known(number: int | None) -> str:
    return "unknown" if number is None else str(number)


def _age(row: QueueStats) -> str | None:
    if row.oldest is None:
        return "unknown" if row.ready else None
    return f"{row.oldest:.1f} s"
