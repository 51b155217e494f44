"""``talo graph``: the workflow that a task belongs to, as a tree, for Graphviz or for Mermaid.

Owns the command; the picture is ``app.graph``'s. Called by ``cli.main``."""

from __future__ import annotations

import click

from talo.app.graph import graph_of
from talo.cli._commands import TaloCommand
from talo.cli._errors import Failed, Refused
from talo.cli._session import Session

__all__ = ["graph"]

#: What Celery's command of this name draws instead: what Talo says of that.
_CELERYS = {
    "bootsteps": "Talo's worker has no bootsteps of its own to draw; docs/internals/boot.md shows how it starts",
    "workers": "`talo status` lists the workers, `talo inspect stats` their processes",
}


@click.command(cls=TaloCommand)
@click.argument("task_id", metavar="ID")
@click.option("--form", type=click.Choice(["tree", "dot", "mermaid"]), default="tree", help="What to print.")
@click.pass_obj
def graph(session: Session, task_id: str, form: str) -> None:
    """Print what came of a task, with the state of each.

    Exit code 1 if nothing is known of it.
    """
    if task_id in _CELERYS:
        raise Refused(f"graph {task_id}: {_CELERYS[task_id]}")
    with session.opened() as app:
        found = app.AsyncResult(task_id)
        if not found.exists():
            raise Failed(f"nothing is known of {task_id}: it has not ended, or its result has expired")
        picture = graph_of(found)
        click.echo({"tree": picture.as_tree, "dot": picture.as_dot, "mermaid": picture.as_mermaid}[form]())
