"""Many tasks at a time, each in a thread of the child.

The loop of the child feeds; each thread claims its next task by itself. A limit is an exception raised asynchronously
in the thread, which arrives at its next bytecode; a thread that is stuck in C is ended by the supervisor together
with its process."""

from __future__ import annotations

import ctypes
import queue
import threading
import time

from talo.execution.aio import call_blocking, close_loop
from talo.execution.run import Run, call_sync
from talo.stores.base import Delivery
from talo.worker.pools.base import CrowdPool, Host

__all__ = ["ThreadPool", "raise_in_thread"]


class ThreadPool(CrowdPool):
    """``slots`` threads, started as they are needed."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        #: One item for each fed delivery: threads sleep here. False ends a thread.
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        #: Slots whose thread has claimed a task and not settled it yet. A delivery goes from ``waiting`` to here in one
        #: step under the lock: one that stood in neither would get no thread.
        self._busy: set[int] = set()
        #: Slot to (token, thread id, run) of what runs. Guarded by the lock, so that an interruption hits the task it
        #: was meant for.
        self._running: dict[int, tuple[int, int, Run]] = {}

    @property
    def running(self) -> int:
        with self._lock:
            return len(self._busy)

    def feed(self, deliveries: list[Delivery]) -> None:
        self.offer(deliveries)
        for _ in deliveries:
            self._bell.put(True)
        with self._lock:
            missing = min(self.slots, len(self._busy) + len(self.waiting)) - len(self._threads)
        for _ in range(missing):
            slot = len(self._threads)
            thread = threading.Thread(target=self._serve, args=(slot,), name=f"talo-{slot}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, slot: int) -> None:
        while self._bell.get():
            delivery = self._claim(slot)
            if delivery is not None:
                self._run(slot, delivery)
                if self.idle:
                    self.host.wake()
            self.board.note_unstarted(len(self.waiting))
        close_loop()

    def _claim(self, slot: int) -> Delivery | None:
        with self._lock:
            if self.host.stopping:
                return None
            token = self.share.claim()
            delivery = self.waiting.pop(token, None)
            if delivery is not None:
                self._busy.add(slot)
            elif not token and not self._bell.qsize():
                # What the agent took out of the pipe is nobody's here any more.
                self.return_unclaimed()
            return delivery

    def _run(self, slot: int, delivery: Delivery) -> None:
        run = self.admit(delivery)
        if run is None:
            with self._lock:
                self._busy.discard(slot)
            return
        began = time.monotonic()
        self.note_start(slot, run)
        try:
            with self._lock:
                self._running[slot] = (delivery.lease.token, threading.get_ident(), run)
            self._call(run)
        except BaseException as exc:  # noqa: BLE001  an interruption that came just before or after the run
            run.disturb(exc)
        finally:
            with self._lock:
                self._running.pop(slot, None)
        # One step: whoever sees the slot free sees its settlement, too.
        with self._lock:
            self._busy.discard(slot)
            self.note_end(slot, run)
            self._runs += 1
            self._seconds += time.monotonic() - began

    def _call(self, run: Run) -> None:
        if run.plan.is_async:
            call_blocking(run)
        else:
            call_sync(run)

    def interrupt(self, token: int, exc: BaseException) -> None:
        # In a signal handler of the main thread, which may hold the lock itself (it is re-entrant) but never waits
        # while it does.
        with self._lock:
            for running, thread, run in list(self._running.values()):
                if token in (0, running) and (run.guard is None or not run.guard.interrupt(exc)):
                    raise_in_thread(thread, type(exc))

    def stop(self) -> None:
        for _ in self._threads:
            self._bell.put(False)
        for thread in self._threads:
            thread.join(1.0)


def raise_in_thread(ident: int, kind: type[BaseException]) -> None:
    """Raise an exception of this class in another thread, at its next bytecode."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(kind))
