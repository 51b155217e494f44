"""What a command may know of its worker and do to it. The worker fulfils it (``worker.node``); a command sees nothing
else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

__all__ = ["Node", "Refused"]


class Refused(ValueError):
    """A command that this worker cannot carry out; the text says why, and is the answer."""


class Node(Protocol):
    """One worker, as commands see it. Lists of tasks are request infos, in Celery's form."""

    #: The app, with its settings, tasks and stores.
    app: Any
    #: The node name.
    hostname: str

    @property
    def clock(self) -> int:
        """The logical clock."""
        ...

    @property
    def queues(self) -> Sequence[str]:
        """The queues that it consumes."""
        ...

    def running(self, *, safe: bool = False) -> list[dict[str, Any]]:
        """The tasks that run; ``safe``: arguments as text."""
        ...

    def fetched(self, *, safe: bool = False) -> list[dict[str, Any]]:
        """The tasks that it holds and that do not run yet."""
        ...

    def stats(self) -> dict[str, Any]:
        """Numbers about the worker."""
        ...

    def revoked(self) -> list[str]:
        """Ids of revoked tasks."""
        ...

    def rate_limits(self) -> Mapping[str, Any]:
        """Rate limits that were set at run time, by task."""
        ...

    def revoke(self, ids: Iterable[str], *, terminate: bool) -> list[str]:
        """Remember revoked ids; return those of tasks that run here, which with ``terminate`` are being stopped."""
        ...

    def revoke_stamps(self, stamps: Sequence[str], *, terminate: bool) -> list[str]:
        """The same by stamps (``name=value``)."""
        ...

    def consume(self, queue: str) -> None:
        """Consume one more queue."""
        ...

    def consume_no_more(self, queue: str) -> None:
        """Consume a queue no more."""
        ...

    def set_rate_limit(self, task: str, rate: str | float | None) -> None:
        """Limit how often a task starts on this worker."""
        ...

    def set_time_limit(self, task: str, hard: float | None, soft: float | None) -> None:
        """Limit how long runs of a task last that begin from now on."""
        ...

    def set_events(self, on: bool) -> bool:
        """Tell of tasks, or tell no more; False if it was so already."""
        ...

    def beat_once(self) -> None:
        """Send a heartbeat now."""
        ...

    def grow(self, number: int) -> None:
        """Start so many more processes, or end so many if negative. ``Refused`` where that cannot be."""
        ...

    def autoscale(self, most: int | None, least: int | None) -> tuple[int, int]:
        """Set the bounds of autoscaling; return them. ``Refused`` on a worker that does not autoscale."""
        ...

    def restart_pool(self) -> None:
        """Replace all processes."""
        ...

    def shut_down(self) -> None:
        """Stop the worker as TERM does."""
        ...

    def look_again(self) -> None:
        """Read what is marked in the store anew."""
        ...
