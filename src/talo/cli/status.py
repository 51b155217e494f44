"""``talo status``: which workers are alive; Talo's by their leases, Celery's by their answers.

Called by ``cli.main``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import click

from talo.app.app import Talo
from talo.cli._commands import TaloCommand
from talo.cli._errors import NobodyThere
from talo.cli._output import print_json, print_table
from talo.cli._params import NAMES
from talo.cli._session import Session
from talo.stores.base import OwnerInfo

__all__ = ["status"]


@dataclass
class _Node:
    """One worker: the sum of its lease holders."""

    name: str
    alive: bool = False
    slots: int = 0
    owners: int = 0
    held: int = 0


@click.command(cls=TaloCommand)
@click.option(
    "-t", "--timeout", type=float, default=1.0, metavar="SECONDS", help="Wait so long for Celery's workers [1]."
)
@click.option("-d", "--destination", type=NAMES, metavar="NODES", help="These workers only, between commas.")
@click.option("-j", "--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def status(session: Session, timeout: float, destination: tuple[str, ...] | None, as_json: bool) -> None:
    """List the workers that are alive.

    A worker whose lease is over has fallen silent; what it held goes to others. Workers of Celery's on the same broker
    hold no leases; they are asked. Exit code 69 if none is alive.
    """
    with session.opened() as app:
        nodes = _nodes(app.store.broker.owners())
        if app.store.bus.unheard_is_free:
            nodes += _others(app, {node.name for node in nodes}, destination, timeout)
    if destination is not None:
        nodes = [node for node in nodes if node.name in destination]
    if as_json:
        print_json([asdict(node) for node in nodes])
    elif nodes:
        rows: list[tuple[Any, ...]] = [
            (f"{node.name}: {'OK' if node.alive else 'LEASE OVER'}", node.slots, node.owners, node.held)
            for node in nodes
        ]
        print_table(session, ("worker", "slots", "owners", "held"), rows)
    alive = sum(node.alive for node in nodes)
    if not alive:
        raise NobodyThere("No nodes replied within time constraint")
    if not as_json and not session.quiet:
        click.echo(f"\n{alive} node{'s' if alive > 1 else ''} online.")


def _others(app: Talo, known: set[str], destination: tuple[str, ...] | None, timeout: float) -> list[_Node]:
    """Who answers and holds no lease."""
    if destination is not None and known.issuperset(destination):
        return []
    replies = app.control.ping(destination, timeout=timeout)
    names = sorted({name for reply in replies for name in reply} - known)
    return [_Node(name, alive=True) for name in names]


def _nodes(owners: Iterable[OwnerInfo]) -> list[_Node]:
    nodes: dict[str, _Node] = {}
    for owner in owners:
        node = nodes.setdefault(owner.worker, _Node(owner.worker))
        node.alive = node.alive or owner.remaining > 0
        node.slots += owner.slots
        node.owners += 1
        node.held += owner.held
    return [nodes[name] for name in sorted(nodes)]
