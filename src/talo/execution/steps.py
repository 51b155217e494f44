"""The steps of a run: small functions over one ``Run``, each doing one thing.

Hooks call what the task overrides, ``tell_*`` sends the signal and writes the log line. ``execution.compile`` chooses
and orders them."""

from __future__ import annotations

import logging
import os
from typing import Any

from talo import signals, states
from talo.errors import Retry
from talo.execution.env import TaskLike
from talo.execution.request import Context
from talo.execution.run import Outcome, Run
from talo.wire.repr import saferepr

__all__ = [
    "call_errbacks",
    "hook_after_return",
    "hook_before_start",
    "hook_on_failure",
    "hook_on_retry",
    "hook_on_success",
    "log",
    "store_started",
    "takes_failure",
    "tell_failure",
    "tell_postrun",
    "tell_prerun",
    "tell_retry",
    "tell_success",
]

#: One logger for what happens to tasks.
log = logging.getLogger("talo.task")


def fields(run: Run, action: str, **more: Any) -> dict[str, Any]:
    """Return the fields that a log line about this run carries."""
    return {"action": action, "task_id": run.request.id, "task_name": run.plan.task.name, **more}


def tell_prerun(run: Run) -> None:
    if signals.task_prerun.receivers:
        request = run.request
        task = run.plan.task
        signals.task_prerun.send(sender=task, task_id=request.id, task=task, args=request.args, kwargs=request.kwargs)


def store_started(run: Run) -> None:
    request = run.request
    if not request.ignore_result and not request.is_eager:
        env = run.plan.env
        env.store_state(str(request.id), states.STARTED, {"pid": os.getpid(), "hostname": request.hostname}, request)


def hook_before_start(run: Run) -> None:
    request = run.request
    run.plan.task.before_start(str(request.id), request.args, request.kwargs)


def hook_on_success(run: Run) -> None:
    request = run.request
    run.plan.task.on_success(run.retval, str(request.id), request.args, request.kwargs)


def tell_success(run: Run) -> None:
    task = run.plan.task
    if signals.task_success.receivers:
        signals.task_success.send(sender=task, result=run.retval, runtime=run.runtime)
    if log.isEnabledFor(logging.INFO):
        log.info(
            "Task %s[%s] succeeded in %ss: %s",
            run.request.shadow or task.name,
            run.request.id,
            run.runtime,
            saferepr(run.retval, task.resultrepr_maxsize, run.plan.env.repr_levels),
            extra=fields(run, "succeeded", runtime=run.runtime),
        )


def hook_on_retry(run: Run) -> None:
    request = run.request
    # The hook gets what the task raised, the signal the Retry made of it.
    reason = run.exc.exc if isinstance(run.exc, Retry) and run.exc.exc is not None else run.exc
    assert reason is not None
    run.plan.task.on_retry(reason, str(request.id), request.args, request.kwargs, run.einfo)


def tell_retry(run: Run) -> None:
    task = run.plan.task
    if signals.task_retry.receivers:
        signals.task_retry.send(sender=task, request=run.request, reason=run.exc, einfo=run.einfo)
    if log.isEnabledFor(logging.INFO):
        log.info(
            "Task %s[%s] retry: %s",
            run.request.shadow or task.name,
            run.request.id,
            run.exc,
            extra=fields(run, "retry", retries=run.request.retries),
        )


def hook_on_failure(run: Run) -> None:
    request = run.request
    assert run.exc is not None
    run.plan.task.on_failure(run.exc, str(request.id), request.args, request.kwargs, run.einfo)


def tell_failure(run: Run) -> None:
    task = run.plan.task
    request = run.request
    exc = run.exc
    assert exc is not None and run.einfo is not None
    if signals.task_failure.receivers:
        signals.task_failure.send(
            sender=task,
            task_id=request.id,
            exception=exc,
            args=request.args,
            kwargs=request.kwargs,
            traceback=exc.__traceback__,
            einfo=run.einfo,
        )
    expected = bool(task.throws) and isinstance(exc, task.throws)
    log.log(
        logging.INFO if expected else logging.ERROR,
        "Task %s[%s] raised %s: %r%s",
        request.shadow or task.name,
        request.id,
        "expected" if expected else "unexpected",
        exc,
        "" if expected else f"\n{run.einfo.traceback}",
        extra=fields(run, "failed", exception=repr(exc)),
    )


def call_errbacks(run: Run) -> None:
    """Call in place the error callbacks that take (request, exception, traceback); the others are sent with the
    settlement."""
    for signature in run.call.errbacks or ():
        task = run.plan.env.tasks.get(signature["task"])
        if task is None or not takes_failure(task):
            continue
        args = signature.get("args") or ()
        kwargs = signature.get("kwargs") or {}
        try:
            if signature.get("immutable"):
                task(*args, **kwargs)
            else:
                assert run.einfo is not None
                task(run.request, run.exc, run.einfo.traceback, *args, **kwargs)
        except Exception as exc:
            log.error(
                "Error callback %s failed: %r", signature["task"], exc, exc_info=True, extra=fields(run, "errback")
            )


def takes_failure(task: TaskLike) -> bool:
    """Whether an error callback takes (request, exception, traceback) rather than one task id: it has more than one
    positional parameter."""
    return positional_parameters(task.run) > 1


def positional_parameters(function: Any) -> int:
    """Return how many positional arguments a function takes at most; ``*args`` counts as many. ``self`` of a method
    does not count."""
    function = getattr(function, "opens", function)
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None:
        return 0
    if code.co_flags & 0x04:
        return 99
    return int(code.co_argcount) - (1 if hasattr(function, "__self__") else 0)


def hook_after_return(run: Run) -> None:
    if run.outcome not in (Outcome.SUCCESS, Outcome.FAILURE):
        return  # it has not returned for good, or wants nothing to be made of it
    request = run.request
    value = run.retval if run.exc is None else run.exc
    run.plan.task.after_return(run.outcome.value, value, str(request.id), request.args, request.kwargs, run.einfo)


def tell_postrun(run: Run) -> None:
    if signals.task_postrun.receivers:
        request: Context = run.request
        task = run.plan.task
        signals.task_postrun.send(
            sender=task,
            task_id=request.id,
            task=task,
            args=request.args,
            kwargs=request.kwargs,
            retval=run.retval if run.exc is None else run.exc,
            state=run.outcome.value,
        )
    if run.exc is not None:
        _tell_other_end(run)


def _tell_other_end(run: Run) -> None:
    """Tell of an end that is neither success, retry nor failure."""
    name = run.request.shadow or run.plan.task.name
    outcome = run.outcome.name
    if outcome == "IGNORED":
        log.info("Task %s[%s] ignored", name, run.request.id, extra=fields(run, "ignored"))
    elif outcome == "REJECTED":
        log.warning("Task %s[%s] %r", name, run.request.id, run.exc, extra=fields(run, "rejected"))
    elif outcome == "REVOKED":
        if signals.task_revoked.receivers:
            task, request = run.plan.task, run.request
            signals.task_revoked.send(sender=task, request=request, terminated=True, signum=15, expired=False)
        log.info("Task %s[%s] terminated", name, run.request.id, extra=fields(run, "terminated"))
