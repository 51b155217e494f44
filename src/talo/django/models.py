"""Talo's tables in Django's databases.

Owns the table of the outbox: one row for each message that is committed and not known to be published. What happens
to rows is ``outbox``'s. And the names of the admin's pages, which are models without a table: who may see and change
what they show is said by their permissions. Imported by Django.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

__all__ = [
    "DeadLetter",
    "OutboxMessage",
    "PeriodicTask",
    "QueuePage",
    "RunPage",
    "TaskType",
    "WaitingTask",
    "WorkerPage",
]


class OutboxMessage(models.Model):
    """A message on its way from a committed transaction to the broker. It is gone once that is done."""

    id = models.BigAutoField(primary_key=True)
    #: The app that sent it (``Talo.main``): its workers know the broker.
    app = models.CharField(max_length=255)
    task_id = models.CharField(max_length=255)
    task = models.CharField(max_length=255)
    #: The message in Talo's own writing (``outbox``).
    body = models.BinaryField()
    #: Epoch seconds until which somebody is publishing it.
    claimed_until = models.FloatField(db_index=True)
    #: Who claimed it last.
    claim = models.CharField(max_length=32, db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "talo_django_outbox"
        verbose_name = "outbox message"

    def __str__(self) -> str:
        return f"{self.task}[{self.task_id}]"


class _Page(models.Model):
    """A name of a page, without a table."""

    class Meta:
        abstract = True
        managed = False
        default_permissions: tuple[str, ...] = ("view", "change", "delete")


class RunPage(_Page):
    """What became of tasks."""

    class Meta(_Page.Meta):
        default_permissions = ("view",)
        verbose_name = _("run")
        verbose_name_plural = _("runs")


class WaitingTask(_Page):
    """Tasks that wait or run."""

    class Meta(_Page.Meta):
        default_permissions = ("view", "change")
        verbose_name = _("waiting or running task")
        verbose_name_plural = _("waiting and running tasks")


class TaskType(_Page):
    """The tasks that the project has."""

    class Meta(_Page.Meta):
        default_permissions = ("view", "change")
        verbose_name = _("task")
        verbose_name_plural = _("tasks")


class PeriodicTask(_Page):
    """Schedules."""

    class Meta(_Page.Meta):
        default_permissions = ("view", "add", "change", "delete")
        verbose_name = _("periodic task")
        verbose_name_plural = _("periodic tasks")


class DeadLetter(_Page):
    """Tasks that will not run again unless somebody replays them."""

    class Meta(_Page.Meta):
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")


class QueuePage(_Page):
    """Queues."""

    class Meta(_Page.Meta):
        verbose_name = _("queue")
        verbose_name_plural = _("queues")


class WorkerPage(_Page):
    """Workers."""

    class Meta(_Page.Meta):
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
