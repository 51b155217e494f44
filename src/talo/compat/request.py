"""``celery.worker.request``: requests as plug-ins subclass them (``Task.Request``) and build them for themselves.

Owns the class and the calls of its hooks around a run. Talo's own runs need none: a request is made only for a task
that names its own class, or by a strategy.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from talo import signals
from talo.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from talo.execution.einfo import ExceptionInfo
from talo.execution.request import Context
from talo.execution.run import Outcome, Run
from talo.util.names import import_path
from talo.wire.protocol import decode

__all__ = ["DEFAULT", "Request", "create_request_cls", "with_hooks"]

#: What a task names that has no class of its own.
DEFAULT = "celery.worker.request:Request"


class Request:
    """One message of a task, and what is called while it is worked on."""

    acknowledged = False
    time_start: float | None = None
    worker_pid: int | None = None

    def __init__(
        self,
        message: Any,
        on_ack: Callable[..., Any] | None = None,
        hostname: str | None = None,
        eventer: Any = None,
        app: Any = None,
        connection_errors: Any = None,
        request_dict: dict[str, Any] | None = None,
        task: Any = None,
        on_reject: Callable[..., Any] | None = None,
        body: Any = None,
        headers: dict[str, Any] | None = None,
        decoded: bool = False,
        utc: bool = True,
        **_opts: Any,
    ) -> None:
        del connection_errors, decoded
        self.message = message
        self._app = app
        self.hostname = hostname or socket.gethostname()
        self.eventer = eventer
        self.request_dict: dict[str, Any] = dict(headers or request_dict or _headers_of(message))
        self.headers = self.request_dict
        self.body = body
        self.utc = utc
        self.name: str = str(self.request_dict.get("task"))
        self.id: str = str(self.request_dict.get("id"))
        self.task = task if task is not None else app.tasks[self.name]
        self._on_ack = on_ack
        self._on_reject = on_reject
        self.delivery_info = dict(getattr(message, "delivery_info", None) or {})
        self.properties = dict(getattr(message, "properties", None) or {})
        self._loaded: Any = None

    # -- facts

    @property
    def app(self) -> Any:
        """The app."""
        return self._app if self._app is not None else self.task.app

    @property
    def _payload(self) -> Any:
        """(args, kwargs, embed)."""
        if self._loaded is None:
            raw = getattr(self.message, "talo", None)
            if raw is not None:
                call = decode(raw, self.app.env.accept, self.app.env.timezone)
                self.app.env.secrets.arrive(call, self.app.env.repr_levels)
                embed = {
                    "callbacks": call.callbacks, "errbacks": call.errbacks, "chain": call.chain, "chord": call.chord,
                }  # fmt: skip
                self._loaded = (call.args, call.kwargs, embed)
            else:
                self._loaded = self.message.payload if hasattr(self.message, "payload") else self.message.body
        return self._loaded

    @property
    def args(self) -> Any:
        """Positional arguments."""
        return self._payload[0]

    @property
    def kwargs(self) -> Any:
        """Keyword arguments."""
        return self._payload[1]

    task_id = property(lambda self: self.id)
    task_name = property(lambda self: self.name)
    type = property(lambda self: self.name)
    argsrepr = property(lambda self: self.request_dict.get("argsrepr"))
    kwargsrepr = property(lambda self: self.request_dict.get("kwargsrepr"))
    root_id = property(lambda self: self.request_dict.get("root_id"))
    parent_id = property(lambda self: self.request_dict.get("parent_id"))
    group = property(lambda self: self.request_dict.get("group"))
    group_index = property(lambda self: self.request_dict.get("group_index"))
    reply_to = property(lambda self: self.properties.get("reply_to"))
    correlation_id = property(lambda self: self.properties.get("correlation_id"))
    ignore_result = property(lambda self: bool(self.request_dict.get("ignore_result")))
    time_limits = property(lambda self: tuple(self.request_dict.get("timelimit") or (None, None)))
    store_errors = property(lambda self: not self.task.ignore_result or self.task.store_errors_even_if_ignored)

    @property
    def eta(self) -> dt.datetime | None:
        """When it is due; the store has waited for that already."""
        return None

    @property
    def expires(self) -> Any:
        """When it is over, as the message says."""
        return self.request_dict.get("expires")

    def info(self, safe: bool = False) -> dict[str, Any]:
        """The facts that ``inspect`` shows."""
        del safe
        return {
            "id": self.id,
            "name": self.name,
            "args": self.argsrepr,
            "kwargs": self.kwargsrepr,
            "type": self.name,
            "hostname": self.hostname,
            "time_start": self.time_start,
            "acknowledged": self.acknowledged,
            "delivery_info": self.delivery_info,
            "worker_pid": self.worker_pid,
        }

    # -- its end

    def acknowledge(self) -> None:
        """The message is done."""
        if not self.acknowledged:
            self.acknowledged = True
            if self._on_ack is not None:
                self._on_ack(None, None)

    def reject(self, requeue: bool = False) -> None:
        """The message is not for here: back to its queue, or to the dead letters."""
        if not self.acknowledged:
            self.acknowledged = True
            if self._on_reject is not None:
                self._on_reject(None, None, requeue)

    # -- hooks, for subclasses to override

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """Called before the task starts."""
        self.worker_pid = pid
        self.time_start = time_accepted

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> None:
        """Called with (failed, value, seconds) when it has ended well."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """Called when it has failed."""

    def on_retry(self, exc_info: Any) -> None:
        """Called when it will be tried again."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Called when a time limit ended it."""

    def __str__(self) -> str:
        return f"{self.name}[{self.id}]"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self!s}>"


