"""What Celery's worker does for others without being asked: Django's database connections, the end of a pool process.

Owns the receivers; connected once by ``compat.install``. Nothing is imported that the process has not loaded.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from talo import signals

__all__ = ["DjangoFixup", "connect", "fixup"]


def connect() -> None:
    """Connect the receivers; repeating it changes nothing."""
    receivers = (
        (signals.worker_init, _close_connections),
        (signals.worker_process_init, _begin_process),
        (signals.worker_process_shutdown, _end_of_process),
    )
    for signal, receiver in receivers:
        signal.connect(receiver, weak=False, dispatch_uid=("talo.compat", receiver.__name__))


def _begin_process(**_kwargs: Any) -> None:
    _close_connections()
    if _database() is not None:
        signals.task_prerun.connect(_refresh_connections, weak=False, dispatch_uid="talo.compat")
        signals.task_postrun.connect(_refresh_connections, weak=False, dispatch_uid="talo.compat")


def _database() -> Any:
    """Django's connections where Django is in use, else None."""
    if not os.environ.get("DJANGO_SETTINGS_MODULE") or "django.db" not in sys.modules:
        return None
    return importlib.import_module("django.db")


def _close_connections(**_kwargs: Any) -> None:
    """None may be shared over a fork."""
    django = _database()
    if django is not None and django.connections.settings:
        for connection in django.connections.all(initialized_only=True):
            connection.close()


def _refresh_connections(sender: Any = None, task: Any = None, **_kwargs: Any) -> None:
    """Between two tasks as between two requests: what is stale or too old is closed. An eager call is part of what
    called it."""
    django = _database()
    request = getattr(task, "request", None)
    if django is not None and request is not None and not request.is_eager:
        for connection in django.connections.all(initialized_only=True):
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()


def _end_of_process(**_kwargs: Any) -> None:
    """Plug-ins that must do something before a pool process is gone wrap billiard's loop of it."""
    module = sys.modules.get("billiard.pool")
    worker = vars(module).get("Worker") if module is not None and hasattr(module, "__talo_alias__") else None
    if worker is not None:
        worker().workloop()


class DjangoFixup:
    """Celery's own set-up of Django, by name; what it does is done by the receivers above."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def install(self) -> DjangoFixup:
        """Nothing is left to do."""
        return self


def fixup(app: Any, env: str = "DJANGO_SETTINGS_MODULE") -> DjangoFixup | None:
    """The set-up of Django, where Django is in use."""
    return DjangoFixup(app) if os.environ.get(env) else None
