"""A worker inside the test's own process: real messages, real steps and settlements, over a store in memory.

Owns ``memory_app`` (an app that keeps to memory for a while, by a test's clock) and ``LocalWorker``. It forks nothing:
what concerns processes is tested with ``talo worker``. Used by the fixtures and by ``talo.django.testing``.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from talo.execution.aio import call_blocking, close_loop
from talo.execution.run import call_sync
from talo.execution.settle import settlement_of
from talo.stores.base import Delivery, Settlement
from talo.stores.sql import open_sqlite
from talo.testing.clock import Clock
from talo.testing.deadlines import with_limits
from talo.worker import rates
from talo.worker.brakes import brakes_of
from talo.worker.bulletin import Standing
from talo.worker.intake import COPY_TTL, Intake
from talo.worker.rates import RateTable
from talo.worker.settler import new_owner
from talo.worker.split import split_of
from talo.worker.undertaker import over_limit

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["LocalWorker", "memory_app"]

#: Nobody takes anything over from a test's worker.
_LEASE = 86400.0
#: Seconds between two looks of a thread without work, whatever the wake-up promises.
_LOOK = 1.0
#: Settings that concern the real store; a project's own must not meet the one in memory.
_NEUTRAL: dict[str, Any] = {
    "broker_use_ssl": None,
    "broker_transport_options": {},
    "result_backend_transport_options": {},
    "task_always_eager": False,
}


@contextlib.contextmanager
def memory_app(app: Talo, clock: Callable[[], float] | None = None) -> Iterator[Talo]:
    """Within it, the app keeps tasks and results in a new store in memory, and both go by ``clock``."""
    time, clock = app.time, clock or Clock()
    url = f"memory://{uuid.uuid4().hex}"
    with app.conf.overridden(broker_url=url, broker_read_url=url, broker_write_url=url, result_backend=url, **_NEUTRAL):
        app.time = clock
        app.use_store(open_sqlite(url, clock=clock))
        try:
            yield app
        finally:
            app.close_stores()
            app.time = time


class LocalWorker:
    """Runs an app's tasks in threads of this process (``start``, ``stop``), or in the caller's (``run_all``).

    A context manager. ``around`` is entered by each thread for as long as it lives.
    """

    def __init__(
        self,
        app: Talo,
        *,
        concurrency: int = 1,
        around: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        self._app = app
        self._around = around
        self._concurrency = concurrency
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lanes: list[_Lane] = []
        self._rates = RateTable(bytearray(rates.SIZE), 0, -1)

    def start(self) -> LocalWorker:
        """Begin; what is sent from now on is run, and what was sent before."""
        self._stopping.clear()
        self._prepare()
        self._lanes = [_Lane(self._app, self._rates) for _ in range(self._concurrency)]
        for number, lane in enumerate(self._lanes):
            thread = threading.Thread(target=self._serve, args=(lane,), name=f"talo-test-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        if isinstance(self._app.time, Clock):
            self._app.time.listeners.append(self._wake)
        return self

    def stop(self, timeout: float = 10.0) -> None:
        """Let running tasks end, and no new one begin; ``RuntimeError`` for one that does not end in ``timeout``
        seconds. Idempotent."""
        self._stopping.set()
        self._wake()
        for thread in self._threads:
            thread.join(timeout)
        alive = [thread.name for thread in self._threads if thread.is_alive()]
        if isinstance(self._app.time, Clock) and self._wake in self._app.time.listeners:
            self._app.time.listeners.remove(self._wake)
        if alive:
            raise RuntimeError(f"a task of the test's worker did not end within {timeout:g} s ({', '.join(alive)})")
        for lane in self._lanes:
            lane.close()
        self._threads, self._lanes = [], []

    def run_all(self) -> int:
        """Run everything that is ready now in the caller's thread, and what follows from it, until nothing is ready;
        return how many ran."""
        self._prepare()
        lane = _Lane(self._app, self._rates)
        try:
            with self._around():
                count = 0
                while lane.step():
                    count += 1
                return count
        finally:
            lane.close()

    def _prepare(self) -> None:
        self._app.import_default_modules()
        self._app.finalize()

    def _serve(self, lane: _Lane) -> None:
        try:
            with self._around():
                while not self._stopping.is_set():
                    if not lane.step():
                        lane.wait()
        finally:
            close_loop()

    def _wake(self) -> None:
        for lane in self._lanes:
            lane.wake()

    def __enter__(self) -> LocalWorker:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


class _Lane:
    """One task after the other: fetch, run, settle."""

    def __init__(self, app: Talo, limits: RateTable) -> None:
        store = app.store
        self._app = app
        self._broker = store.broker
        self._locks = store.locks
        self._split = split_of(store, app.result_store)
        self._intake = Intake(app.env, self._is_revoked, app.conf.task_unknown_patience, first=self._is_first)
        limited = not app.conf.worker_disable_rate_limits
        self._intake.brakes = brakes_of(Standing(queues=()), app.tasks, limits, limited=limited)
        self._owner = new_owner("test", "local")
        self._broker.open(self._owner, worker="test", slots=1, lease=_LEASE)
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def step(self) -> bool:
        """Run one task; False if none is ready."""
        deliveries = self._turn([], 1)
        for delivery in deliveries:
            self._turn([self._run(delivery)], 0)
        return bool(deliveries)

    def wait(self) -> None:
        """Sleep until there may be work, or ``wake``."""
        self._broker.wait(self._queues, _LOOK, (self._reader,))
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 512)

    def wake(self) -> None:
        """End the sleep."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"w")

    def close(self) -> None:
        """Own nothing any more."""
        self._broker.close_owner(self._owner)
        os.close(self._reader)
        os.close(self._writer)

    @property
    def _queues(self) -> list[str]:
        # A queue that only a call has named is run as well: no other worker is there for it.
        known = list(self._app.queues.consume_from)
        return known + [stats.name for stats in self._broker.stats() if stats.name not in known]

    def _turn(self, settlements: list[Settlement], limit: int) -> list[Delivery]:
        return self._broker.turn(self._split(settlements), self._owner, self._queues, limit).deliveries

    def _run(self, delivery: Delivery) -> Settlement:
        admitted = self._intake.admit(delivery)
        if isinstance(admitted, Settlement):
            return admitted
        if with_limits(admitted, call_blocking if admitted.plan.is_async else call_sync):
            return settlement_of(admitted)
        again = self._intake.recall(delivery)
        assert again is not None
        return over_limit(again, admitted.hard, admitted.runtime, os.getpid())

    def _is_revoked(self, task_id: str) -> bool:
        return bool(self._locks.marked("revoked", [task_id]))

    def _is_first(self, task_id: str, copy: str) -> bool:
        return self._locks.acquire(f"copy:{task_id}", copy, COPY_TTL)
