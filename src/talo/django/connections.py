"""The care for Django's database connections in the processes of a worker.

Owns when they are checked and closed: before and after each task as around a request, and before every fork. Which
connection a task uses is Django's. Armed by ``adoption``; a process that is no worker pays nothing. See
``docs/internals/django.md``.
"""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import Future
from typing import Any

from asgiref.sync import SyncToAsync
from django.db import connections

from talo import signals

__all__ = ["arm", "close_all", "refresh"]

log = logging.getLogger("talo.django")


def arm() -> None:
    """Have every worker of this process care for its connections. Idempotent."""
    signals.worker_init.connect(_in_supervisor, weak=False, dispatch_uid="talo.django.connections")
    signals.worker_process_init.connect(_in_child, weak=False, dispatch_uid="talo.django.connections")


def refresh() -> None:
    """Close this thread's connections that are broken or older than ``CONN_MAX_AGE``, and have the others checked
    before their next query."""
    for connection in connections.all(initialized_only=True):
        connection.queries_log.clear()
        if connection.connection is None:
            continue
        connection.close_if_unusable_or_obsolete()
        if connection.connection is not None and not connection.in_atomic_block:
            # As with CONN_HEALTH_CHECKS: asked when a query comes, so a task without queries costs nothing.
            connection.health_check_enabled = True
            connection.health_check_done = False


def close_all() -> int:
    """Close every connection and connection pool of this thread; return how many connections were open."""
    count = 0
    for connection in connections.all(initialized_only=True):
        count += connection.connection is not None
        connection.close()
        # Django 5.1 and newer keep psycopg's pools with the wrapper of the alias.
        if close_pool := getattr(connection, "close_pool", None):
            close_pool()
    return count


def _in_supervisor(**_more: Any) -> None:
    supervisor = os.getpid()

    def before_fork() -> None:
        # The handlers are inherited; a task that forks by itself answers for its own connections.
        if os.getpid() == supervisor and (count := close_all()):
            log.info("Closed %d database connections: none may cross a fork", count, extra={"action": "fork"})

    os.register_at_fork(before=before_fork)
    _watch_tasks()


def _in_child(**_more: Any) -> None:
    _watch_tasks()


def _watch_tasks() -> None:
    signals.task_prerun.connect(_around, weak=False, dispatch_uid="talo.django.connections")
    signals.task_postrun.connect(_around, weak=False, dispatch_uid="talo.django.connections")


def _around(task: Any, **_more: Any) -> None:
    if task.request.is_eager:
        return  # inside a request or another task, whose connections they are
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        refresh()
    else:
        # Where Django's async ORM has its connections. First come, first served: before the coroutine's next query.
        SyncToAsync.single_thread_executor.submit(refresh).add_done_callback(_tell_failure)


def _tell_failure(done: Future[None]) -> None:
    if (exc := done.exception()) is not None:
        log.error("A database connection could not be looked after: %r", exc, exc_info=exc)
