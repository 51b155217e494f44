"""What Celery's worker does for others without being asked.

Owns the end of a pool process; connected once by ``compat.install``. What Celery does for Django, ``talo.django`` does
for every app where Django is in use.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from talo import signals

__all__ = ["DjangoFixup", "connect", "fixup"]


def connect() -> None:
    """Connect the receiver; repeating it changes nothing."""
    signals.worker_process_shutdown.connect(_end_of_process, weak=False, dispatch_uid="talo.compat")


def _end_of_process(**_kwargs: Any) -> None:
    """Plug-ins that must do something before a pool process is gone wrap billiard's loop of it."""
    module = sys.modules.get("billiard.pool")
    worker = vars(module).get("Worker") if module is not None and hasattr(module, "__talo_alias__") else None
    if worker is not None:
        worker().workloop()


class DjangoFixup:
    """Celery's own set-up of Django, by name; what it does, ``talo.django.adoption`` has done."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def install(self) -> DjangoFixup:
        """Nothing is left to do."""
        return self


def fixup(app: Any, env: str = "DJANGO_SETTINGS_MODULE") -> DjangoFixup | None:
    """The set-up of Django, where Django is in use."""
    return DjangoFixup(app) if os.environ.get(env) else None
