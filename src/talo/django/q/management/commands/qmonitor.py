"""``manage.py qmonitor``: the numbers of ``qinfo``, again and again."""

from __future__ import annotations

import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from talo.django.q.management.commands.qinfo import numbers

__all__ = ["Command"]


class Command(BaseCommand):
    """Prints one line every second until it is interrupted."""

    help = "Watch clusters, queues and results."

    def add_arguments(self, parser: CommandParser) -> None:
        """``--run-once``."""
        parser.add_argument("--run-once", action="store_true", help="print one line and end")
        parser.add_argument("--every", type=float, default=1.0, help="seconds between two lines")

    def handle(self, *_args: Any, run_once: bool = False, every: float = 1.0, **_options: Any) -> None:
        """An interrupt is its normal end."""
        pause = threading.Event()
        try:
            while True:
                self.stdout.write("  ".join(f"{name} {value}" for name, value in numbers().items()))
                if run_once or pause.wait(every):
                    return
        except KeyboardInterrupt:
            return
