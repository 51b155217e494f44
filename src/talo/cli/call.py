"""``talo call``: send one task by name.

Owns nothing but the options: sending is the app's. Called by ``cli.main``."""

from __future__ import annotations

import sys
from typing import Any

import click

from talo.app.app import Talo
from talo.cli._commands import TaloCommand
from talo.cli._errors import Failed, Refused
from talo.cli._output import print_result
from talo.cli._params import JSON_ARRAY, JSON_OBJECT, MOMENT, MOMENT_OR_SECONDS
from talo.cli._session import Session
from talo.errors import NotSupported, TimeoutError
from talo.util.names import nearest
from talo.util.optional import load

__all__ = ["call"]

#: ``--wait`` without a number.
_FOR_EVER = float("inf")


@click.command(cls=TaloCommand)
@click.argument("name")
@click.option("-a", "--args", "args", type=JSON_ARRAY, default="[]", help="Positional arguments, a JSON array.")
@click.option("-k", "--kwargs", "kwargs", type=JSON_OBJECT, default="{}", help="Keyword arguments, a JSON object.")
@click.option("--eta", type=MOMENT, help="Run it at this time.")
@click.option("--countdown", type=float, metavar="SECONDS", help="Run it in so many seconds.")
@click.option("--expires", type=MOMENT_OR_SECONDS, metavar="SECONDS|TIME", help="Do not start it after that.")
@click.option("--serializer", metavar="NAME", help="How the arguments are written.")
@click.option("--queue", metavar="NAME", help="Send it to this queue.")
@click.option("--exchange", metavar="NAME", help="Send it to this exchange.")
@click.option("--routing-key", metavar="KEY", help="Send it with this key.")
@click.option("--priority", type=click.IntRange(0, 255), help="0 low to 9 high (RabbitMQ: to 255).")
@click.option("--force", is_flag=True, help="Send it even if the app has no such task: another app may.")
@click.option("--wait", is_flag=False, flag_value=_FOR_EVER, type=click.FloatRange(min=0), metavar="[SECONDS]",
              help="Wait for the result and print it; without a number for ever.")  # fmt: skip
@click.pass_obj
def call(
    session: Session,
    /,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    force: bool,
    wait: float | None,
    **options: Any,
) -> None:
    """Send a task by name and print its id."""
    with session.opened() as app:
        app.import_default_modules()
        task = _known(app, session, name, force)
        given = {key: value for key, value in options.items() if value is not None}
        try:
            send = task.apply_async if task is not None else lambda *call, **more: app.send_task(name, *call, **more)
            result = send(args, kwargs, **given)
        except (TypeError, ValueError) as error:
            raise Refused(f"{name} cannot be called so: {error}") from error
        if not session.quiet or wait is None:
            click.echo(result.id)
        if wait is not None:
            _wait(result, None if wait == _FOR_EVER else wait)


def _known(app: Talo, session: Session, name: str, force: bool) -> Any:
    task = app.tasks.get(name)
    if task is None and session.app is not None and not force:
        own = [known for known in app.tasks if not known.startswith("celery.")]
        guess = nearest(name, own)
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise Failed(f"the app has no task {name!r}{hint} (--force sends it all the same)")
    return task


def _wait(result: Any, timeout: float | None) -> None:
    try:
        if sys.stderr.isatty():
            value = load("talo.cli._progress").wait(result, timeout)
        else:
            value = result.get(timeout=timeout)
    except TimeoutError as error:
        raise Failed(f"no result within {timeout:g} s; `talo result {result.id} --wait` goes on waiting") from error
    except NotSupported as error:
        raise Failed(f"the task was sent, but cannot be waited for: {error}") from error
    except Exception as error:
        # Whatever the task raised is the task's failure, not the command's.
        raise Failed(f"the task failed: {type(error).__name__}: {error}") from error
    print_result(value)
