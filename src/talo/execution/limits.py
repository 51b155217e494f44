"""Time limits and other reasons to interrupt a run: which apply, and what is raised in the task.

Owns the rules only. How an exception gets into a running task is the pool's (a signal, an asynchronous exception, a
thrown coroutine)."""

from __future__ import annotations

from typing import NamedTuple

from talo.execution.env import TaskLike

__all__ = ["HandedBack", "Limits", "limits_of"]


class HandedBack(BaseException):
    """Raised in a task that the worker's stop interrupts: it ends nowhere, and its message goes back uncharged."""


class Limits(NamedTuple):
    """Seconds from the start of the run; None where there is no limit."""

    hard: float | None
    soft: float | None


NO_LIMITS = Limits(None, None)


def limits_of(task: TaskLike, timelimit: tuple[float | None, float | None] | None) -> Limits:
    """Return the limits of one run: the message's where it has any, else the task's."""
    hard, soft = timelimit or (None, None)
    if hard is None:
        hard = task.time_limit
    if soft is None:
        soft = task.soft_time_limit
    if hard is None and soft is None:
        return NO_LIMITS
    return Limits(hard or None, soft or None)
