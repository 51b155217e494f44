"""The app as Celery's users and plug-ins know it: Celery's defaults, and the doors that Talo's own app does not have.

Owns the class behind ``celery.Celery``. What it hands out (``amqp``, ``loader``, ``log``, ``backend``, connections)
stands in the modules of those names; sending and running are Talo's.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from talo import __version__
from talo.app.app import Talo
from talo.app.groups import GroupResult, ResultSet
from talo.app.result import AsyncResult
from talo.compat import strategy, trace
from talo.compat.amqp import AMQP
from talo.compat.conf import CelerySettings
from talo.compat.loaders import AppLoader
from talo.compat.log import Logging
from talo.compat.messaging import Connection, Producer
from talo.compat.pools import ProducerPool
from talo.compat.request import with_hooks
from talo.compat.stores import CompatStores
from talo.compat.worker import Steps
from talo.util.names import import_path

__all__ = ["Celery", "bugreport"]


class Celery(Talo):
    """An app with Celery's defaults. Classes that a subclass or a keyword replaces are taken as Celery takes them."""

    celery_defaults = True
    settings_cls = CelerySettings
    stores_cls: Any = CompatStores
    amqp_cls: Any = AMQP
    loader_cls: Any = AppLoader
    log_cls: Any = Logging
    #: Keywords of the constructor that name a class.
    _REPLACES: ClassVar[Mapping[str, str]] = {"amqp": "amqp_cls", "loader": "loader_cls", "log": "log_cls"}

    def __init__(self, main: str | None = None, loader: Any = None, backend: Any = None, *args: Any, **kwargs: Any):
        self.namespace = kwargs.get("namespace")
        given = dict(zip(("amqp", "events", "log", "control"), args, strict=False))
        for keyword, attribute in self._REPLACES.items():
            chosen = loader if keyword == "loader" else kwargs.get(keyword, given.get(keyword))
            if chosen is not None and chosen not in ("app", "default"):
                setattr(self, attribute, chosen)
        self.fixups: set[Any] = set(kwargs.get("fixups") or ())
        super().__init__(main, loader, backend, *args, **kwargs)
        self.services.append(lambda: Steps(self))

    # -- configuration

    def config_from_object(self, obj: Any, silent: bool = False, force: bool = False, namespace: Any = None) -> None:
        self.namespace = namespace or self.namespace
        super().config_from_object(obj, silent=silent, force=force, namespace=namespace)

    # -- what hangs on it

    def _made(self, cls: Any) -> Any:
        found = import_path(cls) if isinstance(cls, str) else cls
        return found(app=self)

    @functools.cached_property
    def amqp(self) -> Any:
        """Queues and how messages are built."""
        return self._made(self.amqp_cls)

    @functools.cached_property
    def loader(self) -> Any:
        """Imports what defines tasks."""
        return self._made(self.loader_cls)

    @functools.cached_property
    def log(self) -> Any:
        """Sets logging up."""
        made = import_path(self.log_cls) if isinstance(self.log_cls, str) else self.log_cls
        return made(self)

    @property
    def backend(self) -> Any:
        """Where results are kept, with the methods of Celery's backends."""
        stores: Any = self._stores
        return stores.celery_backend

    @functools.cached_property
    def AsyncResult(self) -> Any:
        """The class of results that belong to this app."""
        return _bound(AsyncResult, self)

    @functools.cached_property
    def ResultSet(self) -> Any:
        """The class of result sets that belong to this app."""
        return _bound(ResultSet, self)

    @functools.cached_property
    def GroupResult(self) -> Any:
        """The class of group results that belong to this app."""
        return _bound(GroupResult, self)

    @property
    def annotations(self) -> Any:
        """The setting ``task_annotations``."""
        return self.conf.task_annotations

    # -- messages

    def connection(self, url: str | None = None, **_options: Any) -> Connection:
        """A handle of the broker: its URL and, where the store has one, its client."""
        return Connection(url or self.conf.broker_url, app=self)

    broker_connection = connection

    def connection_for_read(self, url: str | None = None, **options: Any) -> Connection:
        """The same; Talo reads and writes at one place."""
        return self.connection(url or self.conf.broker_read_url, **options)

    def connection_for_write(self, url: str | None = None, **options: Any) -> Connection:
        """The same; Talo reads and writes at one place."""
        return self.connection(url or self.conf.broker_write_url, **options)

    @contextmanager
    def connection_or_acquire(self, connection: Any = None, pool: bool = True, **_options: Any) -> Iterator[Any]:
        """``connection``, or one of the app's."""
        del pool
        yield connection if connection is not None else self.connection()

    @contextmanager
    def producer_or_acquire(self, producer: Any = None) -> Iterator[Any]:
        """``producer``, or one of the app's."""
        yield producer if producer is not None else Producer(self.connection())

    default_connection = connection_or_acquire
    default_producer = producer_or_acquire

    @functools.cached_property
    def producer_pool(self) -> Any:
        """Producers to acquire; they share the app's connections."""
        return ProducerPool(self)

    @functools.cached_property
    def pool(self) -> Any:
        """Connections to acquire; they share the app's."""
        return ProducerPool(self, connections=True)

    # -- programs

    def start(self, argv: Sequence[str] | None = None) -> None:
        """Run the command line with this app, and exit with its code."""
        import_path("talo.compat.programs:run_command")(self, argv)

    def worker_main(self, argv: Sequence[str] | None = None) -> None:
        """Run the worker of a command line (``['worker', '-l', 'INFO']``) with this app."""
        import_path("talo.compat.programs:worker_main")(self, argv)

    @functools.cached_property
    def Worker(self) -> Any:
        """The worker program."""
        return self.subclass_with_self("talo.compat.programs:Worker")

    @functools.cached_property
    def WorkController(self) -> Any:
        """The worker."""
        return self.subclass_with_self("talo.compat.worker:WorkController")

    @functools.cached_property
    def Beat(self) -> Any:
        """The beat program."""
        return self.subclass_with_self("talo.compat.programs:Beat")

    def bugreport(self) -> str:
        """What this installation is, for bug reports."""
        return bugreport(self)

    # -- running

    def around(self, task: Any) -> Callable[[Any, Callable[[Any], None]], None] | None:
        """What plug-ins have put around the runs of a task: a tracer of theirs, a request class of its own."""
        return with_hooks(self, task, trace.around(self, task))

    def takes(self, task: Any) -> Callable[[Any, Callable[[Any], Any]], None] | None:
        """What takes the deliveries of a task that has its own way with messages (``Task.Strategy``)."""
        own = getattr(task, "Strategy", None)
        if own is None or own == strategy.DEFAULT:
            return None
        return strategy.taker(self, task, import_path(own) if isinstance(own, str) else own)


def bugreport(app: Any = None) -> str:
    """What this installation is, for bug reports."""
    lines = [f"software -> talo:{__version__} (as celery) python:{platform.python_version()}"]
    lines.append(f"platform -> system:{platform.system()} kernel:{platform.release()}")
    if app is not None:
        lines += [f"app      -> {app.main or '__main__'}", app.conf.humanize(censored=True)]
    return "\n".join(lines)


def _bound(cls: Any, app: Talo) -> Any:
    """A subclass whose objects belong to ``app`` unless they say otherwise; they pickle as objects of ``cls``."""

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        cls.__init__(self, *args, **{**({"app": app} if len(args) < _PLACE[cls] else {}), **kwargs})

    def reduce(self: Any) -> Any:
        return (cls, *cls.__reduce__(self)[1:])

    fields = {"__init__": init, "__reduce__": reduce, "__module__": cls.__module__, "__doc__": cls.__doc__}
    if cls is GroupResult:
        fields["restore"] = staticmethod(lambda id, backend=None, app=app: GroupResult.restore(id, backend, app))
    return type(cls.__name__, (cls,), fields)


#: At which place the app stands among the arguments.
_PLACE = {AsyncResult: 4, ResultSet: 2, GroupResult: 99}
