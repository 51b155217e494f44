"""``celery.bin``: what plug-ins build their own commands of (Flower is one).

Owns the classes and parameter types under Celery's names; the commands are ``talo.cli``'s. Found by the entry points
``celery.commands``, or added to the group ``celery.bin.celery.celery``.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import Any, NoReturn

import click

from talo import signals
from talo.cli._params import JSON_ARRAY, JSON_OBJECT, LOG_LEVEL, MOMENT, MOMENT_OR_SECONDS, NAMES
from talo.cli.main import run
from talo.cli.main import talo as celery

__all__ = [
    "COMMA_SEPARATED_LIST",
    "ISO8601_DATETIME",
    "ISO8601_DATETIME_OR_FLOAT",
    "JSON_ARRAY",
    "JSON_OBJECT",
    "LOG_LEVEL",
    "CLIContext",
    "CeleryCommand",
    "CeleryDaemonCommand",
    "CeleryOption",
    "CommaSeparatedList",
    "LogLevel",
    "celery",
    "handle_preload_options",
    "main",
]

COMMA_SEPARATED_LIST = NAMES
ISO8601_DATETIME = MOMENT
ISO8601_DATETIME_OR_FLOAT = MOMENT_OR_SECONDS
CommaSeparatedList = type(NAMES)
LogLevel = type(LOG_LEVEL)


def main() -> NoReturn:
    """Celery's command line, and the exit with its code."""
    sys.exit(run(name="celery"))


class CLIContext:
    """``ctx.obj`` as plug-ins read it: the app, and how to print."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._app: Any = None
        self.no_color = session.color is False
        self.quiet = session.quiet
        self.workdir = session.workdir

    @property
    def app(self) -> Any:
        """The app that -A names."""
        if self._app is None:
            self._app = self._session.find()
        return self._app

    def style(self, message: str | None = None, **kwargs: Any) -> str:
        """A text in colour."""
        return str(message) if self.no_color else click.style(str(message), **kwargs)

    def secho(self, message: str | None = None, **kwargs: Any) -> None:
        """Print in colour."""
        click.secho(message, **kwargs)

    def echo(self, message: str | None = None, **kwargs: Any) -> None:
        """Print."""
        click.echo(message, **kwargs)

    def error(self, message: str | None = None, **kwargs: Any) -> None:
        """Print to stderr."""
        click.echo(message, **{**kwargs, "err": True})

    def pretty(self, n: Any) -> tuple[str, str]:
        """(kind, text) of a value."""
        return "OK", json.dumps(n, default=str)

    OK = property(lambda self: self.style("OK", fg="green", bold=True))
    ERROR = property(lambda self: self.style("ERROR", fg="red", bold=True))


class CeleryOption(click.Option):
    """An option that may stand under a heading, or take its default from the context."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.help_group = kwargs.pop("help_group", None)
        self.default_value_from_context = kwargs.pop("default_value_from_context", None)
        super().__init__(*args, **kwargs)


class CeleryCommand(click.Command):
    """A command of a plug-in: its ``ctx.obj`` is a ``CLIContext``."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        ctx = super().make_context(info_name, args, parent, **extra)
        if ctx.obj is not None and not isinstance(ctx.obj, CLIContext):
            ctx.obj = CLIContext(ctx.obj)
        return ctx


class CeleryDaemonCommand(CeleryCommand):
    """The same for long-lived programs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for names, text in (
            (("-f", "--logfile"), "Log there."),
            (("--pidfile",), "Accepted."),
            (("--uid",), "Accepted."),
            (("--gid",), "Accepted."),
            (("--umask",), "Accepted."),
            (("--executable",), "Accepted."),
        ):
            self.params.append(CeleryOption(names, help=text))


def handle_preload_options(f: Any) -> Any:
    """Let the app's ``user_options['preload']`` be told by the signal ``user_preload_options`` before the command."""

    def caller(ctx: click.Context, *args: Any, **kwargs: Any) -> Any:
        app = ctx.obj.app
        preload = [option.name for option in app.user_options.get("preload", ()) if hasattr(option, "name")]
        if preload:
            options = {name: kwargs.pop(name) for name in preload if name in kwargs}
            signals.user_preload_options.send(sender=f, app=app, options=options)
        return f(ctx, *args, **kwargs)

    return functools.update_wrapper(caller, f)
