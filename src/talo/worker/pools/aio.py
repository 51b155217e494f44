"""Many coroutines at a time in one event loop; plain functions run in threads beside it.

The event loop has a thread of its own, so neither a store that is away nor a long turn holds it up.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from talo.execution.aio import guard
from talo.execution.run import Run, call_sync
from talo.stores.base import Delivery
from talo.worker.pools.base import CrowdPool, Host
from talo.worker.pools.thread import raise_in_thread

__all__ = ["AsyncioPool"]


class AsyncioPool(CrowdPool):
    """``slots`` tasks, coroutines and functions together."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="talo-loop", daemon=True)
        self._executor = ThreadPoolExecutor(max_workers=self.slots, thread_name_prefix="talo")
        self._free = list(range(self.slots))
        #: Token to what interrupts it.
        self._running: dict[int, Callable[[BaseException], None]] = {}
        self._thread.start()

    @property
    def running(self) -> int:
        with self._lock:
            return self.slots - len(self._free)

    def feed(self, deliveries: list[Delivery]) -> None:
        self.offer(deliveries)
        self._loop.call_soon_threadsafe(self._start_waiting)

    # -- in the loop's thread ----------------------------------------------------------------------------------------

    def _start_waiting(self) -> None:
        while self._free and self.waiting and not self.host.stopping:
            with self._lock:
                token = self.share.claim()
                if not token:
                    # The agent has given the rest back.
                    self.return_unclaimed()
                    break
                delivery = self.waiting.pop(token, None)
                if delivery is None:
                    continue
                slot = self._free.pop()
            run = self.admit(delivery)
            if run is not None:
                self._start(slot, run, token)
                continue
            with self._lock:
                self._free.append(slot)
            if self.idle:
                self.host.wake()
        self.board.note_unstarted(len(self.waiting))

    def _start(self, slot: int, run: Run, token: int) -> None:
        self.note_start(slot, run)
        if run.plan.is_async:
            task = self._loop.create_task(guard(run, self._loop))
            self._running[token] = lambda exc: self._interrupt_coroutine(run, exc)
            task.add_done_callback(lambda done: self._ended(slot, token, run, done))
        else:
            self._running[token] = lambda _exc: None
            future = self._loop.run_in_executor(self._executor, self._call, run, token)
            future.add_done_callback(lambda done: self._ended(slot, token, run, done))

    def _ended(self, slot: int, token: int, run: Run, done: asyncio.Future[Any]) -> None:
        exc = done.exception() if not done.cancelled() else asyncio.CancelledError()
        if exc is not None:
            run.disturb(exc)
        with self._lock:
            self._running.pop(token, None)
            self._free.append(slot)
            self.note_end(slot, run)
            self._runs += 1
            self._seconds += time.monotonic() - run.started
        self._start_waiting()
        if self.idle:
            self.host.wake()

    def _interrupt_coroutine(self, run: Run, exc: BaseException) -> None:
        assert run.guard is not None and self._thread.ident is not None
        if not run.guard.interrupt(exc):
            # It does not let go of the loop: only an exception in the thread reaches it.
            raise_in_thread(self._thread.ident, type(exc))

    # -- in the executor's threads -----------------------------------------------------------------------------------

    def _call(self, run: Run, token: int) -> None:
        ident = threading.get_ident()
        with self._lock:
            self._running[token] = lambda exc: raise_in_thread(ident, type(exc))
        try:
            call_sync(run)
        finally:
            with self._lock:
                self._running[token] = lambda _exc: None

    # -- in the child's main thread ----------------------------------------------------------------------------------

    def interrupt(self, token: int, exc: BaseException) -> None:
        with self._lock:
            for running, interrupt in list(self._running.items()):
                if token in (0, running):
                    interrupt(exc)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(1.0)
        self._executor.shutdown(wait=False, cancel_futures=True)
