"""Every error that Talo raises, in one tree.

Owns the classes; a store translates its client library's errors into these at its own border, with ``from``.

::

    Exception
     ├─ TaloError
     │   ├─ ImproperlyConfigured           a setting, URL or option that cannot work; says the mend
     │   │   └─ MissingExtra               an optional dependency is not installed; names the extra
     │   ├─ SecurityError                  content that the app did not opt in to
     │   ├─ OperationalError               the store did not do it now; it may later
     │   │   ├─ PublishTimeout             a send did not get through within its deadline
     │   │   ├─ StoreUnavailable           no connection, or it broke in the middle
     │   │   ├─ StoreFull                  disk full, memory limit reached
     │   │   └─ AccessRefused              wrong or missing password, missing privilege; ImproperlyConfigured too
     │   ├─ StoreError                     the store said no for good
     │   │   ├─ NotSupported               this store cannot do that; says which can
     │   │   ├─ LeaseLost                  this owner was declared dead; what it held is somebody else's
     │   │   └─ MessageTooLarge            with both sizes
     │   ├─ WireError
     │   │   ├─ MalformedMessage           bytes or fields that make no task
     │   │   ├─ EncodeError                arguments or results that cannot be written
     │   │   └─ DecodeError                bytes that cannot be read
     │   ├─ WorkerError
     │   │   ├─ WorkerShutdown, WorkerTerminate
     │   ├─ TaskPredicate                  raised by a task to steer its own end
     │   │   ├─ Retry                      try again later
     │   │   ├─ Ignore                     store nothing
     │   │   └─ Reject                     do not run this message here
     │   ├─ TaskError
     │   │   ├─ QueueNotFound (KeyError), NotRegistered (KeyError), AlreadyRegistered
     │   │   ├─ TimeoutError               a result did not come in time
     │   │   ├─ UnsentTask                 waited for, but held by the caller's own transaction
     │   │   ├─ SealError                  a secret argument that no key of the app opens
     │   │   ├─ MaxRetriesExceededError, TaskRevokedError, InvalidTaskError, ChordError, IncompleteStream
     │   └─ BackendError
     │       ├─ BackendGetMetaError, BackendStoreError
     ├─ SoftTimeLimitExceeded              raised inside a task, may be caught
     ├─ TimeLimitExceeded                  recorded for a task that was stopped
     ├─ WorkerLostError                    recorded for a task whose process died
     └─ Terminated                         recorded for a task that was cancelled while it ran
"""

from __future__ import annotations

import datetime as dt
from typing import Any

__all__ = [
    "AccessRefused",
    "AlreadyRegistered",
    "BackendError",
    "BackendGetMetaError",
    "BackendStoreError",
    "ChordError",
    "DecodeError",
    "EncodeError",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "InvalidTaskError",
    "LeaseLost",
    "MalformedMessage",
    "MaxRetriesExceededError",
    "MessageTooLarge",
    "MissingExtra",
    "NotRegistered",
    "NotSupported",
    "OperationalError",
    "PublishTimeout",
    "QueueNotFound",
    "Reject",
    "Retry",
    "SealError",
    "SecurityError",
    "SoftTimeLimitExceeded",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "TaloError",
    "TaloWarning",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "UnsentTask",
    "WireError",
    "WorkerError",
    "WorkerLostError",
    "WorkerShutdown",
    "WorkerTerminate",
]


class TaloWarning(UserWarning):
    """Base of Talo's own warnings."""


class TaloError(Exception):
    """Base of every error that is Talo's own."""


class ImproperlyConfigured(TaloError):
    """A setting, URL or option that cannot work; the text says what to change."""


class MissingExtra(ImproperlyConfigured):
    """An optional dependency is missing; the text names the extra to install."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'talo[{extra}]'")
        self.package = package
        self.extra = extra


class SecurityError(TaloError):
    """Content in a format that the app did not opt in to, or whose signature is wrong."""


class OperationalError(TaloError):
    """The store did not do it now; the same call may succeed later."""


class PublishTimeout(OperationalError):
    """A send did not get through within its deadline; nothing is known to have been sent."""


class StoreUnavailable(OperationalError):
    """There is no connection to the store, or it broke in the middle of a call."""


class StoreFull(OperationalError):
    """The store has no room: disk full, or its memory limit is reached."""


class AccessRefused(OperationalError, ImproperlyConfigured):
    """The store does not let us in, or not do that. It may later: passwords rotate."""


class StoreError(TaloError):
    """The store refused, and would refuse again."""


class NotSupported(StoreError):
    """This store cannot do what was asked; the text says what can."""


class LeaseLost(StoreError):
    """The owner was declared dead and what it held has been handed to others."""


class MessageTooLarge(StoreError):
    """A message exceeds what the store takes."""

    def __init__(self, size: int, limit: int, store: str) -> None:
        super().__init__(f"message of {size} bytes exceeds the {limit} bytes that {store} takes")
        self.size = size
        self.limit = limit


class WireError(TaloError):
    """Base of the errors of reading and writing messages and results."""


class MalformedMessage(WireError):
    """Bytes or fields that make no task. ``reason`` is a short word, the text says more."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(reason, text)
        self.reason = reason
        self.text = text

    def __str__(self) -> str:
        return f"{self.reason}: {self.text}"


