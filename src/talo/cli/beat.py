"""``talo beat``: a scheduler in a process of its own, with the options of Celery's.

Owns signals, the pid file and the banner around ``beat.service``. Called by ``cli.main``."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from typing import Any

import click

import talo
from talo.app.app import Talo
from talo.beat.service import Service, scheduler_class
from talo.cli._commands import TaloCommand
from talo.cli._errors import Failed, Refused
from talo.cli._params import LOG_LEVEL, umask_of
from talo.cli._pidfile import pidfile
from talo.cli._session import Session
from talo.errors import TaloError
from talo.util.process import root_warning
from talo.worker.logs import name_process, set_up_logging

__all__ = ["beat"]

log = logging.getLogger("talo.beat")

_SERVICE = "run it under systemd, a supervisor or a container, which do it better: Talo does not daemonize"
_REFUSED = {"detach": "--detach", "uid": "--uid", "gid": "--gid"}
_SIGNALS = {signal.SIGTERM, signal.SIGINT}


@click.command(cls=TaloCommand)
@click.option("-s", "--schedule", metavar="PATH", help="The file of last runs, for brokers that keep no schedules.")
@click.option("-S", "--scheduler", metavar="CLASS", help="The class that keeps the schedule, or its alias.")
@click.option("--max-interval", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Longest sleep.")
@click.option(
    "-l", "--loglevel", type=LOG_LEVEL, default="WARNING", show_default=True, help="From this level on is logged."
)
@click.option("-f", "--logfile", metavar="PATH", help="Log there instead of to stderr.")
@click.option("--pidfile", "pid_path", metavar="PATH", help="Write the process id there; a second beat is refused.")
@click.option("--umask", metavar="OCTAL", help="The umask of the process.")
@click.option("-n", "--hostname", metavar="NAME", help="Accepted; beat answers no commands.")
@click.option("--executable", metavar="PATH", help="Accepted; nothing is started.")
@click.option(
    "--enable-remote-control/--no-enable-remote-control", default=None, help="Accepted; beat answers no commands."
)
@click.option("--detach", is_flag=True, help="Refused: Talo does not daemonize.")
@click.option("--uid", metavar="USER", help="Refused, as --detach.")
@click.option("--gid", metavar="GROUP", help="Refused, as --detach.")
@click.pass_obj
def beat(session: Session, /, **options: Any) -> int:
    """Send periodic tasks when they fall due.

    Any number may run at a time where the store keeps schedules (SQLite, Redis): each tick is sent once. TERM and INT
    end it with exit code 0.
    """
    for name, option in _REFUSED.items():
        if options[name]:
            raise Refused(f"{option}: {_SERVICE}")
    app = session.find(required=True)
    options["logfile"] = options["logfile"] or app.conf.beat_logfile
    pid_path = options["pid_path"] or app.conf.beat_pidfile
    mask = umask_of(app.conf.beat_umask if options["umask"] is None else options["umask"])
    if mask is not None:
        os.umask(mask)
    app.import_default_modules()
    app.finalize()
    set_up_logging(app, options["loglevel"], options["logfile"])
    name_process("beat")
    if (warning := root_warning("beat")) is not None:
        log.warning("%s", warning, extra={"action": "root"})
    with contextlib.ExitStack() as stack:
        if pid_path:
            stack.enter_context(pidfile(pid_path))
        # Held back in all threads, so no handler interrupts a pass: the main thread asks for them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            return _run(app, session, options)
        finally:
            # Who told it twice shall not kill it now that it has ended.
            while signal.sigtimedwait(_SIGNALS, 0) is not None:
                pass
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(app: Talo, session: Session, options: dict[str, Any]) -> int:
    """Run the service in a thread, and wait for a signal here."""
    chosen = scheduler_class(app, options["scheduler"])
    service = Service(app, options["max_interval"], options["schedule"], chosen)
    if not session.quiet:
        click.echo(_banner(app, service, options))
    failure: list[BaseException] = []

    def run() -> None:
        try:
            service.start()
        except BaseException as error:  # noqa: BLE001  it is told in the main thread
            failure.append(error)

    thread = threading.Thread(target=run, name="talo-beat")
    thread.start()
    while thread.is_alive():
        if signal.sigtimedwait(_SIGNALS, 0.2) is not None:
            service.stop()
            break
    thread.join()
    app.close()
    if failure:
        [error] = failure
        raise error if isinstance(error, TaloError) else Failed(f"beat ended: {error!r}") from error
    return 0


def _banner(app: Talo, service: Service, options: dict[str, Any]) -> str:
    scheduler = service.scheduler
    kind = type(scheduler)
    lines = [
        f"talo beat v{talo.__version__} is starting.",
        f"    . broker -> {app.store.url}",
        f"    . scheduler -> {kind.__module__}.{kind.__qualname__}",
        scheduler.info,
        f"    . logfile -> {options['logfile'] or '[stderr]'}@%{logging.getLevelName(options['loglevel'])}",
        f"    . maxinterval -> {scheduler.max_interval:g} s",
    ]
    return "\n".join(line for line in lines if line)
