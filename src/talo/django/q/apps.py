"""Django Q's way as one of a project's Django apps.

Owns what happens when Django is ready: ``Q_CLUSTER`` becomes defaults of the project's app, and its workers keep
schedules. Called by Django.
"""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

from django.apps import AppConfig, apps
from django.core import checks

from talo.django.q import conf, signals
from talo.django.q.scheduler import Scheduler
from talo.errors import ImproperlyConfigured
from talo.signals import worker_process_init

__all__ = ["QConfig"]


class QConfig(AppConfig):
    """The Django app ``talo_django_q``."""

    name = "talo.django.q"
    label = "talo_django_q"
    verbose_name = "Talo Q"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        checks.register(check_cluster, "talo")
        if not apps.is_installed("talo.django"):
            return
        # Whose settings are read late; apps that are listed behind this one may be ready after it.
        from talo.django import project

        app = project.find_or_make()
        app.add_defaults(conf.defaults)
        app.services.append(lambda: Scheduler(app))
        worker_process_init.connect(_spawned, weak=False, dispatch_uid="talo.django.q")


def _spawned(**_more: Any) -> None:
    signals.spawned(f"{multiprocessing.current_process().name}:{os.getpid()}")


def check_cluster(**_more: Any) -> list[Any]:
    """E004 what Q_CLUSTER says that cannot be done; W008 what has no effect; E005 an app that is missing."""
    found: list[Any] = []
    if not apps.is_installed("talo.django"):
        found.append(checks.Error("'talo.django.q' needs 'talo.django' in INSTALLED_APPS, too", id="talo.E005"))
    try:
        unused = conf.read().unused
    except ImproperlyConfigured as exc:
        return [*found, checks.Error(str(exc), hint="Correct Q_CLUSTER.", id="talo.E004")]
    if unused:
        text = f"Q_CLUSTER: {', '.join(unused)} has no effect: Talo needs no such tuning"
        found.append(checks.Warning(text, hint="Take it away.", id="talo.W008"))
    return found
