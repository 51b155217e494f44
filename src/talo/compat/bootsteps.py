"""Bootsteps: what applications start and stop with their worker.

Owns the classes and their order. Talo's worker is no chain of bootsteps: those of an application run in its agent,
in threads, where ``celery.worker.components`` and ``celery.worker.consumer`` have stand-ins that can be required.
Started by ``compat.worker``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, ClassVar

from talo.compat.absent import refuse
from talo.compat.consuming import Pump
from talo.compat.messaging import Connection
from talo.util.names import import_path

__all__ = ["CLOSE", "RUN", "TERMINATE", "Blueprint", "ConsumerStep", "StartStopStep", "Step", "ordered"]

RUN, CLOSE, TERMINATE = 0x1, 0x2, 0x3

log = logging.getLogger("celery.bootsteps")


class Step:
    """Something of an application's that lives with the worker. ``requires`` names steps that come before it."""

    name: str | None = None
    label: str | None = None
    conditional = False
    requires: ClassVar[Any] = ()
    last = False
    enabled = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__dict__.get("name") is None:
            cls.name = f"{cls.__module__}.{cls.__qualname__}"

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        pass

    def include_if(self, parent: Any) -> Any:
        """Whether it takes part."""
        return self.enabled

    def instantiate(self, name: Any, *args: Any, **kwargs: Any) -> Any:
        """An object of a class or of the path of one."""
        return (import_path(name) if isinstance(name, str) else name)(*args, **kwargs)

    def include(self, parent: Any) -> bool:
        """Let it take part, if it wants to."""
        return self._should_include(parent)[0]

    def _should_include(self, parent: Any) -> tuple[bool, Any]:
        if not self.include_if(parent):
            return False, None
        return True, self.create(parent)

    def create(self, parent: Any) -> Any:
        """Make what it stands for."""

    @property
    def alias(self) -> str:
        """Its name for people."""
        return self.label or str(self.name).rpartition(".")[2]

    def info(self, obj: Any) -> Any:
        """What ``inspect stats`` shows of it."""

    def __repr__(self) -> str:
        return f"<step: {self.alias}>"


class StartStopStep(Step):
    """A step that is started, stopped and terminated, or whose ``create`` returns something that is."""

    obj: Any = None

    def start(self, parent: Any) -> Any:
        """Called when the worker starts."""
        return self.obj.start() if self.obj is not None else None

    def stop(self, parent: Any) -> Any:
        """Called when it stops."""
        return self.obj.stop() if self.obj is not None else None

    def close(self, parent: Any) -> Any:
        """Called before it stops."""

    def terminate(self, parent: Any) -> Any:
        """Called instead of ``stop`` where there is no time."""
        if self.obj is not None:
            return getattr(self.obj, "terminate", self.obj.stop)()
        return None

    def include(self, parent: Any) -> bool:
        take_part, made = self._should_include(parent)
        if take_part:
            self.obj = made
            parent.steps.append(self)
        return take_part


class ConsumerStep(StartStopStep):
    """A step that consumes messages by hand, in a thread of the worker's agent."""

    requires = ("celery.worker.consumer:Connection",)
    consumers: Any = None
    _connection: Any = None
    _pump: Pump | None = None

    def get_consumers(self, channel: Any) -> Any:
        """A list of ``kombu.Consumer(channel, ...)``. To be defined."""
        refuse(type(self).__name__, "it defines no get_consumers")

    def start(self, c: Any) -> None:
        self._connection = Connection(app=c.app)
        self.consumers = list(self.get_consumers(self._connection.channel()) or ())
        for consumer in self.consumers:
            consumer.consume()
        if self.consumers:
            self._pump = Pump(self._connection, str(self.name))
            self._pump.start()

    def stop(self, c: Any) -> None:
        """End after the message that is being handled, and give back what has not ended."""
        if self._pump is not None:
            self._pump.stop()
            self._pump = None
        if self._connection is not None:
            self._connection.release()

    shutdown = stop


class Blueprint:
    """A named set of steps; kept for code that subclasses it."""

    default_steps: ClassVar[Any] = set()

    def __init__(self, steps: Any = None, name: str | None = None, **_kwargs: Any) -> None:
        self.name = name or type(self).__name__
        self.types = {*(steps or ()), *self.default_steps}
        self.state: int | None = None


def ordered(steps: Iterable[Any]) -> list[Any]:
    """Step classes with those that others require first; what is not among them is not waited for."""
    left = sorted({_resolved(step) for step in steps}, key=lambda step: (bool(step.last), str(step.name)))
    done: list[Any] = []
    while left:
        ready = [step for step in left if not _needed(step) & {str(other.name) for other in left if other is not step}]
        if not ready:
            names = ", ".join(sorted(str(step.name) for step in left))
            log.error("These bootsteps require each other, and are started as they come: %s", names)
            ready = left[:]
        done += ready
        left = [step for step in left if step not in ready]
    return done


def _resolved(step: Any) -> Any:
    return import_path(step) if isinstance(step, str) else step


def _needed(step: Any) -> set[str]:
    names = set()
    for required in step.requires or ():
        found = required if isinstance(required, str) else required.name
        names.add(str(found).replace(":", "."))
    return names
