"""Schedules and what became of tasks of Django Q's way, in Django's admin.

Owns their lists and actions: run a schedule now, submit a failed task again. Imported by the admin.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from talo.django.q.models import Failure, Schedule, Success
from talo.django.q.tasks import async_task
from talo.errors import TaloError

__all__: list[str] = []


class _TaskAdmin(admin.ModelAdmin):
    list_display = ("name", "func", "cluster", "started", "stopped", "time_taken", "group", "attempt_count")
    search_fields = ("name", "func", "group", "id")
    list_filter = ("group", "cluster")
    fields = readonly_fields = (
        "id", "name", "func", "hook", "args", "kwargs", "result", "group", "started", "stopped", "attempt_count",
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        """What became of a task is not made up."""
        del request
        return False


@admin.register(Success)
class SuccessAdmin(_TaskAdmin):
    """Tasks that ended well."""


@admin.register(Failure)
class FailureAdmin(_TaskAdmin):
    """Tasks that failed."""

    actions = ("submit_again",)

    @admin.action(description=_("Submit selected tasks again"), permissions=["change"])
    def submit_again(self, request: HttpRequest, queryset: Any) -> None:
        """Send the same calls as new tasks, and forget that they failed."""
        done = 0
        for row in queryset:
            try:
                options = {"hook": row.hook, "group": row.group, "cluster": row.cluster, "task_name": row.name}
                given = {name: value for name, value in options.items() if value}
                async_task(row.func, *row.args, q_options=given, **row.kwargs)
            except TaloError as exc:
                messages.error(request, f"{row}: {exc}")
                continue
            row.delete()
            done += 1
        messages.success(request, ngettext("%d task submitted", "%d tasks submitted", done) % done)


@admin.register(Schedule)
class ScheduleAdmin(admin.ModelAdmin):
    """Schedules, to be added and changed."""

    list_display = ("id", "name", "func", "schedule_type", "repeats", "cluster", "next_run", "last_run", "success")
    list_filter = ("next_run", "schedule_type", "cluster")
    search_fields = ("name", "func")
    actions = ("run_now",)

    @admin.action(description=_("Run selected schedules now"), permissions=["change"])
    def run_now(self, request: HttpRequest, queryset: Any) -> None:
        """Send their tasks once, whatever their times say."""
        done = 0
        for each in queryset:
            try:
                kwargs = each.parsed_kwargs()
                options = {"hook": each.hook, "group": each.name or str(each.pk), "cluster": each.cluster}
                options |= kwargs.pop("q_options", {})
                given = {name: value for name, value in options.items() if value}
                each.task = async_task(each.func, *each.parsed_args(), q_options=given, **kwargs)
            except (TaloError, ValueError) as exc:
                messages.error(request, f"{each}: {exc}")
                continue
            each.save(update_fields=["task"])
            done += 1
        messages.success(request, ngettext("%d schedule run", "%d schedules run", done) % done)
