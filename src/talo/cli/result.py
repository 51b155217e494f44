"""``talo result``: what became of one task.

Unlike Celery's it does not wait unless told to. Called by ``cli.main``."""

from __future__ import annotations

from typing import Any

import click

from talo import states
from talo.app.app import Talo
from talo.cli._commands import TaloCommand
from talo.cli._errors import Failed
from talo.cli._output import print_result
from talo.cli._session import Session
from talo.errors import TimeoutError
from talo.util.names import nearest

__all__ = ["result"]


@click.command(cls=TaloCommand)
@click.argument("task_id", metavar="ID")
@click.option("-t", "--task", metavar="NAME", help="The task's name, if it keeps its results elsewhere than the app.")
@click.option("--traceback", is_flag=True, help="Print the traceback of a failure instead.")
@click.option("--wait", is_flag=True, help="Wait until the task has ended.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait, but no longer than that.")
@click.pass_obj
def result(
    session: Session, task_id: str, task: str | None, traceback: bool, wait: bool, timeout: float | None
) -> None:
    """Print the result of a task.

    Exit code 1 if it failed, or has not ended.
    """
    with session.opened() as app:
        found = _handle(app, task_id, task)
        if wait or timeout is not None:
            try:
                found.get(timeout=timeout, propagate=False)
            except TimeoutError as error:
                raise Failed(f"no result of {task_id} within {timeout:g} s") from error
        _show(found, traceback)


def _handle(app: Talo, task_id: str, name: str | None) -> Any:
    if name is None:
        return app.AsyncResult(task_id)
    app.import_default_modules()
    task = app.tasks.get(name)
    if task is None:
        guess = nearest(name, app.tasks)
        raise Failed(f"the app has no task {name!r}" + (f"; did you mean {guess!r}?" if guess else ""))
    return app.AsyncResult(task_id, backend=task.backend, task_name=name)


def _show(found: Any, traceback: bool) -> None:
    state, value = found.state, found.result
    if traceback and found.traceback:
        click.echo(found.traceback.rstrip())
    elif state == states.SUCCESS:
        print_result(value)
    elif state == states.PENDING:
        raise Failed(f"no result of {found.id} is stored: it waits, runs, or is unknown (--wait waits for it)")
    elif state in states.READY_STATES:
        raise Failed(f"{state}: {_as_text(value)}")
    else:
        more = f": {value!r}" if value is not None else ""
        raise Failed(f"{found.id} has not ended, its state is {state}{more} (--wait waits for its end)")


def _as_text(value: Any) -> str:
    return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else str(value)