class EncodeError(WireError):
    """Arguments or a result that the serializer cannot write."""


class DecodeError(WireError):
    """Bytes that the serializer cannot read."""


class WorkerError(TaloError):
    """Base of what stops a worker."""


class WorkerShutdown(WorkerError, SystemExit):
    """Asks the worker to stop warmly."""


class WorkerTerminate(WorkerError, SystemExit):
    """Asks the worker to stop at once."""


class TaskPredicate(TaloError):
    """Raised by a task to steer its own end."""


class Retry(TaskPredicate):
    """The task is to be tried again.

    ``message`` is a text, ``exc`` the reason (an exception or its text), ``when`` seconds from now or a datetime.
    """

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: float | dt.datetime | None = None,
        is_eager: bool = False,
        sig: Any = None,
        **kwargs: Any,
    ) -> None:
        self.message = message
        self.exc: BaseException | None
        self.excs: str | None
        if isinstance(exc, str):
            self.exc, self.excs = None, exc
        else:
            self.exc, self.excs = exc, (repr(exc) if exc is not None else None)
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        super().__init__(self, exc, when, **kwargs)

    def humanize(self) -> str:
        """Return ``in 30s`` or ``at <datetime>``."""
        if isinstance(self.when, int | float):
            return f"in {self.when}s"
        return f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"

    def __repr__(self) -> str:
        return f"Retry({self!s})"

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.message, self.exc, self.when)


class Ignore(TaskPredicate):
    """The task wants no state to be stored."""


class Reject(TaskPredicate):
    """The task does not want this message: back to the queue if ``requeue``, else to the dead letters."""

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)

    def __str__(self) -> str:
        return "rejected" if self.reason is None else str(self.reason)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class TaskError(TaloError):
    """Base of errors about one task."""


class QueueNotFound(TaskError, KeyError):
    """No queue of this name is configured and missing ones are not created."""

    __str__ = Exception.__str__


class NotRegistered(TaskError, KeyError):
    """No task of this name is known to the app."""

    def __repr__(self) -> str:
        return f"NotRegistered({', '.join(map(repr, self.args))})"

    __str__ = Exception.__str__


class SealError(TaskError):
    """A secret argument that none of the app's keys opens, or an exception that would have shown one."""


class AlreadyRegistered(TaskError):
    """A task of this name exists."""


class TimeoutError(TaskError):
    """A result did not come in time."""


class UnsentTask(TaskError):
    """A task is waited for that the caller's own open transaction has not sent yet."""

    def __init__(self, task_id: str, waits_for: str) -> None:
        super().__init__(task_id, waits_for)

    def __str__(self) -> str:
        return (
            f"task {self.args[0]} has not been sent: it waits for {self.args[1]}, which would wait for its result; "
            "call get() after that"
        )


class MaxRetriesExceededError(TaskError):
    """The task has used up its retries."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_args = kwargs.pop("task_args", [])
        self.task_kwargs = kwargs.pop("task_kwargs", {})
        super().__init__(*args, **kwargs)


class TaskRevokedError(TaskError):
    """The task was revoked, has expired, or was terminated."""


class InvalidTaskError(TaskError):
    """The task's data make no valid call."""


class ChordError(TaskError):
    """A member of a chord's header failed, so the body cannot run."""


class IncompleteStream(TaskError):
    """The end of a stream was not received."""


class BackendError(TaloError):
    """Base of errors of the result backend."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.args))})"


class BackendGetMetaError(BackendError):
    """A result could not be read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_id = kwargs.pop("task_id", "")
        super().__init__(*args, **kwargs)


class BackendStoreError(BackendError):
    """A result could not be stored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state = kwargs.pop("state", "")
        self.task_id = kwargs.pop("task_id", "")
        super().__init__(*args, **kwargs)


def _over(limit: str, args: tuple[Any, ...]) -> str:
    return f"{limit} of {args[0]} s exceeded" if args else f"{limit} exceeded"


class SoftTimeLimitExceeded(Exception):
    """Raised inside a task whose soft limit has passed; it may catch it and clean up."""

    def __str__(self) -> str:
        return _over("soft time limit", self.args)


class TimeLimitExceeded(Exception):
    """Recorded for a task that was stopped at its hard limit; the argument is the limit in seconds."""

    def __str__(self) -> str:
        return _over("time limit", self.args)


class WorkerLostError(Exception):
    """Recorded for a task whose process died under it."""


class Terminated(Exception):
    """Recorded for a task that was cancelled while it ran."""
