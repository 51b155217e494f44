"""The entrance: global options, the choice of a command, and how an error is told.

Owns what stands before the command's name, and the exit codes: 0 done, 1 it could not be done, 2 wrong usage (an app
that cannot be found included), 69 nobody answered, 73 a pid file could not be made. Called by the ``talo`` script and
``python -m talo``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from talo import __version__
from talo.cli._commands import CommandGroup
from talo.cli._errors import joined, one_line
from talo.cli._session import Session
from talo.settings.secret import hide_password

__all__ = ["main", "run", "talo"]


@click.group(
    cls=CommandGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "-A",
    "--app",
    envvar=["TALO_APP", "APP"],
    show_envvar=True,
    metavar="APP",
    help="Where the app is: module, module:attribute.",
)
@click.option(
    "-b",
    "--broker",
    envvar="BROKER_URL",
    show_envvar=True,
    metavar="URL",
    help="Broker to use instead of the configured one.",
)
@click.option(
    "--result-backend",
    envvar="RESULT_BACKEND",
    show_envvar=True,
    metavar="URL",
    help="Result backend to use instead of the configured one.",
)
@click.option("--loader", envvar="LOADER", show_envvar=True, help="Accepted; Talo has one way to load an app.")
@click.option(
    "--config",
    envvar="CONFIG_MODULE",
    show_envvar=True,
    metavar="MODULE",
    help="Module with settings, in place of the app's own.",
)
@click.option("--workdir", metavar="DIR", help="Directory to change to before anything is imported.")
@click.option("-C", "--no-color", is_flag=True, envvar="NO_COLOR", show_envvar=True, help="No colours.")
@click.option("-q", "--quiet", is_flag=True, help="No banner, no headings.")
@click.option(
    "--skip-checks",
    is_flag=True,
    envvar=["CELERY_SKIP_CHECKS", "SKIP_CHECKS"],
    show_envvar=True,
    help="Leave out Django's system checks.",
)
@click.version_option(__version__, "--version", message="talo %(version)s")
@click.pass_context
def talo(ctx: click.Context, /, no_color: bool, **options: Any) -> None:
    """A distributed task queue that loses nothing."""
    if no_color:
        options["color"] = ctx.color = False
    variables = {name for name in options if ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT}
    session = ctx.obj = Session(**options, given=ctx.obj, from_environment=variables)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        return
    session.enter_workdir()


def run(arguments: Sequence[str] | None = None, *, name: str = "talo", app: Any = None) -> int:
    """Run one command line and return its exit code. With ``TALO_DEBUG=1`` errors come with their traceback.

    ``name`` is what the program is called; ``app`` stands for the one that ``-A`` would name.
    """
    given = None if arguments is None else list(arguments)
    try:
        result = talo.main(args=given, prog_name=name, standalone_mode=False, obj=app)
        sys.stdout.flush()
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else name
        text = hide_password(joined(error.format_message())).rstrip(".")
        click.echo(f"Error: {text} (see {path} --help)", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Aborted!", err=True)
        return 1
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("TALO_DEBUG"):
            raise
        click.echo(f"Error: {one_line(error)}", err=True)
        return 1
    return result if isinstance(result, int) else 0


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    sys.exit(run())
