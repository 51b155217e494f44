"""``talo top``: what goes on, live at a terminal; one frame for a pipe or with ``--once``.

Owns the choice; the facts are ``control.overview``'s, the screen is ``_top_view``'s. Called by ``cli.main``."""

from __future__ import annotations

import importlib
import sys
import time

import click
import msgspec

from talo.cli._commands import TaloCommand
from talo.cli._output import print_json
from talo.cli._session import Session
from talo.control.overview import Overview, overview

__all__ = ["top"]


@click.command(cls=TaloCommand)
@click.option("--once", is_flag=True, help="Print one frame and end; so it is where no terminal reads.")
@click.option(
    "-i", "--interval", type=click.FloatRange(min=0.2), default=2.0, metavar="SECONDS", help="Between two frames [2]."
)
@click.option(
    "-w", "--window", type=click.FloatRange(1, 1440), default=5.0, metavar="MINUTES", help="What rates are over [5]."
)
@click.option("-j", "--json", "as_json", is_flag=True, help="One frame, as JSON.")
@click.pass_obj
def top(session: Session, once: bool, interval: float, window: float, as_json: bool) -> None:
    """Watch workers, queues, rates and failures.

    It reads leases, queues and counters and asks no worker, so it is right however busy they are. INT ends it.
    """
    with session.opened() as app:

        def look() -> Overview:
            return overview(app, time.time(), window * 60)

        if as_json:
            print_json(msgspec.to_builtins(look()))
            return
        view = importlib.import_module("talo.cli._top_view")
        if once or not sys.stdout.isatty():
            view.print_once(look, app.store.url, session.color)
        else:
            view.watch(look, app.store.url, interval, session.color)
