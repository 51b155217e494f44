"""``manage.py qinfo``: the state of the clusters in numbers."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from talo.django.q import conf
from talo.django.q.models import Schedule, Task
from talo.django.q.tasks import app
from talo.stores.base import delayed_in

__all__ = ["Command", "numbers"]


def numbers() -> dict[str, int | float | None]:
    """What ``qinfo`` and ``qmonitor`` show. Errors: the broker's."""
    broker = app().store.broker
    owners = [each for each in broker.owners() if each.slots]
    waiting = broker.stats()
    day = Task.objects.filter(stopped__gte=timezone.now() - dt.timedelta(days=1))
    times = [row.time_taken() for row in Task.objects.filter(success=True)[:100]]
    return {
        "clusters": len({each.worker for each in owners}),
        "workers": sum(each.slots for each in owners),
        "queued": sum(each.ready for each in waiting),
        "delayed": delayed_in(waiting),
        "successes": Task.objects.filter(success=True).count(),
        "failures": Task.objects.filter(success=False).count(),
        "schedules": Schedule.objects.exclude(repeats=0).count(),
        "tasks/day": day.count(),
        "average seconds": round(sum(times) / len(times), 4) if times else 0,
    }


class Command(BaseCommand):
    """Prints numbers, or the configuration."""

    help = "Show what clusters, queues and schedules there are."

    def add_arguments(self, parser: CommandParser) -> None:
        """``--config``, ``--ids``."""
        parser.add_argument("--config", action="store_true", help="show what Q_CLUSTER means")
        parser.add_argument("--ids", action="store_true", help="show the names of the running workers")

    def handle(self, *_args: Any, config: bool = False, ids: bool = False, **_options: Any) -> None:
        """One line per fact."""
        if config:
            # No URL: it may have a password.
            shown: dict[str, Any] = {**dataclasses.asdict(conf.read()), "broker": app().store.url}
        elif ids:
            shown = {each.worker: each.slots for each in app().store.broker.owners() if each.slots}
        else:
            shown = dict(numbers())
        for name, value in shown.items():
            self.stdout.write(f"{name}: {value}")
