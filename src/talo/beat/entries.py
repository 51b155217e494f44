"""Entries of a classic scheduler: what Celery's third-party schedulers subclass and pickle.

Owns ``ScheduleEntry`` and lazy arguments. Called by ``scheduler``; the stored scheduler keeps ``jobs`` instead.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from functools import total_ordering
from typing import Any

from talo.schedules.base import schedstate
from talo.schedules.interval import maybe_schedule
from talo.wire.repr import saferepr

__all__ = ["BeatLazyFunc", "ScheduleEntry", "evaluated"]


class BeatLazyFunc:
    """An argument that is computed each time the task is sent."""

    def __init__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._func = func
        self._func_params: dict[str, Any] = {"args": args, "kwargs": kwargs}

    def __call__(self) -> Any:
        return self.delay()

    def delay(self) -> Any:
        """The value of now."""
        return self._func(*self._func_params["args"], **self._func_params["kwargs"])


def evaluated(args: Any, kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with lazy ones computed."""

    def value(given: Any) -> Any:
        return given() if isinstance(given, BeatLazyFunc) else given

    return [value(each) for each in args or ()], {key: value(each) for key, each in (kwargs or {}).items()}


@total_ordering
class ScheduleEntry:
    """One periodic task. ``next(entry)`` is the entry after a run."""

    name: Any = None
    schedule: Any = None
    args: Any = None
    kwargs: Any = None
    options: Any = None
    last_run_at: Any = None
    total_run_count: int = 0

    def __init__(
        self,
        name: str | None = None,
        task: str | None = None,
        last_run_at: dt.datetime | None = None,
        total_run_count: int | None = None,
        schedule: Any = None,
        args: Any = (),
        kwargs: Any = None,
        options: Any = None,
        relative: bool = False,
        app: Any = None,
    ) -> None:
        self.app = app
        self.name = name
        self.task = task
        self.args = args
        self.kwargs = kwargs or {}
        self.options = options or {}
        self.schedule = maybe_schedule(schedule, relative, app=app)
        self.last_run_at = last_run_at or self.default_now()
        self.total_run_count = total_run_count or 0

    def default_now(self) -> dt.datetime:
        """From when a new entry counts."""
        if self.schedule is not None:
            return self.schedule.now()  # type: ignore[no-any-return]
        return self.app.now() if self.app is not None else dt.datetime.now(dt.UTC)

    _default_now = default_now

    def _next_instance(self, last_run_at: dt.datetime | None = None) -> ScheduleEntry:
        fields = dict(self)
        fields["last_run_at"] = last_run_at or self.default_now()
        fields["total_run_count"] = self.total_run_count + 1
        return type(self)(**fields, app=self.app)

    def __next__(self, last_run_at: dt.datetime | None = None) -> ScheduleEntry:
        return self._next_instance(last_run_at)

    next = __next__

    def update(self, other: Any) -> None:
        """Take over what may be edited of another entry."""
        self.task, self.schedule, self.args = other.task, other.schedule, other.args
        self.kwargs, self.options = other.kwargs, other.options

    def is_due(self) -> schedstate:
        """See ``BaseSchedule.is_due``."""
        return self.schedule.is_due(self.last_run_at)  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        names = ("name", "task", "last_run_at", "total_run_count", "schedule", "args", "kwargs", "options")
        return iter([(name, getattr(self, name)) for name in names])

    def __reduce__(self) -> Any:
        return type(self), tuple(value for _, value in self)

    def editable_fields_equal(self, other: Any) -> bool:
        """Whether both would send the same at the same times."""
        names = ("task", "args", "kwargs", "options", "schedule")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScheduleEntry) and self.editable_fields_equal(other)

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, other: Any) -> bool:
        # Entries of one moment may go in any order, but they have to be comparable for the heap.
        return id(self) < id(other) if isinstance(other, ScheduleEntry) else NotImplemented

    def __repr__(self) -> str:
        args, kwargs = self.args or (), self.kwargs if isinstance(self.kwargs, Mapping) else {}
        if self.app is not None:
            args, kwargs = self.app.secrets.shown(self.task, args, kwargs)
        shown = [saferepr(arg) for arg in args] + [f"{key}={saferepr(kwargs[key])}" for key in kwargs]
        return f"<ScheduleEntry: {self.name} {self.task}({', '.join(shown)}) {self.schedule}"
