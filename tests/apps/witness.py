"""The app of the real Celery, whose worker looks before each task whether Talo holds that very task.

Only Talo ends a lease of Talo's. So a task that starts here while a lease has it was taken from Talo by somebody else.
"""

from __future__ import annotations

import os
from typing import Any

import redis
from celery.signals import task_prerun

from tests.apps.celery_app import app
from tests.apps.shared_code import note

__all__ = ["app"]

_store = redis.Redis.from_url(os.environ["CELERY_BROKER_URL"])


@task_prerun.connect
def look(task_id: str = "", **_: Any) -> None:
    """Note under which owners the task stands, if any."""
    owners = [key.decode() for key in _store.keys("talo:leases:*") if _holds(key, task_id)]
    note("taken" if owners else "free", task_id, *owners)


def _holds(key: bytes, task_id: str) -> bool:
    return any(task_id.encode() in value for value in _store.hvals(key))
