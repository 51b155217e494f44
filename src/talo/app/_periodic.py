"""The app's side of periodic tasks: ``add_periodic_task``, and messages for beat to send.

Owns the translation of a call into an entry of ``beat_schedule``; running entries is ``beat``'s. A part of ``app.app``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from talo.app._configure import Sources
from talo.app.send import Sender
from talo.canvas.signature import Signature
from talo.wire.message import Message
from talo.wire.repr import saferepr

__all__ = ["PeriodicTasks", "periodic_entry"]


class PeriodicTasks:
    """What an app offers for periodic tasks."""

    _sender: Sender
    _sources: Sources
    _tasks: Any
    _periodic: dict[str, Any]

    def add_periodic_task(
        self, schedule: Any, sig: Any, args: Any = (), kwargs: Any = (), name: str | None = None, **opts: Any
    ) -> str:
        """Add an entry to the setting ``beat_schedule``; return its name (default: the call as text).

        ``sig`` is a signature or a task. Before the app is configured the entry waits for it, so modules may call
        this while they are imported.
        """
        key, entry = periodic_entry(schedule, sig, args, kwargs, name, opts)
        if self._sources.loaded:
            self._sources.conf.beat_schedule[key] = entry
        else:
            self._periodic[key] = entry
        return key

    def _add_waiting_periodic_tasks(self) -> None:
        if self._periodic:
            self._sources.conf.beat_schedule.update(self._periodic)
            self._periodic = {}

    def hold(
        self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any]
    ) -> tuple[list[Message], Callable[[], None]]:
        """The messages of one call for somebody who sends them in a step of his own, and what to call once they are
        sent. Receivers of ``before_task_publish`` have seen them."""
        if "task_type" not in options and (task := self._tasks.get(name)) is not None:
            options = {**task.send_defaults, **options, "task_type": task}
        return self._sender.hold(name, args, kwargs, options)


def periodic_entry(
    schedule: Any, sig: Any, args: Any, kwargs: Any, name: str | None, options: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """(name, entry) of one call. ``TypeError`` for what is no signature and no task."""
    if isinstance(sig, Signature):
        sig = sig.clone(args, dict(kwargs)) if args or kwargs else sig
        task, args, kwargs, options = sig.task, sig.args, sig.kwargs, {**sig.options, **options}
    elif isinstance(getattr(sig, "name", None), str):
        task = sig.name
    else:
        raise TypeError(f"add_periodic_task takes a signature or a task, not {sig!r}")
    entry = {
        "schedule": schedule,
        "task": task,
        "args": tuple(args or ()),
        "kwargs": dict(kwargs or {}),
        "options": dict(options),
    }
    shown = [saferepr(arg) for arg in entry["args"]] + [f"{k}={saferepr(v)}" for k, v in entry["kwargs"].items()]
    return name or f"{task}({', '.join(shown)})", entry
