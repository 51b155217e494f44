"""Django Q's signals: before a call is sent, before and after it is run, and when a process begins to run calls.

Owns the signals and the dictionary that stands for a task in them. Called by ``tasks``, ``runs`` and ``apps``.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

import msgspec
from django.dispatch import Signal

from talo.django.q.packing import pack, unpack

if TYPE_CHECKING:
    from talo.django.q.models import Task
    from talo.django.q.runs import Call

__all__ = ["post_execute", "post_execute_in_worker", "post_spawn", "pre_enqueue", "pre_execute"]

log = logging.getLogger("talo.django")

#: ``task``: what it says of the call after the receivers is sent. What a receiver raises, the sender of the call gets.
pre_enqueue = Signal()
#: ``func``, ``task``: the function is called with its ``args`` and ``kwargs``. What a receiver raises ends the task.
pre_execute = Signal()
#: ``func``, ``task``: as soon as the function has ended, with ``result``, ``success``, ``stopped``.
post_execute_in_worker = Signal()
#: ``task``: the same, once what became of it is kept.
post_execute = Signal()
#: ``proc_name``: a process of a worker begins.
post_spawn = Signal()

#: The sender, as Django Q has it.
SENDER = "django_q"
#: What a receiver may change, beside the arguments.
_FIELDS = ("name", "func", "hook", "group", "cluster", "save", "cached", "ack_failure")


def task_of(call: Call, started: dt.datetime) -> dict[str, Any]:
    """A call as the dictionary that receivers get."""
    fields = {name: value for name in _FIELDS if (value := getattr(call, name)) is not None}
    args, kwargs = tuple(unpack(call.args)), unpack(call.kwargs)
    return {"id": call.id, **fields, "args": args, "kwargs": kwargs, "started": started}


def enqueued(call: Call, started: dt.datetime) -> Call:
    """Tell of a call that is about to be sent; return what the receivers made of it."""
    if not pre_enqueue.has_listeners(SENDER):
        return call
    task = task_of(call, started)
    pre_enqueue.send(SENDER, task=task)
    fields = {name: task.get(name) for name in _FIELDS if task.get(name) != getattr(call, name)}
    return msgspec.structs.replace(call, args=pack(list(task["args"])), kwargs=pack(task["kwargs"]), **fields)


def executed(task: dict[str, Any], func: Any, row: Task) -> None:
    """Tell that a function has ended, as ``row`` says."""
    if not post_execute_in_worker.has_listeners(SENDER):
        return
    task.update(result=row.result, success=row.success, stopped=row.stopped)
    _send(post_execute_in_worker, func=func, task=task)


def kept(call: Call, row: Task) -> None:
    """Tell that what became of a call is kept."""
    if post_execute.has_listeners(SENDER):
        task = task_of(call, row.started)
        _send(post_execute, task=task | {"result": row.result, "success": row.success, "stopped": row.stopped})


def spawned(proc_name: str) -> None:
    """Tell that a process begins."""
    _send(post_spawn, proc_name=proc_name)


def _send(signal: Signal, **facts: Any) -> None:
    """What has happened stays so, whatever its receivers raise."""
    for receiver, answer in signal.send_robust(SENDER, **facts):
        if isinstance(answer, Exception):
            log.error("The receiver %r of Django Q's signals failed", receiver, exc_info=answer)
