"""Running what was enqueued through Django's Tasks framework.

Owns Talo's tasks for it: one per function in the ``tasks`` of an installed app, under the function's own path, and
``talo.django.run`` for all others, which any worker can import. The framework's signals and context are told here.
Called by the worker; made by ``backend``.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django.apps import apps
from django.utils import timezone

from talo import shared_task
from talo.app.app import Talo
from talo.django._framework import (
    TaskContext,
    TaskError,
    TaskResultStatus,
    normalize_json,
    task_backends,
    task_finished,
    task_started,
)
from talo.django._task_records import HEADER, TaskRecord, keep, read, result_of, task_of
from talo.errors import ImproperlyConfigured
from talo.execution.secrets import marks_of

__all__ = ["RUN", "name_for"]

#: Runs functions that no worker finds by itself.
RUN = "talo.django.run"
_made: set[str] = set()


def name_for(task: Any) -> str:
    """Return the name of Talo's task that runs a task of the framework's; it exists from now on."""
    path: str = task.module_path
    package, _, module = task.func.__module__.rpartition(".")
    secret = marks_of(task.func, path) is not None
    if module != "tasks" or not any(config.name == package for config in apps.get_app_configs()):
        if secret:
            raise ImproperlyConfigured(
                f"{path} takes secret arguments: define it in the module tasks of an installed app, so that workers "
                f"know it by its own name"
            )
        return RUN
    if path not in _made:
        _made.add(path)
        body = _like(task, _body(task.func)) if secret else _body(task.func)
        shared_task(name=path, bind=True, ignore_result=False, typing=not secret)(body)
    return path


def _like(task: Any, body: Callable[..., Any]) -> Callable[..., Any]:
    """Return a body whose parameters are those of the function, so that it is known which of them are secret."""
    run: Any
    if inspect.iscoroutinefunction(body):

        async def run(*args: Any, **kwargs: Any) -> Any:
            return await body(*args, **kwargs)
    else:

        def run(*args: Any, **kwargs: Any) -> Any:
            return body(*args, **kwargs)

    functools.update_wrapper(run, task.func)
    parameters = list(inspect.signature(task.func).parameters.values())[1 if task.takes_context else 0 :]
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    run.__signature__ = inspect.Signature([own, *parameters])
    return run


def _body(func: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(func):

        async def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            attempt = await sync_to_async(_Attempt)(self)
            try:
                answer = normalize_json(await attempt.task.func(*attempt.leading, *args, **kwargs))
            except BaseException as exc:
                await sync_to_async(attempt.failed)(exc)
                raise
            await sync_to_async(attempt.done)(answer)
            return answer

        return run
    return _run


def _run(self: Any, *args: Any, **kwargs: Any) -> Any:
    attempt = _Attempt(self)
    try:
        # Of a coroutine function the framework runs the coroutine to its end.
        answer = normalize_json(attempt.task.call(*attempt.leading, *args, **kwargs))
    except BaseException as exc:
        attempt.failed(exc)
        raise
    attempt.done(answer)
    return answer


shared_task(name=RUN, bind=True, ignore_result=False)(_run)


class _Attempt:
    """One run: it has begun, and the framework has been told so."""

    def __init__(self, task: Any) -> None:
        request, app = task.request, task.app
        record = _record_of(app, request)
        now = timezone.now() if timezone.is_aware(record.enqueued_at) else record.enqueued_at
        record.started_at = record.started_at or now
        record.last_attempted_at = now
        record.worker_ids = [*record.worker_ids, request.hostname or ""]
        keep(app, request.id, record)
        self.task = task_of(record)
        self._sender = type(task_backends[record.backend])
        self._result = result_of(app, request.id, record)
        self._set(status=TaskResultStatus.RUNNING)
        self.leading = (TaskContext(task_result=self._result),) if self.task.takes_context else ()
        task_started.send(sender=self._sender, task_result=self._result)

    def done(self, answer: Any) -> None:
        """It has returned; what it returned is stored by the settlement."""
        self._set(status=TaskResultStatus.SUCCESSFUL, finished_at=timezone.now(), _return_value=answer)
        task_finished.send(sender=self._sender, task_result=self._result)

    def failed(self, exc: BaseException) -> None:
        """It has raised."""
        kind = type(exc)
        lines = traceback.format_exception(exc)
        error = TaskError(exception_class_path=f"{kind.__module__}.{kind.__qualname__}", traceback="".join(lines))
        self._set(status=TaskResultStatus.FAILED, finished_at=timezone.now(), errors=[error])
        task_finished.send(sender=self._sender, task_result=self._result)

    def _set(self, **fields: Any) -> None:
        # The framework's results are frozen; its own backends write them so, too.
        for name, value in fields.items():
            object.__setattr__(self._result, name, value)


def _record_of(app: Talo, request: Any) -> TaskRecord:
    """What the message says; of a later attempt what the earlier ones have added."""
    if request.retries or (request.delivery_info or {}).get("redelivered"):
        return read(app, request.id)
    return msgspec.convert(request.get(HEADER), TaskRecord, strict=False)
