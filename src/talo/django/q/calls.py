"""Calls as objects, as Django Q has them: ``AsyncTask``, ``Iter``, ``Chain``.

Owns putting a call together before it is sent, and asking for its result afterwards; the work is ``tasks``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from talo.django.q import tasks

__all__ = ["AsyncTask", "Chain", "Iter"]


class AsyncTask:
    """One call. Its options are attributes that may be set until it is run: ``task.hook = "mail.tasks.sent"``."""

    hook: Any = None
    group: str | None = None
    save: bool | None = None
    sync: bool | None = None
    cached: bool | float | None = None
    task_name: str | None = None
    timeout: float | None = None
    ack_failure: bool | None = None
    cluster: str | None = None
    broker: Any = None

    def __init__(self, func: str | Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.func = func
        self.args = args
        #: Of the last ``run``.
        self.id: str | None = None
        for name in tasks.OPTIONS:
            if name in kwargs:
                setattr(self, name, kwargs.pop(name))
        self.kwargs = kwargs

    def run(self) -> str:
        """Send it; return its id."""
        given = {name: getattr(self, name) for name in tasks.OPTIONS if getattr(self, name) is not None}
        self.id = tasks.async_task(self.func, *self.args, **self.kwargs, **given)
        return self.id

    def result(self, wait: float = 0) -> Any:
        """As ``tasks.result``; None before ``run``."""
        return tasks.result(self.id, wait, self._cached) if self.id else None

    def fetch(self, wait: float = 0) -> Any:
        """As ``tasks.fetch``; None before ``run``."""
        return tasks.fetch(self.id, wait, self._cached) if self.id else None

    def result_group(self, failures: bool = False, wait: float = 0, count: int | None = None) -> Any:
        """The results of its group; None without one."""
        return tasks.result_group(self.group, failures, wait, count, self._cached) if self.group else None

    def fetch_group(self, failures: bool = True, wait: float = 0, count: int | None = None) -> Any:
        """The ended tasks of its group; None without one."""
        return tasks.fetch_group(self.group, failures, wait, count, self._cached) if self.group else None

    @property
    def _cached(self) -> bool | None:
        return None if self.cached is None else bool(self.cached)


class Iter:
    """A call for each of many items."""

    def __init__(self, func: str | Callable[..., Any], args: Sequence[Any] = (), **kwargs: Any) -> None:
        self.func = func
        self.args = list(args)
        self.kwargs = kwargs
        self.id: str | None = None

    def append(self, *args: Any) -> int:
        """Add an item; return how many there are."""
        self.args.append(args)
        return self.length()

    def run(self) -> str:
        """Send them; return the id of their one result."""
        self.id = tasks.async_iter(self.func, self.args, **self.kwargs)
        return self.id

    def result(self, wait: float = 0) -> Any:
        """The list of results; None until all have ended, and before ``run``."""
        return tasks.result(self.id, wait, self.kwargs.get("cached")) if self.id else None

    def fetch(self, wait: float = 0) -> Any:
        """The ended task with the list of results."""
        return tasks.fetch(self.id, wait, self.kwargs.get("cached")) if self.id else None

    def length(self) -> int:
        """How many items there are."""
        return len(self.args)


class Chain:
    """Calls that run one after the other."""

    def __init__(
        self,
        chain: Sequence[Any] = (),
        group: str | None = None,
        cached: bool | float | None = None,
        sync: bool | None = None,
    ) -> None:
        self.chain = list(chain)
        self.group = group
        self.cached = cached
        self.sync = sync
        self.started = False

    def append(self, func: str | Callable[..., Any], *args: Any, **kwargs: Any) -> int:
        """Add a call; return how many there are."""
        self.chain.append((func, args, kwargs))
        return self.length()

    def run(self) -> str:
        """Send them; return the name of their group."""
        self.group = tasks.async_chain(self.chain, self.group, self.cached, self.sync)
        self.started = True
        return self.group

    def result(self, wait: float = 0) -> Any:
        """The results of all steps; None until the last has ended, and before ``run``."""
        found = self.fetch(failures=False, wait=wait)
        return [row.result for row in found] if found is not None and len(found) == self.length() else None

    def fetch(self, failures: bool = True, wait: float = 0) -> Any:
        """The ended tasks of all steps."""
        cached = None if self.cached is None else bool(self.cached)
        return (
            tasks.fetch_group(self.group, failures, wait, self.length(), cached)
            if self.started and self.group
            else None
        )

    def current(self) -> int:
        """How many steps have ended."""
        cached = None if self.cached is None else bool(self.cached)
        return tasks.count_group(self.group, cached=cached) if self.started and self.group else 0

    def length(self) -> int:
        """How many steps there are."""
        return len(self.chain)
