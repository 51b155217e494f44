"""``manage.py qcluster``: a worker of the project, for the queue that ``Q_CLUSTER`` or ``--name`` names."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

__all__ = ["Command"]


class Command(BaseCommand):
    """Starts a worker; it runs until it is ended."""

    help = "Start a Talo worker for the tasks of Django Q's functions, and keep their schedules."

    def add_arguments(self, parser: CommandParser) -> None:
        """``-n``: an alternative cluster."""
        parser.add_argument("-n", "--name", help="consume the queue of this cluster (ALT_CLUSTERS)")

    def handle(self, *_args: Any, name: str | None = None, **_options: Any) -> None:
        """As ``manage.py talo worker``."""
        words = ["worker", "-l", "info"]
        if name:
            words += ["-Q", name, "-n", f"{name}@%h"]
        call_command("talo", *words)
