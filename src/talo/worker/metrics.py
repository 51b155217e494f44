"""What ``/metrics`` tells, in Prometheus's text format.

Owns the names of the metrics and the bounds of their labels; the table stands in ``docs/howto/metrics.md``. Reads
boards, meters and, at most every few seconds, the store's numbers. No label carries an id or a host: Prometheus knows
where it reads. The one file that knows prometheus-client. Called by ``worker.health``, in the agent."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from talo.errors import OperationalError, StoreError
from talo.stores.base import OwnerInfo, QueueStats
from talo.util.optional import load
from talo.worker.heart import version
from talo.worker.meter import BOUNDS, MOST_QUEUES, Bounded, Kind, Meter
from talo.worker.share import Common, Exit, Share

if TYPE_CHECKING:
    from talo.app.app import Talo
    from talo.worker.node import WorkerNode
    from talo.worker.options import WorkerOptions

__all__ = ["FRESH", "Metrics"]

#: Seconds for which the store's numbers are told again before they are asked for anew, however often somebody scrapes.
FRESH = 5.0


class Metrics:
    """The metrics of one worker."""

    def __init__(
        self, app: Talo, options: WorkerOptions, shares: Sequence[Share], common: Common, node: WorkerNode
    ) -> None:
        self._options = options
        self._shares = shares
        self._common = common
        numbers = (None, *(share.number for share in shares))
        most = options.metrics_max_tasks
        self._meters = [meter for number in numbers if (meter := common.meter(number, most)) is not None]
        self._sample = StoreSample(app, node)
        self._bounds = {Kind.ENDED: Bounded(most), Kind.WAITED: Bounded(MOST_QUEUES), Kind.DEAD: Bounded(MOST_QUEUES)}
        self._lock = threading.Lock()

    def render(self) -> tuple[str, bytes]:
        """Return content type and text. ``MissingExtra`` without prometheus-client."""
        client = load("prometheus_client", "prometheus-client", "prometheus")
        load("prometheus_client.core", "prometheus-client", "prometheus")
        registry = client.CollectorRegistry()
        registry.register(self)
        self._families = client.core
        with self._lock:
            return client.CONTENT_TYPE_LATEST, client.generate_latest(registry)

    def describe(self) -> Iterable[Any]:
        """Nothing is asked for at registration: part of prometheus-client's collector."""
        return ()

    def collect(self) -> Iterator[Any]:
        """Yield every family: part of prometheus-client's collector."""
        info = self._families.InfoMetricFamily("talo_build", "The version of Talo")
        info.add_metric((), {"version": version()})
        yield info
        yield from self._of_tasks()
        yield from self._of_worker()
        yield from self._of_store()

    # -- tasks -------------------------------------------------------------------------------------------------------

    def _of_tasks(self) -> Iterator[Any]:
        sums = self._summed(self._meters)
        ended = self._counter("talo_tasks", "Runs that have ended here", ("task", "queue", "state"))
        dead = self._counter("talo_dead_letters", "Dead letters that runs have left here", ("reason",))
        ran = self._histogram("talo_task_run_seconds", "How long the functions of tasks ran", "task")
        waited = self._histogram("talo_task_wait_seconds", "How long tasks could have started and did not", "queue")
        for (kind, *labels), numbers in sorted(sums.items()):
            if kind in (Kind.ENDED, Kind.DEAD):
                (ended if kind == Kind.ENDED else dead).add_metric(labels, numbers[0])
            else:
                (ran if kind == Kind.RAN else waited).add_metric(labels, *_histogram_of(numbers))
        yield from (ended, dead, ran, waited)

    def _summed(self, meters: Iterable[Meter]) -> dict[tuple[str, ...], list[float]]:
        """The numbers of all processes. Each bounds its own labels; together they are bounded again. What has a label
        of its own keeps it, so no counter ever falls."""
        tasks, queues, reasons = (self._bounds[kind] for kind in (Kind.ENDED, Kind.WAITED, Kind.DEAD))
        bounds = {Kind.ENDED: (tasks, queues), Kind.RAN: (tasks,), Kind.WAITED: (queues,), Kind.DEAD: (reasons,)}
        found: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0] * (len(BOUNDS) + 2))
        for meter in meters:
            for kind, labels, numbers in meter.rows():
                named = [bound(label) for bound, label in zip(bounds[kind], labels, strict=False)]
                total = found[(kind, *named, *labels[len(named) :])]
                for place in range(len(total)):
                    total[place] += numbers[place]
        return found

    # -- the worker --------------------------------------------------------------------------------------------------

    def _of_worker(self) -> Iterator[Any]:
        boards = [share.board for share in self._shares if share.board.pid]
        yield self._gauge("talo_worker_processes", "Processes that run tasks", len(boards))
        yield self._gauge("talo_worker_slots", "Tasks that can run at a time", sum(board.slots for board in boards))
        busy = sum(len(board.running()) for board in boards)
        yield self._gauge("talo_worker_slots_busy", "Tasks that run", busy)
        unstarted = sum(board.unstarted for board in boards)
        yield self._gauge("talo_worker_prefetched", "Tasks that are fetched and have not started", unstarted)
        exits = self._counter("talo_worker_process_exits", "Processes that ended before the worker", ("cause",))
        for cause in Exit:
            exits.add_metric((cause.name.lower(),), self._common.exits(cause))
        yield exits
        refused = self._counter("talo_settlements_refused", "Ends that others had settled or taken over")
        refused.add_metric((), sum(meter.refused for meter in self._meters))
        yield refused
        lost = self._counter("talo_leases_lost", "Processes declared dead although they lived")
        lost.add_metric((), sum(meter.leases_lost for meter in self._meters))
        yield lost

    # -- the store ---------------------------------------------------------------------------------------------------

    def _of_store(self) -> Iterator[Any]:
        up, queues, owners = self._sample.get(time.monotonic())
        yield self._gauge("talo_broker_up", "Whether the broker answers", int(up))
        if not up:
            return
        waiting = self._families.GaugeMetricFamily("talo_queue_tasks", "Tasks in a queue", labels=("queue", "state"))
        oldest = self._families.GaugeMetricFamily(
            "talo_queue_oldest_seconds", "For how long the oldest task of a queue could have started", labels=("queue",)
        )
        for stats in queues:
            # Where the store does not know, nothing is told. Nothing waits: nothing is old.
            for state in ("ready", "delayed", "leased"):
                if (number := getattr(stats, state)) is not None:
                    waiting.add_metric((stats.name, state), number)
            if stats.oldest is not None or not stats.ready:
                oldest.add_metric((stats.name,), stats.oldest or 0.0)
        alive = [owner for owner in owners if owner.remaining > 0]
        workers = len({owner.worker for owner in alive if owner.slots})
        yield from (waiting, oldest)
        yield self._gauge("talo_fleet_workers", "Workers on this broker whose leases hold", workers)
        yield self._gauge("talo_fleet_slots", "Tasks that they can run at a time", sum(owner.slots for owner in alive))

    # -- families ----------------------------------------------------------------------------------------------------

    def _counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Any:
        return self._families.CounterMetricFamily(name, text, labels=labels)

    def _histogram(self, name: str, text: str, label: str) -> Any:
        return self._families.HistogramMetricFamily(name, text, labels=(label,))

    def _gauge(self, name: str, text: str, value: float) -> Any:
        return self._families.GaugeMetricFamily(name, text, value=value)


