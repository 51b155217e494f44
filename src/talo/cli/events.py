"""``talo events``: watch what happens. A live view at a terminal, lines elsewhere, or a camera of the project's.

Owns the choice and the lines; the view is ``_live``'s, which is imported only at a terminal. Called by ``cli.main``."""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import Any

import click

from talo.app.app import Talo
from talo.cli._commands import TaloCommand
from talo.cli._errors import Refused
from talo.cli._params import LOG_LEVEL
from talo.cli._pidfile import pidfile
from talo.cli._session import Session
from talo.events.dumper import Dumper
from talo.events.snapshot import evcam
from talo.util.rates import rate_of

__all__ = ["events"]

_SERVICE = "run it under systemd, a supervisor or a container: Talo does not daemonize"


@click.command(cls=TaloCommand)
@click.option("-d", "--dump", is_flag=True, help="Print each event as a line.")
@click.option("-c", "--camera", metavar="CLASS", help="Give the state to this camera (a subclass of Polaroid).")
@click.option("-F", "--frequency", "--freq", "freq", type=float, default=1.0, help="Seconds between two pictures [1].")
@click.option("-r", "--maxrate", metavar="RATE", help="At most so many pictures: 10/m.")
@click.option("-l", "--loglevel", type=LOG_LEVEL, metavar="LEVEL", help="Accepted; what is wrong is told on stderr.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="End after so many events.")
@click.option("--pidfile", "pid_path", metavar="PATH", help="Write the process id there.")
@click.option("-f", "--logfile", metavar="PATH", help="Accepted; redirect stderr.")
@click.option("--umask", metavar="OCTAL", help="Accepted; the shell's holds.")
@click.option("--executable", metavar="PATH", help="Accepted; nothing is started.")
@click.option("-D", "--detach", is_flag=True, help="Refused: run it under a service manager.")
@click.option("--uid", metavar="USER", help="Refused, as --detach.")
@click.option("--gid", metavar="GROUP", help="Refused, as --detach.")
@click.pass_obj
def events(session: Session, /, dump: bool, camera: str | None, detach: bool, **options: Any) -> None:
    """Watch what happens to tasks and workers.

    At a terminal a live view of workers and the latest tasks; elsewhere, or with --dump, a line for each event.
    Workers tell of their tasks while they run with -E, or after `talo control enable_events`. INT ends it.
    """
    for name, given in (("detach", detach), ("uid", options["uid"]), ("gid", options["gid"])):
        if given:
            raise Refused(f"--{name}: {_SERVICE}")
    try:
        rate = rate_of(options["maxrate"])
    except ValueError as error:
        raise click.UsageError(f"--maxrate: {error}") from None
    with contextlib.ExitStack() as stack:
        app = stack.enter_context(session.opened())
        if options["pid_path"]:
            stack.enter_context(pidfile(options["pid_path"]))
        if camera is not None:
            evcam(camera, app, freq=options["freq"], maxrate=rate, ready=lambda: _greet(session, camera))
        elif dump or not sys.stdout.isatty():
            _dump(app, session, options["limit"])
        else:
            importlib.import_module("talo.cli._live").watch(app, options["freq"], session.color)


def _greet(session: Session, camera: str) -> None:
    if not session.quiet:
        click.echo(f"-> {camera}: taking pictures (INT to end)", err=True)


def _dump(app: Talo, session: Session, limit: int | None) -> None:
    dumper = Dumper()
    receiver = app.events.Receiver(None, handlers={"*": lambda event: click.echo(dumper.line(event))})
    if not session.quiet:
        click.echo(f"-> events of {app.store.url} (INT to end)", err=True)
    with contextlib.suppress(KeyboardInterrupt):
        receiver.capture(limit=limit, wakeup=True)
