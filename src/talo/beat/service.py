"""Beat as a long-lived service: a scheduler, called pass by pass until it is told to stop.

Owns the loop and the choice of the scheduler. Called by ``cli.beat`` in a process of its own, and by the worker's
agent in a thread (``-B``).
"""

from __future__ import annotations

import logging
import threading
from functools import cached_property
from typing import Any

from talo import signals
from talo.beat.persistent import PersistentScheduler
from talo.beat.scheduler import Scheduler
from talo.beat.stored import StoreScheduler
from talo.errors import ImproperlyConfigured, OperationalError
from talo.util.names import import_path
from talo.util.optional import load
from talo.util.service import ThreadService

__all__ = ["EmbeddedService", "Service", "scheduler_class"]

log = logging.getLogger("talo.beat")

#: Seconds until the next try after something went wrong.
_PAUSE = 1.0
_GROUPS = ("talo.beat_schedulers", "celery.beat_schedulers")
#: Schedulers of packages for Celery, one of which may run at a time, and what does their work for any number.
_TAKEN_OVER = {
    "django": "talo.django.schedulers.DatabaseScheduler",
    "django_celery_beat.schedulers.DatabaseScheduler": "talo.django.schedulers.DatabaseScheduler",
}


def scheduler_class(app: Any, name: Any = None, group: str | None = None) -> Any:
    """The class that a name means: a class, a dotted path, or an alias of the entry points.

    Talo's own scheduler needs a store that keeps schedules; without one it is the local file's. With one, Talo's own
    takes the place of django-celery-beat's.
    """
    chosen = name or app.conf.beat_scheduler
    if isinstance(chosen, str):
        path = _path(chosen, group)
        chosen = _loaded(chosen, path if app.schedules is None else _TAKEN_OVER.get(path, path))
    if chosen is StoreScheduler and app.schedules is None:
        log.warning(
            "%s keeps no schedules: last runs are kept in the file %s, and only one beat may run",
            app.store.features.name,
            app.conf.beat_schedule_filename,
        )
        return PersistentScheduler
    return chosen


def _path(name: str, group: str | None) -> str:
    """The dotted path of what a name means."""
    for each in (group,) if group else _GROUPS:
        for point in load("importlib.metadata").entry_points(group=each):
            if point.name == name:
                return str(point.value).replace(":", ".")
    # Celery's own schedulers are ours under its names.
    path = name.replace("celery.beat", "talo.beat", 1) if name.startswith("celery.beat") else name
    return path.replace(":", ".")


def _loaded(name: str, path: str) -> Any:
    try:
        found = import_path(path)
    except (ImportError, AttributeError) as error:
        raise ImproperlyConfigured(f"the scheduler {name!r} cannot be loaded: {error}") from error
    if not callable(found):
        raise ImproperlyConfigured(f"the scheduler {name!r} is no class")
    return found


class Service:
    """One beat. Stopping twice, or before the start, is legal."""

    def __init__(
        self,
        app: Any,
        max_interval: float | None = None,
        schedule_filename: str | None = None,
        scheduler_cls: Any = None,
        remote_control: Any = None,
        hostname: str | None = None,
    ) -> None:
        del remote_control, hostname  # taken for compatibility
        self.app = app
        self.max_interval = max_interval or app.conf.beat_max_loop_interval
        self.schedule_filename = schedule_filename or app.conf.beat_schedule_filename
        self.scheduler_cls = scheduler_cls
        self._making = threading.Lock()
        self._stopping = threading.Event()
        self._stopped = threading.Event()

    def __reduce__(self) -> Any:
        return type(self), (self.max_interval, self.schedule_filename, self.scheduler_cls, self.app)

    def start(self, embedded_process: bool = False) -> None:
        """Run until ``stop`` is called by another thread or a signal handler."""
        try:
            signals.beat_init.send(sender=self)
            if embedded_process:
                signals.beat_embedded_init.send(sender=self)
            scheduler = self.scheduler
            log.info("beat: Starting...")
            while not self._stopping.is_set():
                self._stopping.wait(self._tick(scheduler))
            scheduler.close()
        finally:
            self._stopped.set()

    def _tick(self, scheduler: Any) -> float:
        try:
            interval = scheduler.tick()
        except OperationalError as error:
            log.error("beat: the store is away, trying again: %s", error)
            return _PAUSE
        except Exception:
            # A scheduler of the application's own may fail for reasons that pass, its database's for one.
            log.exception("beat: a pass of the scheduler failed, trying again")
            return _PAUSE
        if interval and interval > 0:
            log.debug("beat: Waking up in %.2f seconds.", interval)
            return float(interval)
        return 0.0

    def sync(self) -> None:
        """Let the scheduler keep its state, and end."""
        self.scheduler.close()
        self._stopped.set()

    def stop(self, wait: bool = False) -> None:
        """End after the pass that is going on; with ``wait`` return when it has."""
        self._stopping.set()
        if wait:
            self._stopped.wait()

    def get_scheduler(self, lazy: bool = False, extension_namespace: str | None = None) -> Any:
        """A new scheduler."""
        made = scheduler_class(self.app, self.scheduler_cls, extension_namespace)
        return made(app=self.app, schedule_filename=self.schedule_filename, max_interval=self.max_interval, lazy=lazy)

    @cached_property
    def scheduler(self) -> Scheduler:
        """The scheduler, made at the first use: one, although a beat in a thread is looked at from others."""
        with self._making:  # from Python 3.12 on a cached property takes no lock of its own
            if "scheduler" not in self.__dict__:
                self.__dict__["scheduler"] = self.get_scheduler()
            return self.__dict__["scheduler"]  # type: ignore[no-any-return]


class EmbeddedService(ThreadService):
    """A beat in a thread of another long-lived process; it never takes that process down."""

    def __init__(self, app: Any, max_interval: float | None = None, **kwargs: Any) -> None:
        kwargs.pop("thread", None)
        super().__init__("talo-beat")
        self.service = Service(app, max_interval, **kwargs)

    def _run(self) -> None:
        try:
            self.service.start(embedded_process=True)
        except ImproperlyConfigured as error:
            log.critical("beat does not run: %s", error)
        except Exception:
            log.critical("beat does not run", exc_info=True)

    def stop(self) -> None:
        """Tell it to end."""
        self.service.stop()

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()
