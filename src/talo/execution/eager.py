"""Running a task here and now, on the same steps as a worker's: ``Task.apply`` and ``task_always_eager``.

What a worker would send (callbacks, the next step, the retry) is run here too, one after the other. Called by
``app.task``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from talo import states
from talo.canvas.advance import Sending
from talo.errors import NotRegistered, Retry
from talo.execution.compile import compile_plan
from talo.execution.env import Env, TaskLike
from talo.execution.request import Context
from talo.execution.retry import Again
from talo.execution.run import Outcome, Run, call_sync
from talo.execution.settle import succession
from talo.util.optional import load
from talo.wire.protocol import Call

__all__ = ["EagerOutcome", "apply_eager"]


class EagerOutcome(NamedTuple):
    """How an eager call ended. ``result`` is the return value, or the exception."""

    id: str
    state: str
    result: Any
    traceback: str | None


def apply_eager(
    task: TaskLike,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    env: Env,
    *,
    task_id: str | None = None,
    link: Sequence[Any] | None = None,
    link_error: Sequence[Any] | None = None,
    retries: int = 0,
    throw: bool = False,
    headers: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> EagerOutcome:
    """Run a task and all that follows from it; return how the task itself ended. With ``throw`` its exception is
    raised."""
    options = options or {}
    task_id = task_id or str(uuid.uuid4())
    all_headers: dict[str, Any] = {
        "task": task.name,
        "id": task_id,
        "root_id": options.get("root_id") or task_id,
        "parent_id": options.get("parent_id"),
        "group": options.get("group_id"),
        "group_index": options.get("group_index"),
        "ignore_result": options.get("ignore_result"),
        **(headers or {}),
    }
    call = Call(
        task=task.name,
        id=task_id,
        args=list(args),
        kwargs=dict(kwargs),
        callbacks=list(link or ()),
        errbacks=list(link_error or ()),
        chain=list(options.get("chain") or ()),
        chord=options.get("chord"),
        headers=all_headers,
        retries=retries,
        expires=None,
        eta=None,
        timelimit=(None, None),
    )
    run = _run_until_it_ends(task, call, env)
    for sending in succession(run):
        _apply(sending, env)
    if throw and run.outcome in (Outcome.FAILURE, Outcome.REVOKED) and run.exc is not None:
        raise run.exc
    state = states.IGNORED if run.outcome is Outcome.IGNORED else run.outcome.value
    result = run.retval if run.outcome is Outcome.SUCCESS else run.exc
    return EagerOutcome(task_id, state, result, run.einfo.traceback if run.einfo is not None else None)


def _run_until_it_ends(task: TaskLike, call: Call, env: Env) -> Run:
    """Run, and retry at once for as long as the task asks for it."""
    plan = compile_plan(task, env)
    while True:
        run = Run(plan, call, _context_of(call, task, env))
        if plan.is_async:
            # Only who calls a coroutine task has to have asyncio, which takes longer to import than all of Talo.
            load("talo.execution.aio").call_blocking(run)
        else:
            call_sync(run)
        if run.outcome is not Outcome.RETRY:
            return run
        assert isinstance(run.exc, Retry)
        again = run.exc.sig
        assert isinstance(again, Again)
        call = msgspec.structs.replace(
            call,
            args=call.args if again.args is None else list(again.args),
            kwargs=call.kwargs if again.kwargs is None else dict(again.kwargs),
            retries=again.retries,
        )


def _context_of(call: Call, task: TaskLike, env: Env) -> Context:
    env.secrets.arrive(call, env.repr_levels)
    ignore = call.headers.get("ignore_result")
    return Context.of(
        {
            **call.headers,
            "args": call.args,
            "kwargs": call.kwargs,
            "callbacks": call.callbacks,
            "errbacks": call.errbacks,
            "chain": call.chain,
            "chord": call.chord,
            "called_directly": False,
            "is_eager": True,
            "hostname": env.hostname,
            "retries": call.retries,
            "message_headers": call.headers,
            "ignore_result": task.ignore_result if ignore is None else ignore,
            "delivery_info": {"is_eager": True, "exchange": None, "routing_key": None, "priority": None},
        }
    )


def _apply(sending: Sending, env: Env) -> None:
    task = env.tasks.get(sending.name)
    if task is None:
        raise NotRegistered(sending.name)
    options = sending.options
    apply_eager(
        task,
        sending.args,
        sending.kwargs,
        env,
        task_id=options.get("task_id"),
        link=options.get("link"),
        link_error=options.get("link_error"),
        options=options,
    )
