"""The models of Django Q's way: schedules, and what became of tasks.

Owns the rows: what a schedule's next run is, what a task's result is. Writing a result is ``runs``'s, keeping schedules
``scheduler``'s. Imported by Django.
"""

from __future__ import annotations

import ast
import datetime as dt
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from talo.django.q.packing import unpack
from talo.django.q.times import following, valid_cron

__all__ = ["Failure", "Schedule", "Success", "Task"]


class Task(models.Model):
    """A task that has ended, well or not; of several attempts the last."""

    id = models.CharField(_("id"), primary_key=True, max_length=64)
    name = models.CharField(_("name"), max_length=200, db_index=True)
    func = models.CharField(_("function"), max_length=256)
    hook = models.CharField(_("hook"), max_length=256, null=True, blank=True)
    packed_args = models.TextField(default="[]")
    packed_kwargs = models.TextField(default="{}")
    packed_result = models.TextField(default="null")
    group = models.CharField(_("group"), max_length=100, null=True, blank=True, db_index=True)
    cluster = models.CharField(_("cluster"), max_length=100, null=True, blank=True)
    started = models.DateTimeField(_("started"))
    stopped = models.DateTimeField(_("stopped"), db_index=True)
    success = models.BooleanField(_("success"), default=True, db_index=True)
    attempt_count = models.IntegerField(_("attempts"), default=0)

    class Meta:
        db_table = "talo_django_q_task"
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        ordering = ("-stopped",)

    def __str__(self) -> str:
        return self.name or self.id

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments."""
        return tuple(unpack(self.packed_args))

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments."""
        found: dict[str, Any] = unpack(self.packed_kwargs)
        return found

    @property
    def result(self) -> Any:
        """What it returned, or the text of its failure."""
        return unpack(self.packed_result)

    def time_taken(self) -> float:
        """Seconds of its last attempt."""
        return (self.stopped - self.started).total_seconds()

    def group_result(self, failures: bool = False) -> Any:
        """The results of its group; None if it is in none."""
        if not self.group:
            return None
        rows = Task.objects.filter(group=self.group)
        return [row.result for row in (rows if failures else rows.filter(success=True)).order_by("started")]

    def group_count(self, failures: bool = False) -> int | None:
        """How many of its group have ended, or have failed."""
        rows = Task.objects.filter(group=self.group)
        return (rows.filter(success=False) if failures else rows).count() if self.group else None

    def group_delete(self, tasks: bool = False) -> int | None:
        """Take the group's name from its rows, or delete them."""
        rows = Task.objects.filter(group=self.group)
        if not self.group:
            return None
        return rows.delete()[0] if tasks else rows.update(group=None)


class _Ended(models.Manager):
    def __init__(self, success: bool) -> None:
        super().__init__()
        self._success = success

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(success=self._success)


class Success(Task):
    """Tasks that ended well."""

    objects = _Ended(True)

    class Meta:
        proxy = True
        verbose_name = _("successful task")
        verbose_name_plural = _("successful tasks")
        ordering = ("-stopped",)


class Failure(Task):
    """Tasks that failed."""

    objects = _Ended(False)

    class Meta:
        proxy = True
        verbose_name = _("failed task")
        verbose_name_plural = _("failed tasks")
        ordering = ("-stopped",)


class Schedule(models.Model):
    """A task that is sent at times."""

    ONCE, MINUTES, HOURLY, DAILY, WEEKLY, BIWEEKLY = "O", "I", "H", "D", "W", "BW"
    MONTHLY, BIMONTHLY, QUARTERLY, YEARLY, CRON = "M", "BM", "Q", "Y", "C"
    TYPE = (
        (ONCE, _("Once")),
        (MINUTES, _("Minutes")),
        (HOURLY, _("Hourly")),
        (DAILY, _("Daily")),
        (WEEKLY, _("Weekly")),
        (BIWEEKLY, _("Biweekly")),
        (MONTHLY, _("Monthly")),
        (BIMONTHLY, _("Bimonthly")),
        (QUARTERLY, _("Quarterly")),
        (YEARLY, _("Yearly")),
        (CRON, _("Cron")),
    )

    name = models.CharField(_("name"), max_length=100, null=True, blank=True)
    func = models.CharField(_("function"), max_length=256, help_text=_("e.g. module.tasks.function"))
    hook = models.CharField(_("hook"), max_length=256, null=True, blank=True, help_text=_("e.g. module.tasks.function"))
    args = models.TextField(_("arguments"), null=True, blank=True, help_text=_("e.g. 1, 2, 'John'"))
    kwargs = models.TextField(_("keyword arguments"), null=True, blank=True, help_text=_("e.g. x=1, y=2, name='John'"))
    schedule_type = models.CharField(_("type"), max_length=2, choices=TYPE, default=ONCE)
    minutes = models.PositiveSmallIntegerField(
        _("minutes"), null=True, blank=True, help_text=_("Number of minutes for the Minutes type")
    )
    repeats = models.IntegerField(_("repeats"), default=-1, help_text=_("n = n times, -1 = forever, 0 = never"))
    next_run = models.DateTimeField(_("next run"), default=timezone.now, null=True, db_index=True)
    cron = models.CharField(
        _("cron"), max_length=100, null=True, blank=True, validators=[valid_cron], help_text=_("Cron expression")
    )
    task = models.CharField(max_length=100, null=True, editable=False)
    cluster = models.CharField(_("cluster"), max_length=100, null=True, blank=True, default=None)
    intended_date_kwarg = models.CharField(
        _("name of the intended date argument"), max_length=100, null=True, blank=True
    )

    class Meta:
        db_table = "talo_django_q_schedule"
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        ordering = ("next_run",)

    def __str__(self) -> str:
        return self.name or self.func

    def calculate_next_run(self, next_run: dt.datetime | None = None) -> dt.datetime | None:
        """When it runs after ``next_run`` (default: its own); None for ``ONCE``."""
        after = next_run or self.next_run
        return following(self.schedule_type, after, self.minutes, self.cron) if after is not None else None

    def parsed_args(self) -> tuple[Any, ...]:
        """The positional arguments. ``ValueError`` for what is no literal."""
        text = (self.args or "").strip()
        if not text:
            return ()
        try:
            found = ast.literal_eval(text)
        except SyntaxError as exc:
            raise ValueError(f"arguments {text!r}: {exc}") from exc
        return found if isinstance(found, tuple) else (found,)

    def parsed_kwargs(self) -> dict[str, Any]:
        """The keyword arguments, from ``x=1, y=2`` or a dictionary. ``ValueError`` for what is no literal."""
        text = (self.kwargs or "").strip()
        if not text:
            return {}
        try:
            if text.startswith("{"):
                return dict(ast.literal_eval(text))
            [call] = [node for node in ast.walk(ast.parse(f"f({text})", mode="eval")) if isinstance(node, ast.Call)]
            return {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
        except SyntaxError as exc:
            raise ValueError(f"keyword arguments {text!r}: {exc}") from exc

    def success(self) -> bool | None:
        """Whether its last task ended well; None if that is not known."""
        found = Task.objects.filter(pk=self.task).first() if self.task else None
        return found.success if found else None

    def last_run(self) -> str | None:
        """The id of its last task."""
        return self.task