def _headers_of(message: Any) -> dict[str, Any]:
    """All headers; a context shows but the sender's own under their name."""
    return getattr(message, "message_headers", None) or getattr(message, "headers", None) or {}


def create_request_cls(
    base: Any, task: Any, pool: Any, hostname: str, eventer: Any, *args: Any, app: Any = None, **kwargs: Any
) -> Any:
    """The class of requests of a task; Talo needs no special one."""
    del task, pool, hostname, eventer, args, app, kwargs
    return base


def with_hooks(
    app: Any, task: Any, inner: Callable[[Run, Callable[[Run], None]], None] | None
) -> Callable[[Run, Callable[[Run], None]], None] | None:
    """Return what runs a run and calls the hooks of the task's own request class around it; ``inner`` if it has
    none."""
    named = getattr(task, "Request", DEFAULT)
    if named == DEFAULT:
        return inner
    cls = import_path(named) if isinstance(named, str) else named
    if cls is Request:
        return inner

    def made(context: Context) -> Any:
        message = _MessageOf(context)
        request = cls(message, task=task, app=app, hostname=context.hostname, headers=message.headers)
        request._loaded = message.payload
        return request

    def lost(request: Context, exception: BaseException, **_: Any) -> None:
        _tell_lost(made(request), exception)

    # Only the agent tells of the dead; there this is connected by the first of them that it looks at.
    signals.task_lost.connect(lost, sender=task, weak=False, dispatch_uid=f"Request of {task.name}")

    def outer(run: Run, call: Callable[[Run], None]) -> None:
        request = made(run.request)
        request.on_accepted(os.getpid(), time.time())
        if inner is None:
            call(run)
        else:
            inner(run, call)
        _tell(request, run)

    return outer


def _tell(request: Any, run: Run) -> None:
    if isinstance(run.exc, SoftTimeLimitExceeded | TimeLimitExceeded):
        soft = isinstance(run.exc, SoftTimeLimitExceeded)
        request.on_timeout(soft, run.runtime)
    if run.outcome is Outcome.SUCCESS:
        request.on_success((False, run.retval, run.runtime))
    elif run.outcome is Outcome.FAILURE:
        request.on_failure(run.einfo)
    elif run.outcome is Outcome.RETRY:
        request.on_retry(run.einfo)


def _tell_lost(request: Any, exc: BaseException) -> None:
    """The process of an attempt is dead, and nothing else is told of it."""
    if isinstance(exc, TimeLimitExceeded):
        request.on_timeout(False, exc.args[0] if exc.args else None)
    else:
        request.on_failure(ExceptionInfo(exc))


class _MessageOf:
    """What a request reads of the message of a run."""

    def __init__(self, context: Context) -> None:
        self.delivery_info = context.delivery_info
        self.properties = context.properties
        self.headers = context.message_headers
        self.payload: tuple[Any, Any, dict[str, Any]] = (context.args, context.kwargs, {})
