"""Whether, when and as what a task is tried again: one policy for every cause.

Pure but for chance. ``plan`` serves ``Task.retry``; ``planned_for`` the exceptions of ``autoretry_for``; ``backoff``
both, and the messages of dead workers. Sending is not done here: the plan goes into the settlement that closes the
attempt."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any, NamedTuple

from talo.errors import MaxRetriesExceededError, Retry, WorkerLostError
from talo.execution.env import TaskLike
from talo.execution.request import Context

__all__ = ["Again", "backoff", "plan", "planned_for"]


class Again(NamedTuple):
    """The next attempt. ``args`` and ``kwargs`` are None where they stay as they were; ``due`` is in epoch seconds."""

    retries: int
    due: float
    args: Any = None
    kwargs: Any = None
    #: Options of ``apply_async`` that differ from the first sending.
    options: dict[str, Any] | None = None


def backoff(task: TaskLike, attempt: int) -> float:
    """Return the seconds to wait before retry number ``attempt`` (0 for the first), by the task's own policy.

    Exponential from ``retry_backoff`` seconds up to ``retry_backoff_max``; with ``retry_jitter`` uniform between 0
    and that ("full jitter", Brooker 2015). Without back-off it is ``default_retry_delay``."""
    if not task.retry_backoff:
        return float(task.default_retry_delay)
    factor = max(1.0, float(task.retry_backoff))
    delay: float = min(float(task.retry_backoff_max), factor * 2.0 ** min(attempt, 62))
    return random.uniform(0.0, delay) if task.retry_jitter else delay


def plan(
    task: TaskLike,
    request: Context,
    now: float,
    *,
    args: Any = None,
    kwargs: Any = None,
    exc: BaseException | None = None,
    throw: bool = True,
    eta: dt.datetime | None = None,
    countdown: float | None = None,
    max_retries: int | None = None,
    options: dict[str, Any] | None = None,
) -> Retry:
    """Plan the next attempt of the run that ``request`` describes, at ``now`` (epoch seconds).

    Raises ``Retry`` (or returns it with ``throw=False``); ``exc``, or ``MaxRetriesExceededError``, when the retries
    are used up; ``exc`` itself when the task was called as a plain function."""
    if request.called_directly:
        raise exc or Retry("Task can be retried", None)
    limit = max_retries if max_retries is not None else getattr(task, "override_max_retries", task.max_retries)
    retries = request.retries + 1
    if limit is not None and retries > limit:
        raise exc or MaxRetriesExceededError(
            f"Can't retry {task.name}[{request.id}] args:{request.args} kwargs:{request.kwargs}",
            task_args=request.args,
            task_kwargs=request.kwargs,
        )
    if eta is not None:
        due = (eta if eta.tzinfo else eta.replace(tzinfo=dt.UTC)).timestamp()
    else:
        if countdown is None:
            countdown = task.default_retry_delay
        due = now + countdown
    again = Again(retries, due, args, kwargs, options or None)
    retry = Retry(exc=exc, when=eta if eta is not None else countdown, is_eager=request.is_eager, sig=again)
    if throw:
        raise retry from exc
    request.update(pending_retry=retry)
    return retry


def planned_for(task: TaskLike, request: Context, exc: BaseException, now: float) -> Retry | None:
    """Return the retry that ``autoretry_for`` (or ``retry_on_worker_lost``) asks for this exception, or None when the
    failure stands."""
    if not (task.autoretry_for and isinstance(exc, task.autoretry_for)) and not (
        task.retry_on_worker_lost and isinstance(exc, WorkerLostError)
    ):
        return None
    if isinstance(exc, task.dont_autoretry_for):
        return None
    settings = dict(task.retry_kwargs or {})
    countdown = settings.pop("countdown", None)
    if task.retry_backoff:
        countdown = backoff(task, request.retries)
    limit = settings.pop("max_retries", None)
    limit = getattr(task, "override_max_retries", limit)
    frames = exc.__traceback__
    try:
        plan(
            task,
            request,
            now,
            exc=exc,
            countdown=countdown,
            eta=settings.pop("eta", None),
            max_retries=limit,
            options=settings,
        )
    except Retry as retry:
        return retry
    except BaseException as final:
        if final is exc:
            # It was raised again to say so; its traceback is to end, and to begin, where the task's own frames do.
            exc.__traceback__ = frames
            return None
        raise
    raise AssertionError("a plan either raises Retry or the failure")
