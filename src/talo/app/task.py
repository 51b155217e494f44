"""A task: a function (or a class with ``run``) under a name, its options, and the ways to call it.

Owns what users see of a task. How a message is built and sent is ``app.send``'s, how a task is run ``execution``'s;
tasks are made by
``app._decorator``, or by users who write a class. Options that nobody set read the app's settings at the moment of use.
"""

from __future__ import annotations

import datetime as dt
import types
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar, cast

from talo.app._arguments import ArgumentCheck
from talo.app._call import listed
from talo.app._options import EXECUTION_OPTIONS, AtMostOnce, FromApp, FromConf, explicit_options
from talo.app.aio import TaskTwins
from talo.app.compose import Composing
from talo.app.current import get_current_app
from talo.app.eager import EagerResult
from talo.app.result import AsyncResult
from talo.canvas.signature import Signature
from talo.execution import eager, retry
from talo.execution.env import TaskLike
from talo.execution.request import Context, Frame, RequestStack, current_frame, enter, leave, request_of

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["Task"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


def _conf(setting: str) -> Any:
    return FromConf(setting)


def _default(method: F) -> F:
    """Mark a method that does nothing of its own, so that a run leaves it out unless a class overrides it."""
    method.talo_default = True  # type: ignore[attr-defined]
    return method


class Task(TaskTwins[P, R], Composing, Generic[P, R]):
    """A callable that can also be sent. One object per task and app, shared by all its runs: a run's own facts are
    in ``request``."""

    # -- identity
    name: str = cast(str, None)
    typing: bool = cast(bool, FromApp("strict_typing"))
    abstract = True
    #: The app; None reads the current one.
    _app: ClassVar[Any] = None

    # -- running
    max_retries: int | None = 3
    default_retry_delay: float = 3 * 60
    rate_limit: str | float | None = _conf("task_default_rate_limit")
    time_limit: float | None = _conf("task_time_limit")
    soft_time_limit: float | None = _conf("task_soft_time_limit")
    track_started: bool = _conf("task_track_started")
    throws: tuple[type[BaseException], ...] = ()
    trail = True
    send_events = True
    resultrepr_maxsize = 1024
    Strategy: Any = "celery.worker.strategy:default"
    Request: Any = "celery.worker.request:Request"

    # -- results
    ignore_result: bool = _conf("task_ignore_result")
    store_errors_even_if_ignored: bool = _conf("task_store_errors_even_if_ignored")
    store_eager_result: bool = _conf("task_store_eager_result")

    # -- delivery
    acks_late: bool = _conf("task_acks_late")
    at_most_once: bool = cast(bool, AtMostOnce())
    acks_on_failure_or_timeout: bool = _conf("task_acks_on_failure_or_timeout")
    acks_on_failure: bool | None = _conf("task_acks_on_failure")
    acks_on_timeout: bool | None = _conf("task_acks_on_timeout")
    reject_on_worker_lost: bool | None = _conf("task_reject_on_worker_lost")
    retry_on_worker_lost: bool | None = _conf("task_retry_on_worker_lost")
    max_deliveries: int | None = None
    dead_letter: bool | None = None

    # -- automatic retry
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_kwargs: dict[str, Any] = types.MappingProxyType({})  # type: ignore[assignment]
    retry_backoff: bool | float = False
    retry_backoff_max: float = 600
    retry_jitter = True

    # -- sending
    secret: tuple[str, ...] | str = ()
    serializer: str | None = _conf("task_serializer")
    compression: str | None = _conf("task_compression")
    priority: int | None = _conf("task_default_priority")
    expires: float | dt.datetime | None = None
    queue: Any = None
    exchange: Any = None
    routing_key: str | None = None
    delivery_mode: int | str | None = None
    immediate: bool | None = None
    mandatory: bool | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # None means "whatever the settings say", so it must not hide them.
        for key in [k for k, v in vars(cls).items() if v is None and isinstance(getattr(Task, k, None), FromConf)]:
            delattr(cls, key)

    # -- belonging to an app

    @classmethod
    def _get_app(cls) -> Any:
        return cls._app if cls._app is not None else get_current_app()

    @property
    def app(self) -> Talo:
        """The app that it belongs to; the current one if it was made without."""
        return self._app if self._app is not None else get_current_app()  # type: ignore[no-any-return]

    @classmethod
    def bind(cls, app: Any) -> Any:
        """Make it a task of ``app``; return the app."""
        cls._app = app
        cls.on_bound(app)
        return app

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Called when the class is bound to an app."""

    @property
    def backend(self) -> Any:
        """Where results are kept."""
        return self.__dict__.get("_backend") or self.app.backend

    @backend.setter
    def backend(self, value: Any) -> None:
        self.__dict__["_backend"] = value

    # -- calling

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The work itself; a task class defines it."""
        del args, kwargs
        raise TypeError(f"task {self.name or type(self).__name__} defines no run()")

    @_default
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now, without a message; ``request.called_directly`` is true meanwhile.

        The first call by an overriding ``__call__`` is the worker's run itself and keeps its request.
        """
        frame = current_frame()
        if frame is not None and self._is_run_of(frame):
            frame.called = True
            return self.run(*args, **kwargs)
        token = enter(self, Context(args=args, kwargs=kwargs))
        try:
            return self.run(*args, **kwargs)
        finally:
            leave(token)

    def _is_run_of(self, frame: Frame) -> bool:
        """Whether this call comes from an overriding ``__call__`` on its way to the function."""
        return frame.task is self and not frame.called and not getattr(type(self).__call__, "talo_default", False)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send it with these arguments; return a handle of the result."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult[R]:
        """Send it with these arguments and options (``talo.app.send.SendOptions``); return a handle of the result.

        ``TypeError`` if the arguments do not fit the function; ``ValueError`` for a soft limit above the hard one;
        ``EncodeError``;
        ``PublishTimeout`` if the broker did not take it within ``publish_timeout`` seconds.
        """
        plan = self.plan
        app = plan.app
        if plan.check is not None:
            plan.check(args or (), kwargs or {})
        result: AsyncResult[R]
        if app.conf.task_always_eager:
            result = self._apply_eagerly(args, kwargs, task_id, link, link_error, shadow, options)
            return result
        if plan.shadow is not None:
            shadow = shadow or plan.shadow(args, kwargs, options)
        every = {**plan.full, **options} if options else plan.full
        if task_id or producer or link or link_error or shadow:
            named = {"task_id": task_id, "producer": producer, "link": link, "link_error": link_error, "shadow": shadow}
            every = {**every, **{key: value for key, value in named.items() if value}}
        result = app.send_task(self.name, args, kwargs, **every)
        return result

    @property
    def plan(self) -> _Plan:
        """What its sends have in common."""
        plan: _Plan | None = self.__dict__.get("_plan")
        if plan is None:
            plan = self.__dict__["_plan"] = _Plan(self)
        return plan

    def __setattr__(self, name: str, value: Any) -> None:
        # What was prepared for sending may depend on any option.
        super().__setattr__(name, value)
        self.__dict__.pop("_plan", None)

    @property
    def send_defaults(self) -> Mapping[str, Any]:
        """The options that each of its sends has, unless the call says otherwise."""
        return self.plan.options

    def _apply_eagerly(
        self, args: Any, kwargs: Any, task_id: str | None, link: Any, link_error: Any, shadow: str | None, options: Any
    ) -> Any:
        if shadow:
            options["shadow"] = shadow
        throw = self.app.conf.task_eager_propagates
        return self.apply(args, kwargs, link=link, link_error=link_error, task_id=task_id, throw=throw, **options)

    def apply(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int = 0,
        throw: bool | None = None,
        logfile: str | None = None,
        loglevel: int | None = None,
        headers: dict[str, Any] | None = None,
        **options: Any,
    ) -> EagerResult[R]:
        """Run it here and now as a worker would (retries, hooks, callbacks); return the result.

        ``throw`` raises the task's exception instead of returning it; default: the setting ``task_eager_propagates``.
        """
        app = self.app
        if throw is None:
            throw = app.conf.task_eager_propagates
        outcome = eager.apply_eager(
            cast(TaskLike, self),
            tuple(args or ()),
            dict(kwargs or {}),
            app.env,
            task_id=task_id,
            link=listed(link),
            link_error=listed(link_error),
            retries=retries,
            throw=throw,
            headers=headers,
            options={**options, "logfile": logfile, "loglevel": loglevel},
        )
        return EagerResult(outcome.id, outcome.result, outcome.state, traceback=outcome.traceback, name=self.name)

    # -- from inside a run

    @property
    def request(self) -> Context:
        """The facts of the run in this thread or coroutine; an empty context when it is not running."""
        return request_of(self) or self.__dict__.setdefault("_idle_request", Context())

    @property
    def request_stack(self) -> RequestStack:
        """The requests of this task as a stack."""
        stack = self.__dict__.get("_request_stack")
        if stack is None:
            stack = self.__dict__["_request_stack"] = RequestStack(self)
        return stack

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Enter a request with these fields; pair it with ``pop_request``."""
        self.request_stack.push(Context(*args, **kwargs))

    def pop_request(self) -> Context | None:
        """Leave the request entered last."""
        return self.request_stack.pop()

    def retry(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: dt.datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Exception:
        """Ask for another try: raises ``Retry``, so nothing after it runs (``raise self.retry(...)`` reads well).

        ``countdown`` (seconds) or ``eta`` say when, else ``default_retry_delay``. When the tries are used up, raises
        ``exc`` if given, else ``MaxRetriesExceededError``. ``throw=False`` returns the ``Retry`` instead of raising it.
        """
        return retry.plan(
            cast(TaskLike, self),
            self.request,
            self.app.time(),
            args=args,
            kwargs=kwargs,
            exc=exc,
            throw=throw,
            eta=eta,
            countdown=countdown,
            max_retries=max_retries,
            options=options,
        )

    def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, **kwargs: Any
    ) -> None:
        """Store a state of your own (``PROGRESS``) and its data at once."""
        request = self.request
        task_id = task_id or request.id
        if task_id is None:
            raise ValueError("update_state() outside of a running task needs task_id=")
        context = Context({**vars(request), **kwargs}) if kwargs else request
        self.app.env.store_state(task_id, state or "", meta, context)

    def send_event(self, type_: str, **fields: Any) -> None:
        """Send an event of your own (``task-progress``) about the running task, for monitors."""
        self.app.events.tell(type_, {"uuid": self.request.id, **fields})

    def add_trail(self, result: Any) -> Any:
        """Remember a result as a child of the running task; return it."""
        frame = current_frame()
        if self.trail and frame is not None and frame.task is self:
            remember_child(frame.request, result)
        return result

    # -- as data

    def signature(self, args: Any = None, *starargs: Any, **starkwargs: Any) -> Signature:
        """A signature of this task; takes what ``Signature`` takes."""
        starkwargs.setdefault("app", self._app)
        return Signature(self, args, *starargs, **starkwargs)

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """A signature with these arguments; it takes more of them later."""
        return Signature(self, args, kwargs, app=self._app)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """An immutable signature: arguments given later, such as the result of the task before, are ignored."""
        return Signature(self, args, kwargs, immutable=True, app=self._app)

    def signature_from_request(
        self,
        request: Context | None = None,
        args: Any = None,
        kwargs: Any = None,
        queue: Any = None,
        **extra_options: Any,
    ) -> Signature:
        """A signature that would send the running call again under its own id, with other arguments or options if
        given."""
        request = request if request is not None else self.request
        options = {k: v for k, v in request.as_execution_options().items() if v is not None}
        delivery = request.delivery_info or {}
        if queue is not None:
            options["queue"] = queue
        elif delivery.get("exchange"):
            options["exchange"], options["routing_key"] = delivery["exchange"], delivery.get("routing_key")
        elif delivery.get("routing_key"):
            options["queue"] = delivery["routing_key"]
        return self.signature(
            request.args if args is None else args,
            request.kwargs if kwargs is None else kwargs,
            **{**options, **extra_options},
        )

    subtask_from_request = signature_from_request

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult[R]:
        """A handle of the result of an earlier call."""
        result: AsyncResult[R] = self.app.AsyncResult(task_id, task_name=self.name, **kwargs)
        return result

    def __reduce__(self) -> Any:
        return _task_by_name, (self.name,)

    # -- hooks, for subclasses to override

    def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str | None:
        """Another name for logs and events, chosen at the send."""

    @_default
    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called in the worker before the function."""

    @_default
    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called in the worker when the function returned."""

    @_default
    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called in the worker when the task failed for good."""

    @_default
    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called in the worker when the task will be tried again."""

    @_default
    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called in the worker after everything else, whatever the end."""

    def annotate(self) -> None:
        """Apply the ``task_annotations`` that fit this task."""
        self.app.annotate(self)

    def __repr__(self) -> str:
        where = f" of {self._app.main}" if self._app is not None and self._app.main else ""
        return f"<@task: {self.name}{where}>"


if TYPE_CHECKING:
    from collections.abc import Coroutine

    class CoroutineTask(Task[P, R]):
        """The task of an ``async def`` as type checkers see it: calling it gives the coroutine, sending it the
        result."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
            ...


class _Plan:
    """What every send of one task has in common; made at the first send, and again after an option was changed."""

    __slots__ = ("app", "check", "full", "options", "shadow")

    def __init__(self, task: Task[..., Any]) -> None:
        self.app = task.app
        if not self.app.complete:
            self.app.finalize(auto=True)
        self.check: Callable[[Any, Any], None] | None = (
            ArgumentCheck(task.run, type(task).__name__) if task.typing else None
        )
        self.options: dict[str, Any] = explicit_options(task, EXECUTION_OPTIONS)
        if type(task).AsyncResult is not Task.AsyncResult:
            self.options["result_cls"] = task.AsyncResult
        #: The options of a send that adds none of its own.
        self.full: dict[str, Any] = {**self.options, "task_type": task}
        overridden = type(task).shadow_name is not Task.shadow_name
        self.shadow: Callable[[Any, Any, Any], str | None] | None = task.shadow_name if overridden else None


def remember_child(request: Context, result: Any) -> None:
    """Add a result to the children of a run."""
    children = request.children
    if children is None:
        children = request.children = []
    children.append(result)


def _task_by_name(name: str) -> Any:
    return get_current_app().tasks[name]