class StoreSample:
    """What the store says of the queues that this worker consumes and of the fleet, at most ``FRESH`` seconds old."""

    def __init__(self, app: Talo, node: WorkerNode) -> None:
        self._broker = app.store.broker
        self._node = node
        self._until = 0.0
        self._last: tuple[bool, list[QueueStats], list[OwnerInfo]] = (False, [], [])

    def get(self, now: float) -> tuple[bool, list[QueueStats], list[OwnerInfo]]:
        """Return whether it answers, its queues and the owners of leases; ``now`` is monotonic."""
        if now >= self._until:
            queues = list(dict.fromkeys((*self._node.queues, *self._node.standing.parked)))[:MOST_QUEUES]
            try:
                self._last = (True, self._broker.stats(queues) if queues else [], self._broker.owners())
            except (OperationalError, StoreError):
                # That it is away is what is told.
                self._last = (False, [], [])
            self._until = time.monotonic() + FRESH
        return self._last


def _histogram_of(numbers: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
    """Buckets as Prometheus counts them, each with all below it, and the sum of seconds."""
    buckets, total = [], 0.0
    for bound, number in zip((*map(str, BOUNDS), "+Inf"), numbers, strict=False):
        total += number
        buckets.append((bound, total))
    return buckets, numbers[len(BOUNDS) + 1]
