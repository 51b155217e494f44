"""Keeping schedules: each worker looks for what is due and sends it.

Owns the thread and the step from one run to the next. The step is one UPDATE that still finds the schedule as it was
read, in one transaction with the send: so of several workers one sends each run. Rows are ``models``'s.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

from django.db import Error, router, transaction
from django.utils import timezone

from talo.django._looking import Looking
from talo.django.q import conf
from talo.errors import TaloError

__all__ = ["Scheduler", "send_due"]

log = logging.getLogger("talo.django")

#: Schedules of one look.
_BATCH = 100


class Scheduler(Looking):
    """Sends what is due, about once a second."""

    thread = "talo-q-schedules"

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self._told = ""

    def wanted(self) -> bool:
        """Whether Q_CLUSTER says that this is a scheduler."""
        return conf.read().scheduler

    def look(self) -> None:
        """Send what is due now."""
        try:
            send_due(timezone.now())
            self._told = ""
        except (TaloError, Error) as exc:
            if str(exc) != self._told:
                self._told = str(exc)
                log.warning("Schedules cannot be kept now: %s", exc, extra={"action": "schedule"})


def send_due(now: dt.datetime) -> int:
    """Send what is due at ``now``; return how many tasks this process sent."""
    from talo.django.q.models import Schedule

    due = Schedule.objects.filter(next_run__lte=now).exclude(repeats=0).order_by("next_run")
    return sum(_send(each, now) for each in due[:_BATCH])


def _send(found: Any, now: dt.datetime) -> bool:
    # Only here, for it needs the project's app.
    from talo.django.q.tasks import async_task

    due = found.next_run
    try:
        args, kwargs = found.parsed_args(), found.parsed_kwargs()
    except ValueError as exc:
        log.error("Schedule %s is put to rest: %s", found, exc, extra={"action": "schedule"})
        type(found).objects.filter(pk=found.pk).update(repeats=0)
        return False
    kind = type(found)
    same = kind.objects.filter(pk=found.pk, next_run=due, repeats=found.repeats, func=found.func)
    options = {"hook": found.hook, "group": found.name or str(found.pk), "cluster": found.cluster}
    options = {**options, **kwargs.pop("q_options", {})}
    if found.intended_date_kwarg:
        kwargs[found.intended_date_kwarg] = due.isoformat()
    with transaction.atomic(using=router.db_for_write(kind)):
        if not _moved(same, found, now):
            return False
        given = {name: value for name, value in options.items() if value is not None}
        task_id = async_task(found.func, *args, q_options=given, **kwargs)
        kind.objects.filter(pk=found.pk).update(task=task_id)
    fields = {"action": "schedule", "task_id": task_id}
    log.info("Schedule %s sent %s[%s]", found, found.func, task_id, extra=fields)
    return True


def _moved(same: Any, found: Any, now: dt.datetime) -> bool:
    """Take the schedule from this run to the next; False if somebody else has."""
    if found.schedule_type == found.ONCE and found.repeats < 0:
        return bool(same.delete()[0])
    repeats = found.repeats - 1 if found.repeats > 0 else found.repeats
    following = found.calculate_next_run()
    if not conf.read(found.cluster).catch_up:
        while following is not None and following <= now:
            following = found.calculate_next_run(following)
    if following is None:
        repeats, following = 0, found.next_run
    return bool(same.update(next_run=following, repeats=repeats))
