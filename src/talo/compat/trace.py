"""``celery.app.trace``: where plug-ins put themselves around every run of a task.

Owns the seam. Sentry's SDK and its like replace ``build_tracer``; the replacement is looked up when a child first gets
a message of the task, is given a tracer that runs what the pool runs, and what it returns is called for each run.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from talo.execution.request import Context
from talo.execution.run import Outcome, Run

__all__ = ["around", "build_tracer", "info", "logger", "task_has_custom", "trace_ok_t", "trace_task"]

logger = logging.getLogger("celery.app.trace")
info = logger.info

#: What is around the run that this process is about to make, by the id that the tracer is called with.
_calls: dict[str, tuple[Callable[[Run], None], Run]] = {}


class trace_ok_t(NamedTuple):
    """What a tracer returns."""

    retval: Any
    info: Any
    runtime: float
    retstr: str | None


def build_tracer(name: str, task: Any, *_args: Any, **_kwargs: Any) -> Callable[..., trace_ok_t]:
    """Return ``trace(uuid, args, kwargs, request)``, which runs the task of the message at hand."""
    del name

    def trace(uuid: str, args: Any, kwargs: Any, request: Any = None) -> trace_ok_t:
        known = _calls.pop(uuid, None)
        if known is None:
            # Called by hand, outside of a worker.
            result = task.apply(args, kwargs, task_id=uuid)
            return trace_ok_t(result.result, None, 0.0, None)
        call, run = known
        call(run)
        failed = run.outcome is not Outcome.SUCCESS
        return trace_ok_t(run.exc if failed else run.retval, run.einfo, run.runtime, None)

    return trace


def around(app: Any, task: Any) -> Callable[[Run, Callable[[Run], None]], None] | None:
    """Return what runs a run inside of what a plug-in made of the tracer; None if nobody has replaced it."""
    module = sys.modules.get("celery.app.trace")
    build = vars(module).get("build_tracer", build_tracer) if module is not None else build_tracer
    if build is build_tracer:
        return None
    tracer = build(task.name, task, app=app)

    def inside(run: Run, call: Callable[[Run], None]) -> None:
        uuid = str(run.request.id)
        _calls[uuid] = (call, run)
        try:
            tracer(uuid, run.call.args, run.call.kwargs, _Raw(vars(run.request), run.request))
        finally:
            _calls.pop(uuid, None)

    return inside


class _Raw(dict[str, Any]):
    """A request as a plain dict, with the headers that its sender added under ``headers``."""

    def __init__(self, fields: dict[str, Any], request: Context) -> None:
        super().__init__(fields)
        self["headers"] = request.headers


def task_has_custom(task: Any, attr: str) -> bool:
    """Whether a task's class, or the task, overrides a method of the base class."""
    if attr in vars(task):
        return True
    return not getattr(getattr(type(task), attr), "talo_default", False)


def trace_task(task: Any, uuid: str, args: Any, kwargs: Any, request: Any = None, **_opts: Any) -> trace_ok_t:
    """Run a task here and now, as eager mode does."""
    del request
    result = task.apply(args, kwargs, task_id=uuid)
    return trace_ok_t(result.result, None, 0.0, None)
