"""The app: where tasks are defined, configured and sent from.

Owns the life of one app (configure, finalise, close) and the doors to its parts; the work is done by the parts:
``registry``, ``_decorator``, ``routes``, ``send``, ``result``, ``_env``. Everything is lazy: creating an app reads no
setting, imports no module of the user's and opens no connection.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from talo import otel, signals
from talo.app import _discover, builtins, current
from talo.app._annotations import annotate
from talo.app._configure import Sources
from talo.app._decorator import make_task, task_from_fun
from talo.app._env import AppEnv
from talo.app._periodic import PeriodicTasks
from talo.app._typing import TaskDecorator
from talo.app.aio import AppTwins
from talo.app.doors import Doors
from talo.app.outlets import Outlet
from talo.app.registry import TaskRegistry
from talo.app.result import AsyncResult
from talo.app.routes import Queues, Router
from talo.app.send import Sender
from talo.app.services import Service
from talo.app.stores import AppStores
from talo.app.task import Task
from talo.canvas.signature import Signature
from talo.execution.request import current_frame
from talo.schedules.base import use_current_app
from talo.settings import Settings
from talo.util.names import import_path
from talo.util.signal import Signal
from talo.wire.message import Message

__all__ = ["Talo"]

A = TypeVar("A", bound="Talo")
T = TypeVar("T")


class Talo(TaskDecorator, PeriodicTasks, AppTwins, Doors):
    """An application of Talo. Create one per project, at module level, and name it after the module."""

    #: Classes that a subclass may replace; a text is the dotted path of one.
    task_cls: Any = Task
    registry_cls: Any = TaskRegistry
    stores_cls: Any = AppStores
    #: Whether Celery's defaults hold wherever they change effects (``compat``).
    celery_defaults = False
    #: The class of ``conf``.
    settings_cls: type[Settings] = Settings

    #: The time that sends, retries and expiries count from, in epoch seconds; a test may put another clock here.
    time: Callable[[], float] = staticmethod(time.time)
    finalized = False
    #: Its registry is; other threads wait for it.
    complete = False
    closed = False
    # Made when it is asked for.
    _oid: str | None = None
    _task_class: Any = None
    _router: tuple[Any, Router] | None = None
    _env: AppEnv | None = None

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: str | None = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: Any = None,
        broker: str | None = None,
        include: Iterable[str] | str | None = None,
        changes: Mapping[str, Any] | None = None,
        config_source: Any = None,
        fixups: Any = None,
        task_cls: Any = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        config_source_silent: bool = False,
        **settings: Any,
    ) -> None:
        """``main`` is the name of the app; any further keyword is a setting. Nothing is read or opened yet."""
        del loader, amqp, log, fixups  # taken for compatibility; what replaces them is found elsewhere
        self.main = main
        self.strict_typing = strict_typing
        self.autofinalize = autofinalize
        self.steps: dict[str, set[Any]] = {"worker": set(), "consumer": set()}
        self.user_options: dict[str, Any] = {name: set() for name in ("worker", "beat", "events", "preload")}
        self.on_configure = Signal("app.on_configure")
        self.on_after_configure = Signal("app.on_after_configure", ("source",))
        self.on_after_finalize = Signal("app.on_after_finalize")
        self.on_after_fork = Signal("app.on_after_fork")
        for name, cls in (("task_cls", task_cls), ("control_cls", control), ("events_cls", events)):
            if cls is not None:
                setattr(self, name, cls)
        self._lock = threading.RLock()
        self._local = threading.local()
        self._discoveries: list[Callable[[], None]] = []
        self._periodic: dict[str, Any] = {}
        registry = self._symbol(tasks) if isinstance(tasks, str) else tasks
        self._tasks = registry if registry is not None else self._symbol(self.registry_cls)()
        self._sources = Sources(self, namespace, self._constructed(broker, backend, include, changes, settings))
        if config_source is not None:
            self._sources.use(config_source, silent=config_source_silent, namespace=namespace)
        self._stores = self.stores_cls(self)
        #: Asked before the broker, the last one first.
        self.outlets: list[Outlet] = []
        #: Makers of what each worker's agent runs for this app beside its own work.
        self.services: list[Callable[[], Service]] = []
        self._sender = Sender(self)
        current.register_app(self)
        if set_as_current:
            self.set_current()
        _discover.adopt_by_framework(self)
        self.on_init()

    @staticmethod
    def _constructed(
        broker: str | None, backend: str | None, include: Any, changes: Any, settings: dict[str, Any]
    ) -> dict[str, Any]:
        values = {**(changes or {}), **settings}
        for key, value in (("broker_url", broker), ("result_backend", backend)):
            if value is not None:
                values[key] = value
        if include:
            values["include"] = [include] if isinstance(include, str) else list(include)
        return values

    def on_init(self) -> None:
        """Called at the end of the creation, for subclasses."""

    # -- being the current app

    def set_current(self) -> None:
        """Make it what ``current_app`` stands for."""
        current.set_current_app(self)

    def set_default(self) -> None:
        """Make it the app of last resort."""
        current.set_default_app(self)

    @property
    def current_task(self) -> Any:
        """The task that runs in this thread or coroutine, or None."""
        return current.get_current_task()

    @property
    def current_worker_task(self) -> Any:
        """The same, passing over tasks that were called as functions."""
        frame = current_frame()
        while frame is not None and frame.request.called_directly:
            frame = frame.previous
        return frame.task if frame is not None else None

    # -- configuration

    @property
    def conf(self) -> Settings:
        """The settings; the first access reads the configuration sources."""
        return self._sources.conf

    @conf.setter
    def conf(self, value: Any) -> None:
        self._sources.use(value)

    @property
    def configured(self) -> bool:
        """Whether the settings have been read."""
        return self._sources.loaded

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Take settings from an object, a module, a dict, or the dotted path of one.

        It is read at the first use of a setting, or now with ``force``. With ``namespace='CELERY'`` only upper-case
        names with that prefix count. ``silent`` ignores a path that cannot be imported.
        """
        self._sources.use(obj, silent=silent, namespace=namespace, force=force)

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> bool:
        """Take settings from the module that an environment variable names.

        ``ImproperlyConfigured`` if it is not set, unless ``silent``; return whether it was.
        """
        return self._sources.use_envvar(variable_name, silent=silent, force=force)

    def config_from_cmdline(self, argv: Iterable[str], namespace: str = "celery") -> None:
        """Take settings from texts like ``worker.concurrency=2`` or ``task_serializer=json``."""
        self._sources.use_cmdline(argv, namespace)

    def add_defaults(self, fun: Any) -> None:
        """Add defaults below everything that is configured: a mapping, or a function that returns one when it is
        needed."""
        self._sources.add_defaults(fun)

    def either(self, default_key: str, *defaults: Any) -> Any:
        """The first of ``defaults`` that is not None, else the setting."""
        return next((value for value in defaults if value is not None), None) or self.conf.get(default_key)

    @property
    def timezone(self) -> dt.tzinfo:
        """The zone in which naive times are read and schedules count: the setting, else UTC."""
        return self._sources.timezone

    def uses_utc_timezone(self) -> bool:
        """Whether that zone is UTC."""
        return str(self.timezone).upper() in ("UTC", "ETC/UTC")

    def now(self) -> dt.datetime:
        """The time now, aware, in the app's zone."""
        return dt.datetime.fromtimestamp(self.time(), self.timezone)

    # -- tasks

    @property
    def tasks(self) -> Any:
        """The tasks by name. The first access finalises the app."""
        if not self.complete:
            self.finalize(auto=True)
        return self._tasks

    def registered(self, name: str) -> Any:
        """The task of this name or None, without finalising."""
        return self._tasks.get(name)

    def adopt(self, task: Any) -> None:
        """Register a task made for this app."""
        self._tasks.register(task)
        type(task).on_bound(self)
        if self.finalized:
            self.annotate(task)
        self.mark(task)

    def _make_task(self, fun: Callable[..., Any], **options: Any) -> Any:
        return make_task(self, fun, **options)

    def _task_from_fun(self, fun: Callable[..., Any], name: str | None = None, base: Any = None, **options: Any) -> Any:
        return task_from_fun(self, fun, name=name, base=base, **options)

    def register_task(self, task: Any, **options: Any) -> Any:
        """Register a task object or class; return the task. Options become its attributes."""
        if isinstance(task, type):
            task = task()
        if not task.name:
            cls = type(task)
            task.name = self.gen_task_name(cls.__name__, cls.__module__)
        for key, value in options.items():
            setattr(task, key, value)
        if task._app is not self:
            task.__dict__["_app"] = self
        self.adopt(task)
        return task

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task defined as ``name`` in ``module``; ``__main__`` reads as the name of the app."""
        if module == "__main__" and self.main:
            module = self.main
        return f"{module}.{name}" if module else name

    def annotate(self, task: Any) -> None:
        """Apply the setting ``task_annotations`` to a task."""
        annotate(task, self.conf.task_annotations)

    @property
    def Task(self) -> Any:
        """The base of this app's tasks; assign another class to change it."""
        if self._task_class is None:
            self._task_class = self.create_task_cls()
        return self._task_class

    @Task.setter
    def Task(self, value: Any) -> None:
        self._task_class = value

    def create_task_cls(self) -> Any:
        """Make the base class of this app's tasks."""
        return self.subclass_with_self(self._symbol(self.task_cls), name="Task", attribute="_app", keep_reduce=True)

    def subclass_with_self(
        self,
        Class: Any,
        name: str | None = None,
        attribute: str = "app",
        reverse: str | None = None,
        keep_reduce: bool = False,
        **kw: Any,
    ) -> Any:
        """Make a subclass of ``Class`` whose ``attribute`` is this app."""
        del reverse, keep_reduce
        Class = self._symbol(Class)
        fields = {attribute: self, "__module__": Class.__module__, "__doc__": Class.__doc__, **kw}
        return type(name or Class.__name__, (Class,), fields)

    @staticmethod
    def _symbol(value: Any) -> Any:
        return import_path(value) if isinstance(value, str) else value

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Import the module ``related_name`` of each package when the worker (or ``import_default_modules``) loads,
        or now with ``force``.

        Without packages those of the framework are taken: Django's installed apps. A package without such a module is
        passed over.
        """

        def discover() -> None:
            names = packages() if callable(packages) else packages
            _discover.import_related(_discover.framework_packages() if names is None else names, related_name)

        if force:
            discover()
        else:
            self._discoveries.append(discover)

    def import_default_modules(self) -> None:
        """Import everything that defines tasks: the settings ``imports`` and ``include``, and what was to be
        discovered."""
        signals.import_modules.send(sender=self)
        _discover.prepare_framework()
        for module in (*(self.conf.imports or ()), *(self.conf.include or ())):
            _discover.import_module(module)
        for discover in self._discoveries:
            discover()

    def finalize(self, auto: bool = False) -> None:
        """Complete the registry: take over what others share, apply annotations. Repeating it does nothing."""
        with self._lock:
            if self.finalized:
                return
            if auto and not self.autofinalize:
                raise RuntimeError("the app is not finalized: call app.finalize() before its tasks are used")
            self.finalized = True
            self.on_after_configure.send(sender=self, source=self.conf)
            self._add_waiting_periodic_tasks()
            builtins.register(self)
            for construct in current.shared_constructors(self):
                construct(self)
            for task in list(self._tasks.values()):
                self.annotate(task)
                self.mark(task)
            self.complete = True
        if self.conf.tracing:
            otel.instrument()
        self.on_after_finalize.send(sender=self)

    # -- sending

    def send_task(
        self,
        name: str,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Send a task by name, known here or not, with the options of ``apply_async``; return a handle of its
        result."""
        return self._sender.send(name, args, kwargs, options)

    def prepare(self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Message:
        """Build and route the message of one call without sending it. Of a route to several queues the first counts."""
        if "task_type" not in options and (task := self.registered(name)) is not None:
            options = {**task.send_defaults, **options, "task_type": task}
        return self._sender.prepare(name, args, kwargs, options).messages[0]

    def signature(self, *args: Any, **kwargs: Any) -> Signature:
        """A signature that belongs to this app."""
        kwargs["app"] = self
        return Signature(*args, **kwargs)

    def AsyncResult(
        self, id: str, backend: Any = None, task_name: str | None = None, app: Any = None, parent: Any = None
    ) -> Any:
        """A handle of the result of an earlier call."""
        return AsyncResult(id, backend, task_name, app or self, parent)

    @property
    def router(self) -> Router:
        """Finds the destination of calls."""
        conf, known = self.conf, self._router
        while known is None or known[0] != conf.version:  # to read settings for the first time is to change them
            version = conf.version
            known = self._router = (version, Router(conf))
        return known[1]

    @property
    def queues(self) -> Queues:
        """The queues that the app knows."""
        return self.router.queues

    def select_queues(self, queues: str | Iterable[str] | None = None) -> None:
        """Consume from these queues only."""
        if queues:
            self.queues.select(queues)

    # -- what those that run its tasks need

    @property
    def env(self) -> AppEnv:
        """What the app provides to those that run its tasks."""
        known = self._env
        if known is None or known.version != self.conf.version:
            self._env = AppEnv(self)
            if known is not None:
                self._env.hostname = known.hostname
        return self._env  # type: ignore[return-value]

    # For doors that stand above: Talo's own app needs neither.

    def around(self, _task: Any) -> Callable[[Any, Callable[[Any], None]], None] | None:
        """What every run of a task goes through (``execution.env``)."""
        return None

    def takes(self, _task: Any) -> Callable[[Any, Callable[[Any], Any]], None] | None:
        """What takes the deliveries of a task in place of a run (``execution.env``)."""
        return None

    @property
    def oid(self) -> str:
        """An id of this app in this process."""
        if self._oid is None:
            self._oid = str(uuid.uuid3(uuid.NAMESPACE_OID, f"{uuid.getnode():x}-{os.getpid():x}-{id(self):x}"))
        return self._oid

    @property
    def thread_oid(self) -> str:
        """An id of this app in this thread."""
        oid = getattr(self._local, "oid", None)
        if oid is None:
            name = f"{self.oid}-{threading.get_ident():x}"
            oid = self._local.oid = str(uuid.uuid3(uuid.NAMESPACE_OID, name))
        return str(oid)

    # -- the end

    def close(self) -> None:
        """Close its connections; it is not the current app any more. Idempotent."""
        self._stores.close()
        self.closed = True
        current.deregister_app(self)

    def __enter__(self: A) -> A:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def after_fork(self) -> None:
        """Forget what must not be shared with the parent process; called in the child."""
        self._stores.forget()
        self._oid = None
        self._local = threading.local()
        self.on_after_fork.send(sender=self)

    def __reduce__(self) -> Any:
        return current.get_current_app, ()

    def __class_getitem__(cls, _item: Any) -> Any:
        return cls

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'}:{id(self):#x}>"


def _after_fork_in_child() -> None:
    for app in current.apps():
        app.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
current.use_default_factory(lambda: Talo("default", set_as_current=False))
use_current_app(current.get_current_app)
