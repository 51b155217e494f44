"""``app.control.inspect()``: what workers say of themselves.

Owns the questions and the form of what is returned: ``{node: answer}``, or None when nobody answered. The answers are
made by ``control.inspecting`` on Talo's workers and by Celery's own on its. Made by ``app.control``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from talo.errors import TaloWarning

__all__ = ["Inspect"]


class Inspect:
    """Questions to the workers of one app; a single name as ``destination`` gets that node's answer bare."""

    app: Any = None

    def __init__(
        self,
        destination: str | Sequence[str] | None = None,
        timeout: float = 1.0,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        connection: Any = None,
        app: Any = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        self.app = app or self.app
        self.destination = destination
        self.timeout = timeout
        self.callback = callback
        self.connection = connection
        self.limit = limit
        self.pattern = pattern
        self.matcher = matcher

    def _request(self, command: str, timeout: float | None = None, **arguments: Any) -> Any:
        replies = self.app.control.broadcast(
            command,
            arguments=arguments,
            destination=self.destination,
            reply=True,
            timeout=self.timeout if timeout is None else timeout,
            limit=self.limit,
            callback=self.callback,
            pattern=self.pattern,
            matcher=self.matcher,
        )
        return self._prepare(replies)

    def _prepare(self, replies: list[dict[str, Any]] | None) -> Any:
        if not replies:
            return None
        by_node = flatten(replies)
        return by_node.get(self.destination) if isinstance(self.destination, str) else by_node

    def report(self) -> Any:
        """Text about each installation, for bug reports."""
        return self._request("report")

    def clock(self) -> Any:
        """The logical clock of each."""
        return self._request("clock")

    def active(self, safe: bool | None = None) -> Any:
        """The tasks that run. ``safe``: arguments as text."""
        return self._request("active", safe=safe) if safe is not None else self._request("active")

    def scheduled(self, safe: bool | None = None) -> Any:
        """The delayed tasks that a worker holds in its memory; none on Talo's, whose delayed tasks wait in the
        store."""
        return self._request("scheduled") if safe is None else self._request("scheduled", safe=safe)

    def reserved(self, safe: bool | None = None) -> Any:
        """The tasks that were fetched and do not run yet."""
        return self._request("reserved") if safe is None else self._request("reserved", safe=safe)

    def stats(self) -> Any:
        """Numbers about each worker, its pool and its broker."""
        return self._request("stats")

    def revoked(self) -> Any:
        """Ids of revoked tasks."""
        return self._request("revoked")

    def registered(self, *taskinfoitems: str) -> Any:
        """Names of known tasks, with these attributes where they are set."""
        return self._request("registered", taskinfoitems=taskinfoitems)

    registered_tasks = registered

    def ping(self, destination: str | Sequence[str] | None = None) -> Any:
        """Who is there."""
        if destination is not None:
            self.destination = destination
        return self._request("ping")

    def active_queues(self) -> Any:
        """The queues that each consumes."""
        return self._request("active_queues")

    def query_task(self, *ids: Any) -> Any:
        """Where these tasks are, of those that a worker has: ``{id: [state, task]}``."""
        if len(ids) == 1 and isinstance(ids[0], list | tuple):
            ids = tuple(ids[0])
        return self._request("query_task", ids=ids)

    def conf(self, with_defaults: bool = False) -> Any:
        """The settings, secrets hidden."""
        return self._request("conf", with_defaults=with_defaults)

    def hello(self, from_node: str, revoked: Any = None) -> Any:
        """What a worker of Celery asks its neighbours when it starts."""
        return self._request("hello", from_node=from_node, revoked=revoked)

    def memsample(self) -> Any:
        """Resident memory of each."""
        return self._request("memsample")

    def memdump(self, samples: int = 10) -> Any:
        """The memory samples that were taken."""
        return self._request("memdump", samples=samples)

    def objgraph(self, type: str = "Request", n: int = 200, max_depth: int = 10) -> Any:
        """A drawing of references; Talo's workers refuse."""
        return self._request("objgraph", timeout=max(self.timeout, 60.0), num=n, max_depth=max_depth, type=type)


def flatten(replies: list[dict[str, Any]]) -> dict[str, Any]:
    """Join answers by node, with a warning when two workers have one name."""
    nodes: dict[str, Any] = {}
    twice: list[str] = []
    for reply in replies:
        twice += [name for name in reply if name in nodes]
        nodes.update(reply)
    if twice:
        names = ", ".join(sorted(set(twice)))
        warnings.warn(
            f"several workers are called {names}: give each a name of its own (-n name@%h)", TaloWarning, stacklevel=4
        )
    return nodes
