"""``talo shell``: Python with the app and its tasks at hand.

Owns what is at hand, and the choice between IPython, bpython and the standard library's. Called by ``cli.main``."""

from __future__ import annotations

import code
import importlib
import importlib.util
from typing import Any

import click

import talo
from talo.cli._commands import TaloCommand
from talo.cli._errors import Refused
from talo.cli._session import Session
from talo.worker.rules import user_tasks

__all__ = ["shell"]

_NAMES = ("chain", "chord", "chunks", "group", "signature", "xmap", "xstarmap", "AsyncResult", "Task")


@click.command(cls=TaloCommand)
@click.option("-I", "--ipython", is_flag=True, help="In IPython.")
@click.option("-B", "--bpython", is_flag=True, help="In bpython.")
@click.option("--python", is_flag=True, help="In Python's own.")
@click.option("-T", "--without-tasks", is_flag=True, help="Without the tasks under their short names.")
@click.option("--eventlet", is_flag=True, help="Refused: Talo does not patch the standard library.")
@click.option("--gevent", is_flag=True, help="Refused, as --eventlet.")
@click.pass_obj
def shell(
    session: Session, /, ipython: bool, bpython: bool, python: bool, without_tasks: bool, **patches: bool
) -> None:
    """Start Python with the app and its tasks at hand.

    The app is ``app``; what workflows are made of is there too.
    """
    for name, wanted in patches.items():
        if wanted:
            raise Refused(f"--{name}: Talo does not patch the standard library; blocking calls are fine in a shell")
    with session.opened() as app:
        app.import_default_modules()
        app.finalize()
        names: dict[str, Any] = {name: getattr(talo, name) for name in _NAMES}
        if not without_tasks:
            names |= {task.name.rpartition(".")[2]: task for task in user_tasks(app)}
        names |= {"app": app, "celery": app}
        _start(names, "ipython" if ipython else "bpython" if bpython else "python" if python else None)


def _start(names: dict[str, Any], chosen: str | None) -> None:
    """The shell that was chosen, else the best one that is installed."""
    if chosen == "ipython" or (chosen is None and importlib.util.find_spec("IPython") is not None):
        _of("IPython", "ipython").start_ipython(argv=[], user_ns=names)
    elif chosen == "bpython":
        _of("bpython", "bpython").embed(locals_=names)
    else:
        code.interact(banner=f"talo {talo.__version__}: app is {names['app']!r}", local=names, exitmsg="")


def _of(module: str, option: str) -> Any:
    if importlib.util.find_spec(module) is None:
        raise Refused(f"--{option}: {module} is not installed: pip install {option}")
    return importlib.import_module(module)
