"""A worker inside of a test: a thread of the test's own process.

Owns its life around a block. It is the very child that workers run, with the pool ``solo``; signals, supervisor and
time limits by force are what it does not have.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from talo import signals
from talo.compat.testing import tasks
from talo.errors import TimeoutError
from talo.testing.local import LocalWorker

__all__ = ["WORKER_LOGLEVEL", "TestWorkController", "start_worker"]

WORKER_LOGLEVEL = "ERROR"

test_worker_starting = signals.worker_init
test_worker_started = signals.worker_ready
test_worker_stopped = signals.worker_shutdown


class TestWorkController(LocalWorker):
    """The worker of a test."""

    __test__ = False


@contextmanager
def start_worker(
    app: Any,
    concurrency: int = 1,
    pool: str = "solo",
    loglevel: Any = WORKER_LOGLEVEL,
    logfile: str | None = None,
    perform_ping_check: bool = True,
    ping_task_timeout: float = 10.0,
    shutdown_timeout: float = 10.0,
    **kwargs: Any,
) -> Iterator[Any]:
    """A worker that runs the app's tasks inside the block; its app stays the current one. ``TimeoutError`` if it does
    not answer a ping."""
    del logfile, pool, kwargs
    logging.getLogger("talo").setLevel(loglevel if isinstance(loglevel, int) else loglevel.upper())
    app.set_current()
    app.set_default()
    worker = TestWorkController(app, concurrency=concurrency)
    worker.start()
    try:
        if perform_ping_check:
            result = app.tasks[tasks.ping.name].delay()
            if result.get(timeout=ping_task_timeout, disable_sync_subtasks=False) != "pong":
                raise TimeoutError("the test worker did not answer the ping")
        yield worker
    finally:
        worker.stop(shutdown_timeout)
