"""Module-level state that old code reads: the registry of the current app, the stack of tasks, revoked ids.

Owns proxies over the current app and the running task; nothing is kept here.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from talo.app import current
from talo.app.task import Task
from talo.canvas.signature import Signature
from talo.compat.version import SOFTWARE_INFO
from talo.execution.request import Context, current_frame, enter, leave

__all__ = [
    "SOFTWARE_INFO",
    "CallableSignature",
    "CallableTask",
    "active_requests",
    "connect_on_app_finalize",
    "connections",
    "default_app",
    "disable_trace",
    "enable_trace",
    "establish_connection",
    "get_current_worker_task",
    "get_default_logger",
    "maybe_declare",
    "pop_current_task",
    "producers",
    "publisher",
    "push_current_task",
    "reserved_requests",
    "revoked",
    "send_task",
    "setup_logging_subsystem",
    "setup_security",
    "tasks",
    "total_count",
]

CallableTask, CallableSignature = Task, Signature
_tls = threading.local()

tasks: Any = current.Proxy(lambda: current.get_current_app().tasks)
default_app: Any = current.Proxy(current.get_current_app)


class _TaskStack:
    """The stack of running tasks of this thread or coroutine."""

    def __init__(self) -> None:
        self._tokens = threading.local()

    def push(self, task: Any) -> None:
        """Enter a task without a request of its own."""
        tokens = self._tokens.__dict__.setdefault("tokens", [])
        tokens.append(enter(task, Context(called_directly=False)))

    def pop(self) -> Any:
        """Leave the task entered last."""
        tokens = self._tokens.__dict__.get("tokens")
        frame = current_frame()
        if tokens:
            leave(tokens.pop())
        return frame.task if frame is not None else None

    @property
    def top(self) -> Any:
        """The innermost task, or None."""
        frame = current_frame()
        return frame.task if frame is not None else None

    @property
    def stack(self) -> list[Any]:
        """All of them, the outermost first."""
        found: list[Any] = []
        frame = current_frame()
        while frame is not None:
            found.insert(0, frame.task)
            frame = frame.previous
        return found


_task_stack = _TaskStack()
push_current_task = _task_stack.push
pop_current_task = _task_stack.pop


def get_current_worker_task() -> Any:
    """The task that a worker runs here, passing over those that were called as functions."""
    return current.get_current_app().current_worker_task


def connect_on_app_finalize(callback: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Call ``callback(app)`` when any app is finalised."""
    current.share(None, callback)
    return callback


def _get_active_apps() -> list[Any]:
    return current.apps()


def enable_trace() -> None:
    """Nothing to trace."""


disable_trace = enable_trace


def send_task(*args: Any, **kwargs: Any) -> Any:
    """Send by name with the current app."""
    return current.get_current_app().send_task(*args, **kwargs)


def establish_connection(*_args: Any, **_kwargs: Any) -> Any:
    """A connection of the current app."""
    return current.get_current_app().connection()


def publisher(*_args: Any, **_kwargs: Any) -> Any:
    """A producer of the current app."""
    return establish_connection().Producer()


def get_default_logger(*_args: Any, **_kwargs: Any) -> logging.Logger:
    """The logger ``celery``."""
    return logging.getLogger("celery")


def setup_logging_subsystem(*args: Any, **kwargs: Any) -> Any:
    """Set logging up for the current app."""
    return current.get_current_app().log.setup_logging_subsystem(*args, **kwargs)


def setup_security(*args: Any, app: Any = None, **kwargs: Any) -> None:
    """``app.setup_security``, of the current app."""
    (app or current.get_current_app()).setup_security(*args, **kwargs)


def maybe_declare(*_args: Any, **_kwargs: Any) -> bool:
    """Queues exist as soon as something is in them."""
    return False


class _Pools(Mapping[Any, Any]):
    """kombu's pools by connection: all are the current app's."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getitem__(self, connection: Any) -> Any:
        return getattr(current.get_current_app(), self._name)

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


producers = _Pools("producer_pool")
connections = _Pools("pool")


class _Revoked:
    """The ids that are revoked, as the store has them."""

    def _locks(self) -> Any:
        store = current.get_current_app().state_store
        return None if store is None else store.locks

    def __contains__(self, task_id: object) -> bool:
        locks = self._locks()
        return locks is not None and bool(locks.marked("revoked", [str(task_id)]))

    def __iter__(self) -> Iterator[str]:
        locks = self._locks()
        return iter(sorted(locks.all_marked("revoked")) if locks is not None else ())

    def __len__(self) -> int:
        return len(list(iter(self)))

    def add(self, task_id: str) -> None:
        """Revoke one."""
        current.get_current_app().AsyncResult(task_id).revoke()

    def update(self, task_ids: Any) -> None:
        """Revoke several."""
        for task_id in task_ids:
            self.add(task_id)


revoked = _Revoked()
#: Counted by each child for itself: see ``app.control.inspect().stats()``.
total_count: Counter[str] = Counter()
active_requests: set[Any] = set()
reserved_requests: set[Any] = set()
