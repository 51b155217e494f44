"""``talo worker``: every option of Celery's worker, each of them working or refused with a reason.

Owns what is done around ``worker.main.run_worker``: the pid file, the umask, what is refused or needless, the purge
before the start. Called by ``cli.main``."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import sys
from typing import Any

import click

from talo.app._discover import prepare_framework
from talo.app.app import Talo
from talo.cli._commands import TaloCommand
from talo.cli._errors import Failed, Refused
from talo.cli._params import umask_of
from talo.cli._pidfile import pidfile
from talo.cli._session import Session
from talo.cli._worker_options import NEEDLESS, REFUSED, with_options
from talo.util.files import private
from talo.worker.main import run_worker
from talo.worker.plan import node_name

__all__ = ["worker"]


@click.command(cls=TaloCommand)
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@with_options
@click.pass_obj
def worker(session: Session, /, settings: tuple[str, ...], **options: Any) -> int:
    """Run a worker.

    Settings may be given as NAME=VALUE (worker_lease=60).

    TERM and the first INT let running tasks end; QUIT and the second INT hand them back; HUP restarts it (not at a
    terminal); USR1 prints every stack. Exit code 0 after TERM and QUIT, 1 after INT or a failure.
    """
    _refuse(options)
    level: int = options["loglevel"]
    if level <= logging.INFO:
        for name, (option, reason) in NEEDLESS.items():
            if options[name]:
                click.echo(f"{option}: {reason}", err=True)
    app = session.find(required=not options["include"])
    app.config_from_cmdline(settings)
    _configure(app, session, options)
    if not session.skip_checks:
        _check_django()
    _fill_in(app, options)
    if not session.quiet:
        for note in app.conf.notes():
            click.echo(f"Note: {note}", err=True)
    if options["umask"] is not None:
        os.umask(options["umask"])
    node = node_name(options["hostname"])
    with contextlib.ExitStack() as stack:
        if options["pid_path"]:
            stack.enter_context(pidfile(_expand(options["pid_path"], node)))
        if options["purge"]:
            _purge(app, options)
        return run_worker(app, **_arguments(session, options, node))


def _refuse(options: dict[str, Any]) -> None:
    for name, (option, reason) in REFUSED.items():
        if options[name]:
            raise Refused(f"{option}: {reason}")
    if options["prefetch_multiplier"] is not None and options["disable_prefetch"]:
        raise Refused("--prefetch-multiplier and --disable-prefetch exclude each other: keep one")


def _configure(app: Talo, session: Session, options: dict[str, Any]) -> None:
    settings = []
    if options["task_events"]:
        settings.append("worker_send_task_events=true")
    if session.color is False:
        settings.append("worker_log_color=false")
    for name, setting in (("http", "worker_http"), ("log_format", "worker_log_format")):
        if options[name] is not None:
            settings.append(f"{setting}={options[name]}")
    app.config_from_cmdline(settings)
    if options["include"]:
        here = os.getcwd()
        if here not in sys.path:
            sys.path.insert(0, here)
        app.conf.include = (*(app.conf.include or ()), *options["include"])


def _fill_in(app: Talo, options: dict[str, Any]) -> None:
    """Take from the settings what the command line leaves open."""
    options["logfile"] = options["logfile"] or app.conf.worker_logfile
    options["pid_path"] = options["pid_path"] or app.conf.worker_pidfile
    if options["umask"] is None:
        options["umask"] = umask_of(app.conf.worker_umask)


def _arguments(session: Session, options: dict[str, Any], node: str) -> Any:
    """What ``run_worker`` is told; options that were not given are left out."""
    same = (
        "pool", "concurrency", "prefetch_multiplier", "disable_prefetch", "time_limit", "soft_time_limit",
        "max_tasks_per_child", "max_memory_per_child", "start_method", "grace", "children", "loglevel", "beat",
        "scheduler", "autoscale",
    )  # fmt: skip
    arguments = {name: options[name] for name in same if options[name] is not None}
    if options["without_heartbeat"] or options["heartbeat_interval"]:
        arguments["heartbeat"] = 0 if options["without_heartbeat"] else options["heartbeat_interval"]
    for name in ("queues", "exclude_queues"):
        if options[name]:
            arguments[name] = ",".join(options[name])
    if options["schedule"]:
        arguments["schedule_filename"] = _expand(options["schedule"], node)
    if options["logfile"]:
        arguments["logfile"] = _writable(_expand(options["logfile"], node))
    return {**arguments, "hostname": node, "quiet": session.quiet}


def _expand(path: str, node: str) -> str:
    """Fill in the escapes of a file name: %p the node, %n its name, %h its host, %d the domain; a worker has one log,
    so %i is 0 and %I nothing."""
    name, _, host = node.partition("@")
    values = {"%%": "%", "%p": node, "%n": name, "%h": host, "%d": host.partition(".")[2], "%i": "0", "%I": ""}
    parts = []
    position = 0
    while position < len(path):
        pair = path[position : position + 2]
        parts.append(values.get(pair, path[position]))
        position += 2 if pair in values else 1
    return "".join(parts)


def _writable(path: str) -> str:
    try:
        with open(path, "a", encoding="utf-8", opener=private):
            return path
    except OSError as error:
        raise Failed(f"--logfile {path} cannot be written: {error.strerror}") from error


def _purge(app: Talo, options: dict[str, Any]) -> None:
    if options["queues"]:
        app.select_queues(list(options["queues"]))
    if options["exclude_queues"]:
        app.queues.deselect(options["exclude_queues"])
    names = list(app.queues.consume_from)
    count = app.control.purge_queues(names)
    app.close_stores()
    click.echo(f"purge: Erased {count} {'message' if count == 1 else 'messages'} from the queue.")


def _check_django() -> None:
    """Run Django's system checks where Django is in use, as its own commands do. Its errors stop the worker."""
    if not os.environ.get("DJANGO_SETTINGS_MODULE") or importlib.util.find_spec("django") is None:
        return
    prepare_framework()
    found = importlib.import_module("django.core.checks").run_checks()
    serious = [message for message in found if message.is_serious() and not message.is_silenced()]
    if serious:
        more = f" (and {len(serious) - 1} more)" if len(serious) > 1 else ""
        raise Failed(f"Django's system checks failed: {serious[0].msg}{more}; --skip-checks leaves them out")
