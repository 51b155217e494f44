"""What is known of one call of Django's Tasks framework, and where it is kept.

Owns the record beside the task's result: Talo's result says how it ended, the record what was asked for and who began
it when. Both are in the result store, under the task's id. Called by ``backend`` (sender, reader) and ``_task_runs``
(worker).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from talo import states
from talo.app.app import Talo
from talo.app.result import AsyncResult
from talo.django._framework import DoesNotExist, Task, TaskError, TaskResult, TaskResultStatus, task_backends
from talo.stores.base import ResultMeta
from talo.util.names import import_path
from talo.wire.results import decode_result, encode_result
from talo.wire.sealed import masked

__all__ = ["HEADER", "TaskRecord", "as_header", "keep", "read", "result_of", "task_of"]

#: The message header that carries the record to the worker.
HEADER = "django_task"
_FAILED = frozenset({states.FAILURE, states.REVOKED, states.REJECTED})


class TaskRecord(msgspec.Struct, kw_only=True):
    """One call. Moments are aware."""

    path: str
    backend: str
    queue_name: str
    priority: int
    enqueued_at: dt.datetime
    run_after: dt.datetime | None = None
    takes_context: bool = False
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    started_at: dt.datetime | None = None
    last_attempted_at: dt.datetime | None = None
    worker_ids: list[str] = []


def as_header(record: TaskRecord) -> Any:
    """Return the record as a message carries it."""
    return msgspec.to_builtins(record, enc_hook=str)  # sealed arguments are texts


def keep(app: Talo, task_id: str, record: TaskRecord) -> None:
    """Store the record, for as long as results are kept. Nothing is kept where results are disabled."""
    if app.result_store is None:
        return
    name = _name(task_id)
    payload = encode_result(name, states.STARTED, as_header(record))
    kept = ResultMeta(task_id=name, status=states.STARTED, payload=payload, expires=_seconds(app.conf.result_expires))
    app.backend.store([kept])


def read(app: Talo, task_id: str) -> TaskRecord:
    """Return the record. The framework's error for an id that nobody knows."""
    name = _name(task_id)
    payload = app.backend.get([name]).get(name)
    if payload is None:
        raise DoesNotExist(task_id)
    return msgspec.convert(decode_result(payload, frozenset({"application/json"})).result, TaskRecord)


def result_of(app: Talo, task_id: str, record: TaskRecord) -> Any:
    """Return the framework's result: the record, and how the task ended if it has."""
    found: AsyncResult[Any] = app.AsyncResult(task_id)
    meta = found._get_task_meta()
    state, done = meta["status"], found.date_done
    status = TaskResultStatus.READY
    errors = []
    if state == states.SUCCESS:
        status = TaskResultStatus.SUCCESSFUL
    elif state in _FAILED:
        status = TaskResultStatus.FAILED
        errors.append(TaskError(exception_class_path=_class_path(meta["result"]), traceback=meta["traceback"] or ""))
    elif record.started_at is not None and state != states.RETRY:
        status = TaskResultStatus.RUNNING
    result = TaskResult(
        task=task_of(record),
        id=task_id,
        status=status,
        enqueued_at=record.enqueued_at,
        started_at=record.started_at,
        finished_at=done if status in (TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED) else None,
        last_attempted_at=record.last_attempted_at,
        args=masked(record.args),
        kwargs=masked(record.kwargs),
        backend=record.backend,
        errors=errors,
        worker_ids=record.worker_ids,
    )
    if state == states.SUCCESS:
        # The framework's results are frozen, and this field is no argument of theirs: its own backends set it so.
        object.__setattr__(result, "_return_value", meta["result"])
    return result


def task_of(record: TaskRecord) -> Any:
    """Return the task that was called, with the options of the call. The framework's error for code that is gone."""
    try:
        found = import_path(record.path)
    except (ImportError, AttributeError) as exc:
        raise DoesNotExist(f"the code of {record.path} is gone: {exc}") from exc
    if not isinstance(found, Task):
        # The decorated function has another name than its task.
        kind = task_backends[record.backend].task_class
        return kind(
            func=found,
            backend=record.backend,
            priority=record.priority,
            queue_name=record.queue_name,
            run_after=record.run_after,
            takes_context=record.takes_context,
        )
    return found.using(
        priority=record.priority, queue_name=record.queue_name, run_after=record.run_after, backend=record.backend
    )


def _class_path(exc: Any) -> str:
    """Where an exception's class is, whether or not it can be imported here."""
    kind = type(exc)
    return f"{kind.__module__}.{kind.__qualname__}"


def _name(task_id: str) -> str:
    return f"{task_id}:task"


def _seconds(expires: Any) -> float | None:
    return expires.total_seconds() if isinstance(expires, dt.timedelta) else expires
