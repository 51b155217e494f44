"""``celery.worker`` under the alias: the worker's parts that applications name, and the running of their bootsteps.

Owns stand-ins. Talo's worker is ``talo.worker``; nothing here runs tasks.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from talo.compat.absent import refuse
from talo.compat.bootsteps import ordered
from talo.compat.strategy import BasePool, Consumer, Timer
from talo.worker.main import run_worker

__all__ = ["Agent", "Autoscaler", "Pool", "Steps", "TaskPool", "WorkController"]

log = logging.getLogger("celery.worker")


class WorkController:
    """The worker as bootsteps and signal receivers see it: its app, its name, its timer."""

    app: Any = None

    def __init__(self, app: Any = None, hostname: str | None = None, **_kwargs: Any) -> None:
        self.app = app or self.app
        self.hostname = hostname or f"celery@{os.uname().nodename}"
        self.timer = Timer()
        self.pool = BasePool()
        self.consumer = Consumer(self.app, self.hostname)
        self.consumer.controller = self
        self.steps: list[Any] = []
        self.pid = os.getpid()

    def start(self) -> None:
        """Run a worker in this process."""
        run_worker(self.app, hostname=self.hostname)

    def stop(self, **_kwargs: Any) -> None:
        """Refused: a worker is stopped by a signal."""
        refuse("WorkController.stop", "send the worker TERM, or use app.control.shutdown()")


class Steps:
    """The bootsteps of an application, in the agent of its worker. Stopping twice, or before the start, is legal."""

    def __init__(self, app: Any) -> None:
        self._worker = WorkController(app, app.env.hostname)
        self._app = app
        self._started: list[tuple[Any, Any]] = []

    def start(self) -> None:
        """Start them, those that others require first. One that fails is logged, and the others go on."""
        for group, parent in (("worker", self._worker), ("consumer", self._worker.consumer)):
            for cls in ordered(self._app.steps[group]):
                try:
                    self._start(cls, parent)
                except Exception:
                    log.exception("The bootstep %s did not start", getattr(cls, "name", cls))

    def _start(self, cls: Any, parent: Any) -> None:
        step = cls(parent)
        if step.include(parent) and hasattr(step, "start"):
            step.start(parent)
            self._started.append((step, parent))

    def join(self, deadline: float | None = None) -> None:
        """Nothing is left to wait for."""
        del deadline

    def stop(self) -> None:
        """Stop them, the last one first."""
        while self._started:
            step, parent = self._started.pop()
            try:
                step.close(parent)
                step.stop(parent)
            except Exception:
                log.exception("The bootstep %s did not stop", step.name)


class Pool:
    """Stands for each of Celery's own bootsteps in ``requires``; they are there before an application's."""

    name = "celery.worker.components.Pool"


class Autoscaler:
    """``celery.worker.autoscale:Autoscaler``, to be named in settings."""


class Agent:
    """``celery.worker.components:Agent``."""


class TaskPool(BasePool):
    """``celery.concurrency.prefork:TaskPool``, to be subclassed."""


def process_initializer(app: Any, hostname: str) -> None:
    """Called by nobody: connect to ``worker_process_init``."""
    del app, hostname


def process_destructor(pid: int, exitcode: int) -> None:
    """Called by nobody: connect to ``worker_process_shutdown``."""
    del pid, exitcode
