"""What an error looks like on the command line: one line, the cause and the mend, never a password.

Owns the exceptions with which commands refuse, and the wording of all others. Called by ``cli.main`` and the
commands."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import IO, Any

import click

import talo
from talo.errors import StoreUnavailable, TaloError
from talo.settings.secret import hide_password

__all__ = ["Failed", "NobodyThere", "PidfileTaken", "Refused", "blame", "joined", "one_line"]

_PACKAGES = f"{os.sep}site-packages{os.sep}"
#: Talo, what runs its commands, the standard library and what is built in: faults are not looked for there.
_NOT_USERS = ("<frozen ", str(Path(talo.__file__).parent) + os.sep, str(Path(click.__file__).parent) + os.sep)
_LIBRARY = os.path.dirname(os.__file__) + os.sep


class Failed(click.ClickException):
    """It could not be done. Its message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(hide_password(joined(message)))

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"Error: {self.message}", file=file, err=file is None)


class Refused(Failed):
    """What was asked for makes no sense, or Talo does not do it."""

    exit_code = 2


class NobodyThere(Failed):
    """No worker is alive. The code is EX_UNAVAILABLE of sysexits.h."""

    exit_code = 69


class PidfileTaken(Failed):
    """The pid file cannot be made, or a running process holds it. The code is EX_CANTCREAT of sysexits.h."""

    exit_code = 73


def one_line(error: BaseException) -> str:
    """Return what went wrong in one line, without passwords."""
    if isinstance(error, TaloError):
        text = str(error) or type(error).__name__
        if isinstance(error, StoreUnavailable):
            text += "; see that it runs, or correct broker_url (-b)"
    elif isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    else:
        place = blame(error)
        where = f"{place}: " if place else ""
        more = "" if place else " (TALO_DEBUG=1 shows the traceback)"
        text = f"{where}{type(error).__name__}: {error}{more}"
    return hide_password(joined(text))


def joined(text: str) -> str:
    """Return a text of several lines as one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    head, *rest = lines or [""]
    return f"{head} {'; '.join(rest)}" if head.endswith(":") else "; ".join([head, *rest])


def blame(error: BaseException) -> str | None:
    """Return ``file line N`` of the user's code that raised this; None when only Talo's and Python's own took part.

    Installed packages are blamed only where no file of the project took part.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)} line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    places = [
        frame for frame in frames if not frame.filename.startswith(_NOT_USERS) and not _is_library(frame.filename)
    ]
    own = [frame for frame in places if _PACKAGES not in frame.filename]
    for frame in reversed(own or places):
        return f"{_shown(frame.filename)} line {frame.lineno}"
    return None


def _is_library(filename: str) -> bool:
    # Installed packages stand below the standard library's directory.
    return filename.startswith(_LIBRARY) and _PACKAGES not in filename


def _shown(filename: str) -> str:
    relative = os.path.relpath(filename)
    return filename if relative.startswith("..") else relative
