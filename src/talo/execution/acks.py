"""Acknowledgement in Celery's words: what ``acks_late`` and ``acks_on_*`` mean for a message whose task has failed.

Owns the one rule, which ``execution.settle`` follows and ``worker.rules`` tells. That a task without late
acknowledgement never starts twice is ``at_most_once``'s, which the app decides."""

from __future__ import annotations

from talo.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from talo.execution.env import TaskLike

__all__ = ["keeps"]


def keeps(task: TaskLike, exc: BaseException | None = None) -> bool:
    """Return whether the task's options on acknowledgement keep the message of a failure by ``exc``."""
    if not task.acks_late:
        return False
    timeout = isinstance(exc, SoftTimeLimitExceeded | TimeLimitExceeded)
    acks = task.acks_on_timeout if timeout else task.acks_on_failure
    return not (task.acks_on_failure_or_timeout if acks is None else acks)
