"""Time limits and other reasons to interrupt a run: which apply, and what is raised in the task.

Owns the rules only. How an exception gets into a running task is the pool's (a signal, an asynchronous exception, a
thrown coroutine)."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["HandedBack", "Killed", "Limits", "limits_of"]


class HandedBack(BaseException):
    """Raised in a task that the worker's stop interrupts: it ends nowhere, and its message goes back uncharged."""


class Killed(BaseException):
    """Raised in a task at its hard limit where its process is not killed: the run has no end of its own, and is told
    and settled as that of a dead process."""


class Limits(NamedTuple):
    """Seconds from the start of the run; None where there is no limit."""

    hard: float | None
    soft: float | None


def limits_of(task: Limits, message: tuple[float | None, float | None] | None) -> Limits:
    """Return the limits of one run: the message's where it has any, else the task's."""
    if message is None or message == (None, None):
        return task
    hard, soft = message
    return Limits(task.hard if hard is None else hard or None, task.soft if soft is None else soft or None)
