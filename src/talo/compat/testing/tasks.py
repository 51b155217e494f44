"""The task that test workers are pinged with.

Owns it only; shared, so that every app has it.
"""

from __future__ import annotations

from talo.app.shared import shared_task

__all__ = ["ping"]


@shared_task(name="celery.ping")
def ping() -> str:
    """Answers ``pong``."""
    return "pong"
