"""The border between running a task and the app that owns it.

Execution is below the app and must not import it; what it needs of the app is handed in as an ``Env`` (``app.app``
builds it, once, when the app is finalised). ``TaskLike`` says what execution reads of a task object;
``app.task.Task`` provides it.

The app in turn calls down into execution:

* ``execution.eager.apply_eager(task, args, kwargs, env, *, task_id, link, link_error, retries, throw, headers,
  options) -> EagerOutcome`` (``.id, .state, .result, .traceback``), for ``Task.apply`` and ``task_always_eager``;
* ``execution.retry.plan(task, request, now, *, args, kwargs, exc, throw, eta, countdown, max_retries, options)
  -> Retry``, for ``Task.retry``: raises what the task must raise (``Retry``, the exhausted error, or ``exc``) and with
  ``throw=False`` returns the ``Retry``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from talo.stores.base import ResultMeta
from talo.wire.message import Message

if TYPE_CHECKING:
    from talo.execution.history import Keeper
    from talo.execution.secrets import Secrets

__all__ = ["Env", "TaskLike"]


class TaskLike(Protocol):
    """What execution reads of a task."""

    name: str
    max_retries: int | None
    default_retry_delay: float
    ignore_result: bool
    store_errors_even_if_ignored: bool
    track_started: bool
    throws: tuple[type[BaseException], ...]
    acks_late: bool
    #: True when the app or the task explicitly asked for Celery's early acknowledgement: it never starts twice.
    at_most_once: bool
    acks_on_failure_or_timeout: bool
    #: None: as ``acks_on_failure_or_timeout`` says.
    acks_on_failure: bool | None
    acks_on_timeout: bool | None
    reject_on_worker_lost: bool | None
    #: The death of its process is a reason for a retry, as if ``autoretry_for`` named it.
    retry_on_worker_lost: bool | None
    max_deliveries: int | None
    dead_letter: bool | None
    time_limit: float | None
    soft_time_limit: float | None
    serializer: str | None
    resultrepr_maxsize: int
    trail: bool
    autoretry_for: tuple[type[BaseException], ...]
    dont_autoretry_for: tuple[type[BaseException], ...]
    retry_kwargs: dict[str, Any]
    retry_backoff: bool | float
    retry_backoff_max: float
    retry_jitter: bool

    @property
    def run(self) -> Callable[..., Any]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None: ...
    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None: ...
    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None: ...
    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None: ...
    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None: ...


class Env(Protocol):
    """What the app provides to those that run its tasks."""

    #: Node name for requests, results and logs; the worker sets it.
    hostname: str
    #: Tasks by name.
    tasks: Mapping[str, TaskLike]
    #: Which arguments are secret, and the keys to seal them with.
    secrets: Secrets
    #: Content types that may be decoded.
    accept: frozenset[str]
    #: The zone in which naive times of messages are read.
    timezone: dt.tzinfo
    #: Codec and compression of results.
    result_serializer: str
    result_compression: str | None
    #: Seconds that a result is kept; None for ever.
    result_expires: float | None
    #: The same for failures; None: as ``result_expires``.
    result_failure_expires: float | None
    #: Chords are counted where Celery counts, and Talo's own messages keep out of Celery's sight.
    celery_form: bool
    #: Results carry name, args, kwargs, worker, retries and queue.
    result_extended: bool
    #: How deep values are shown in logs.
    repr_levels: int
    #: Results of eager runs are stored too.
    store_eager_result: bool
    #: Where Talo's own tasks go that a call has sent which came from no queue.
    default_queue: str
    #: Whether failed tasks become dead letters.
    dead_letters: bool
    #: Which runs are kept in history; None: nothing is counted or kept.
    history: Keeper | None

    def time(self) -> float:
        """The time now, in epoch seconds: that of a test's clock, if there is one."""
        ...

    def dead_letter_expires(self, queue: str) -> float | None:
        """For how many seconds a dead letter of this queue is kept; None: for ever."""
        ...

    def prepare(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Message:
        """Build and route a message as ``apply_async`` with these options would, without sending it.

        Options: ``task_id, link, link_error, chain, chord, group_id, root_id, parent_id, retries, headers, queue,
        countdown, eta, ...``."""
        ...

    def around(self, task: TaskLike) -> Callable[[Any, Callable[[Any], None]], None] | None:
        """What every run of the task goes through, as ``around(run, call)`` which calls ``call(run)``; usually
        nothing."""
        ...

    def takes(self, task: TaskLike) -> Callable[[Any, Callable[[Any], Any]], None] | None:
        """What takes the task's deliveries in place of a run and settles them, as ``takes(delivery, settle)``;
        usually nothing does."""
        ...

    def store_results(self, metas: Sequence[ResultMeta]) -> None:
        """Store results that no settlement stores."""
        ...

    def store_state(self, task_id: str, state: str, meta: Any, request: Any) -> None:
        """Store an intermediate state (STARTED, PROGRESS, ...) at once."""
        ...
