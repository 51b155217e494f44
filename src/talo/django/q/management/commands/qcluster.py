"""``manage.py qcluster``: a worker of the project, for the queue that ``Q_CLUSTER`` or ``--name`` names."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from talo.django.q import conf
from talo.django.q.run_once import UntilIdle
from talo.django.q.scheduler import send_due
from talo.django.q.tasks import app

__all__ = ["Command"]


class Command(BaseCommand):
    """Starts a worker; it runs until it is ended."""

    help = "Start a Talo worker for the tasks of Django Q's functions, and keep their schedules."

    def add_arguments(self, parser: CommandParser) -> None:
        """``-n``: an alternative cluster. ``--run-once``: no longer than there is work."""
        parser.add_argument("-n", "--name", help="consume the queue of this cluster (ALT_CLUSTERS)")
        parser.add_argument("--run-once", action="store_true", help="run what waits and what is due, then end")

    def handle(self, *_args: Any, name: str | None = None, run_once: bool = False, **_options: Any) -> None:
        """As ``manage.py talo worker``."""
        words = ["worker", "-l", "info"]
        if name:
            words += ["-Q", name, "-n", f"{name}@%h"]
        if run_once:
            if conf.read(name).scheduler:
                send_due(timezone.now())
            queue = name or app().conf.task_default_queue
            app().services.append(lambda: UntilIdle(app(), queue))
        call_command("talo", "--", *words)
