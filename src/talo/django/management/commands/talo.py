"""``manage.py talo …``: every command of ``talo``, with the project's app.

Owns the way in; the commands are ``talo.cli``'s. Beside them ``worker --autoreload`` for development.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from talo.cli.main import run
from talo.django.autoreload import run_and_reload

__all__ = ["Command"]

_APP = ("-A", "talo.django.worker_app:app")
_AUTORELOAD = "--autoreload"
#: Options that Django has obeyed before it calls a command.
_DJANGOS = ("--settings=", "--pythonpath=")


class Command(BaseCommand):
    """Runs one command line of ``talo``."""

    help = "Run a command of talo (worker, beat, schedule, ...) for this project: manage.py talo --help lists them."

    def run_from_argv(self, argv: Sequence[str]) -> None:
        """Run what stands behind the command's name; options are talo's own."""
        code = self._run([word for word in argv[2:] if not word.startswith(_DJANGOS)])
        connections.close_all()
        sys.exit(code)

    def add_arguments(self, parser: CommandParser) -> None:
        """For ``call_command("talo", "check", "--offline")``."""
        parser.add_argument("arguments", nargs="*", help="a command line of talo")

    def handle(self, *_args: Any, arguments: Sequence[str] = (), **_options: Any) -> None:
        """As ``run_from_argv``; ``CommandError`` if it fails."""
        code = self._run(list(arguments))
        if code:
            raise CommandError(f"talo {' '.join(arguments)} ended with exit code {code}", returncode=code)

    @staticmethod
    def _run(words: list[str]) -> int:
        if _AUTORELOAD in words:
            words.remove(_AUTORELOAD)
            return run_and_reload()
        return run([*_APP, *words])
