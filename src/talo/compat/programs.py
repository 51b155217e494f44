"""Running Celery's programs: a command line with a given app, the worker and beat as objects, and
``python -m talo.compat``.

Owns the ways in; the commands themselves are ``talo.cli``'s.
"""

from __future__ import annotations

import importlib
import logging
import os
import runpy
import shutil
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from talo.beat.service import Service
from talo.compat.install import install_as_celery
from talo.compat.log import mlevel
from talo.testing.local import LocalWorker
from talo.worker.logs import set_up_logging
from talo.worker.main import run_worker
from talo.worker.plan import node_name

__all__ = ["Beat", "Worker", "main", "run_command", "worker_main"]

_USAGE = """\
Usage: python -m talo.compat COMMAND...

Runs a Python program, or a command of Celery's, in which `import celery` means Talo.

  python -m talo.compat manage.py migrate        a script
  python -m talo.compat gunicorn proj.wsgi       an installed program
  python -m talo.compat -m package.module ...    a module
  python -m talo.compat celery -A proj worker    Celery's command line
"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program that the command line names, under the alias, and exit with its code."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if not argv or argv[0] in ("-h", "--help"):
        print(_USAGE, end="")
        sys.exit(0 if argv else 2)
    install_as_celery()
    if "" not in sys.path:
        sys.path.insert(0, "")
    if argv[0] == "celery":
        sys.exit(_cli(argv[1:], "celery"))
    if argv[0] == "-m":
        if len(argv) < 2:
            sys.exit("Error: -m needs the name of a module (see python -m talo.compat --help)")
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        sys.exit(0)
    script = argv[0] if os.path.exists(argv[0]) else _installed(argv[0])
    if script is None:
        sys.exit(f"Error: there is no file {argv[0]!r}: name a script, -m MODULE, or celery and its arguments")
    sys.argv = argv
    sys.path[0] = os.path.dirname(os.path.abspath(script)) if script == argv[0] else ""
    runpy.run_path(script, run_name="__main__")
    sys.exit(0)


def _installed(name: str) -> str | None:
    """The path of an installed program that Python runs (``gunicorn``, ``flask``), else None."""
    path = shutil.which(name)
    if path is None:
        return None
    with open(path, "rb") as file:
        first = file.readline(200)
    return path if first.startswith(b"#!") and b"python" in first else None


def _cli(arguments: Sequence[str], name: str, app: Any = None) -> int:
    return int(importlib.import_module("talo.cli.main").run(arguments, name=name, app=app))


def run_command(app: Any, argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command line (without the program's name) with this app, and exit with its code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in ("celery", sys.argv[0]):
        given = given[1:]
    sys.exit(_cli(given, "celery", app))


def worker_main(app: Any, argv: Sequence[str] | None = None) -> None:
    """Run a worker as ``['worker', '-l', 'INFO']`` says, in this process."""
    given = list(sys.argv if argv is None else argv)
    if "worker" not in given:
        raise ValueError("the arguments of worker_main name no sub-command: begin with 'worker'")
    code = _cli(given[given.index("worker") :], "celery", app)
    if code:
        sys.exit(code)


class Worker:
    """A worker in this process: ``app.Worker(concurrency=2, loglevel='INFO').start()``.

    Started in a thread that is not the main one, as tests do, it can neither hear signals nor fork: it is a
    ``LocalWorker`` then, which runs tasks in threads and enforces no time limits.
    """

    app: Any = None

    def __init__(self, app: Any = None, **arguments: Any) -> None:
        self.app = app or self.app
        known = (
            "hostname", "queues", "exclude_queues", "pool", "concurrency", "prefetch_multiplier", "time_limit",
            "soft_time_limit", "max_tasks_per_child", "max_memory_per_child", "beat", "scheduler", "quiet", "logfile",
        )  # fmt: skip
        self._arguments: Any = {name: arguments[name] for name in known if arguments.get(name) is not None}
        self._arguments["loglevel"] = mlevel(arguments.get("loglevel") or logging.WARNING)
        self.exitcode: int | None = None
        self._told = threading.Event()

    def start(self) -> None:
        """Run until it is told to stop: by a signal, in a thread by ``stop``."""
        if threading.current_thread() is threading.main_thread():
            self.exitcode = run_worker(self.app, **self._arguments)
        else:
            self.app.env.hostname = node_name(self._arguments.get("hostname"))
            with LocalWorker(self.app, concurrency=self._arguments.get("concurrency", 1)):
                self._told.wait()
            self.exitcode = 0

    def stop(self, in_sighandler: bool = False, exitcode: int | None = None) -> None:
        """End one that runs in a thread, or is about to; one in the main thread ends by a signal."""
        del in_sighandler, exitcode
        self._told.set()


class Beat:
    """A beat in this process: ``app.Beat(loglevel='INFO').run()``."""

    app: Any = None

    def __init__(
        self,
        app: Any = None,
        max_interval: float | None = None,
        loglevel: Any = "WARN",
        logfile: str | None = None,
        schedule: str | None = None,
        scheduler: Any = None,
        **_more: Any,
    ) -> None:
        self.app = app or self.app
        self._level, self._logfile = mlevel("WARNING" if loglevel == "WARN" else loglevel), logfile
        self.service = Service(self.app, max_interval, schedule, scheduler)

    def run(self) -> None:
        """Run until ``self.service.stop()`` is called."""
        set_up_logging(self.app, self._level, self._logfile)
        self.app.import_default_modules()
        self.app.finalize()
        self.service.start()
