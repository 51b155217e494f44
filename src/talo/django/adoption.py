"""What every app gets where Django is in use, ``talo.django`` installed or not.

Owns the list. It is imported when an app is created, which may be while Django's settings are being loaded: nothing
here reads a setting or a model then. Called by ``app._discover`` for every new app, and by ``apps``.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from talo.app.task import Task
from talo.django import connections
from talo.django.celery_results import Archive
from talo.django.relay import Relay
from talo.django.task import DjangoTask
from talo.django.transactions import OnCommit

__all__ = ["adopt"]


def adopt(app: Any) -> None:
    """Give an app Django's task class, outlet, archive and time zone, and workers that care for connections.

    Idempotent.
    """
    if any(isinstance(outlet, OnCommit) for outlet in app.outlets):
        return
    if app.task_cls is Task:
        app.task_cls = DjangoTask
    app.outlets.insert(0, OnCommit(app))
    app.services.append(lambda: Relay(app))
    app.archives.append(Archive(app))
    app.add_defaults(_defaults)
    connections.arm()


def _defaults() -> dict[str, Any]:
    """Django's settings that hold for Talo too, unless its own say otherwise."""
    try:
        defaults: dict[str, Any] = {"secret_keys": [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]}
        if settings.TIME_ZONE:
            defaults["timezone"] = settings.TIME_ZONE
        return defaults
    except (ImportError, ImproperlyConfigured):
        # An app beside the project: Django's settings are none of its business, and broken ones are told elsewhere.
        return {}
