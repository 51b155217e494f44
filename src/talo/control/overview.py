"""What goes on, in one look: workers, queues, what ended lately and what failed.

Owns the putting together, from leases, queues and counters; it asks no worker and only reads. Called by
``cli.top``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from talo import states
from talo.control.queues import queue_stats
from talo.stores.base import OwnerInfo, QueueStats
from talo.stores.history import Count, History, quantile

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["FailureKind", "Overview", "TaskRate", "WorkerLoad", "overview"]

_MINUTE = 60
#: What counts as a failure: it ended badly, or its process died under it.
_FAILED = frozenset({states.FAILURE, "LOST"})


class WorkerLoad(msgspec.Struct, kw_only=True):
    """One worker, by its leases."""

    name: str
    #: One of its leases holds.
    alive: bool = False
    #: Tasks that it can run at a time, and that it holds: those that run and those that are fetched.
    slots: int = 0
    held: int = 0


class TaskRate(msgspec.Struct, kw_only=True):
    """What has ended of one task in the window."""

    name: str
    ended: int = 0
    failed: int = 0
    retried: int = 0
    #: Per second.
    rate: float = 0.0
    #: Seconds below which half and most of the runs lie; None: none has run.
    p50: float | None = None
    p95: float | None = None


class FailureKind(msgspec.Struct, kw_only=True):
    """One kind of failure in the window."""

    name: str
    error: str
    count: int
    #: Epoch seconds.
    last: float


class Overview(msgspec.Struct, kw_only=True):
    """One look."""

    #: Epoch seconds.
    at: float
    #: The seconds that rates are over.
    window: float
    #: Counters are kept: else there are no tasks and failures to tell of.
    counted: bool
    workers: list[WorkerLoad]
    queues: list[QueueStats]
    #: How many runs of all tasks have ended in the window, and how many of them failed.
    ended: int = 0
    failed: int = 0
    #: The tasks that ended most, first.
    tasks: list[TaskRate]
    failures: list[FailureKind]


def overview(app: Talo, now: float, window: float, most: int = 20) -> Overview:
    """Return what goes on ``now`` (epoch seconds), with rates over the last ``window`` seconds (whole minutes), and at
    most so many tasks and kinds of failures. ``OperationalError``."""
    broker = app.store.broker
    state = app.state_store
    history = None if state is None or app.conf.history == "off" else state.history
    # Counters are by the minute: the window begins with one.
    since = (now - window) // _MINUTE * _MINUTE
    tasks = [] if history is None else _tasks(history.counters(since, now + 1, _MINUTE), now - since)
    return Overview(
        at=now,
        window=now - since,
        counted=history is not None,
        workers=_workers(broker.owners()),
        queues=queue_stats(app),
        ended=sum(task.ended for task in tasks),
        failed=sum(task.failed for task in tasks),
        tasks=tasks[:most],
        failures=[] if history is None else _failures(history, since, most),
    )


def _workers(owners: Iterable[OwnerInfo]) -> list[WorkerLoad]:
    found: dict[str, WorkerLoad] = {}
    for owner in owners:
        load = found.setdefault(owner.worker, WorkerLoad(name=owner.worker))
        load.alive = load.alive or owner.remaining > 0
        load.slots += owner.slots
        load.held += owner.held
    return [found[name] for name in sorted(found)]


def _tasks(counts: Iterable[Count], seconds: float) -> list[TaskRate]:
    found: dict[str, TaskRate] = {}
    buckets: dict[str, dict[int, int]] = {}
    for count in counts:
        rate = found.setdefault(count.name, TaskRate(name=count.name))
        rate.ended += count.count
        rate.failed += count.count if count.state in _FAILED else 0
        rate.retried += count.count if count.state == states.RETRY else 0
        total = buckets.setdefault(count.name, {})
        for bucket, number in count.run_buckets.items():
            total[bucket] = total.get(bucket, 0) + number
    for rate in found.values():
        rate.rate = rate.ended / max(seconds, 1.0)
        rate.p50, rate.p95 = quantile(buckets[rate.name], 0.5), quantile(buckets[rate.name], 0.95)
    return sorted(found.values(), key=lambda rate: (-rate.ended, rate.name))


def _failures(history: History, since: float, most: int) -> list[FailureKind]:
    return [
        FailureKind(name=each.name, error=each.example.error or each.example.state, count=each.count, last=each.last)
        for each in history.failures(since, most)
    ]
