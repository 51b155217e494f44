"""Which steps a task needs, chosen once when the app is finalised.

Owns ``Plan`` and the choice; the steps themselves are in ``execution.steps``. A hook that a task does not override, a
limit it does not have, cost a run nothing. Called by ``worker.child`` and ``execution.eager``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from talo.execution import steps
from talo.execution.env import Env, TaskLike
from talo.execution.limits import Limits
from talo.execution.run import Run

__all__ = ["Plan", "compile_plan"]

Step = Callable[[Run], None]


class Plan:
    """A task with the steps of its runs. Immutable once built."""

    __slots__ = (
        "after",
        "after_loss",
        "around",
        "before",
        "env",
        "frames",
        "function",
        "ignore_result",
        "is_async",
        "limits",
        "on_failure",
        "on_late_failure",
        "on_retry",
        "on_success",
        "secret",
        "takes",
        "task",
    )

    def __init__(self, task: TaskLike, env: Env) -> None:
        self.task = task
        self.env = env
        self.is_async = inspect.iscoroutinefunction(task.run)
        # What goes around the runs may replace the function, so it is asked first.
        self.around = env.around(task)
        self.takes = env.takes(task)
        self.function: Callable[..., Any] = task if _custom(task, "__call__") else task.run
        #: Whether it takes secret arguments.
        self.secret = task.name in env.secrets.marks
        #: Frames of ours above the function's first one.
        self.frames = 2 if hasattr(self.function, "opens") else 1
        #: What holds where the message does not say otherwise; read once, since a worker's settings do not change.
        self.limits = Limits(task.time_limit or None, task.soft_time_limit or None)
        self.ignore_result = task.ignore_result
        self.before: tuple[Step, ...] = self._chosen(
            (True, steps.tell_prerun),
            (task.track_started, steps.store_started),
            (_custom(task, "before_start"), steps.hook_before_start),
        )
        self.on_success: tuple[Step, ...] = self._chosen(
            (_custom(task, "on_success"), steps.hook_on_success),
            (True, steps.tell_success),
        )
        self.on_retry: tuple[Step, ...] = self._chosen(
            (_custom(task, "on_retry"), steps.hook_on_retry),
            (True, steps.tell_retry),
        )
        self.on_failure: tuple[Step, ...] = self._chosen(
            (_custom(task, "on_failure"), steps.hook_on_failure),
            (True, steps.tell_failure),
            (True, steps.call_errbacks),
        )
        #: For a run that turns out to have failed when its end is written: its hooks have had their word.
        self.on_late_failure: tuple[Step, ...] = (steps.tell_failure, steps.call_errbacks)
        #: After a run whose process is dead.
        self.after_loss: tuple[Step, ...] = self._chosen((_custom(task, "after_return"), steps.hook_after_return))
        self.after: tuple[Step, ...] = (*self.after_loss, steps.tell_postrun)

    @staticmethod
    def _chosen(*choices: tuple[bool, Step]) -> tuple[Step, ...]:
        return tuple(step for wanted, step in choices if wanted)

    def __repr__(self) -> str:
        return f"<Plan: {self.task.name}>"


def compile_plan(task: TaskLike, env: Env) -> Plan:
    """Return the plan of a task."""
    return Plan(task, env)


def _custom(task: TaskLike, name: str) -> bool:
    """Whether the task's class, or the object itself, overrides a method that is marked ``talo_default`` in the base
    class."""
    if name != "__call__" and name in vars(task):
        return True
    return not getattr(getattr(type(task), name), "talo_default", False)
