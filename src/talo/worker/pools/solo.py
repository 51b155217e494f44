"""One task at a time, in the main thread of the child: the pool of ``processes`` and ``solo``."""

from __future__ import annotations

import time

from talo.execution.aio import call_blocking
from talo.execution.run import Run, call_sync
from talo.stores.base import Delivery
from talo.worker.pools.base import Host, Pool

__all__ = ["SoloPool"]

#: Finished work is settled after so many seconds even if more of the batch is left.
FLUSH_EVERY = 0.1


class SoloPool(Pool):
    """Runs a batch from first to last; what a long task holds up is given back by the agent."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._token = 0
        self._current: Run | None = None

    @property
    def running(self) -> int:
        return 1 if self._token else 0

    @property
    def room(self) -> int:
        return 256

    def feed(self, deliveries: list[Delivery]) -> None:
        host, share, board = self.host, self.share, self.board
        began = flushed = time.monotonic()
        first, rest = deliveries[0], deliveries[1:]
        if rest:
            self.waiting = {delivery.lease.token: delivery for delivery in rest}
            share.put_tokens(list(self.waiting))
            board.note_unstarted(len(rest))
        before, passed = self.finished, self.passed
        delivery: Delivery | None = first
        while delivery is not None:
            full = not self._run(delivery)
            now = time.monotonic()
            if full or now - flushed > FLUSH_EVERY:
                host.flush()
                flushed = now
            if not rest or host.stopping or host.recycle_needed():
                break
            token = share.claim()
            if not token:
                # Done, or the agent has given the rest back because the last one took long.
                break
            delivery = self.waiting.pop(token, None)
        if rest:
            board.note_unstarted(0)
            if not host.stopping:
                self.return_unclaimed()
        # Where none has run, what went by was quick, and there may be a million of it.
        host.batch.note(self.finished - before or self.passed - passed, time.monotonic() - began)

    def _run(self, delivery: Delivery) -> bool:
        """Run one delivery; False when the ring is full."""
        if delivery.suspect:
            # Nothing unsettled beside it: if it takes the machine down, it is the only one to blame.
            self.host.flush()
        run = self.admit(delivery)
        if run is None:
            return True
        self.note_start(0, run)
        try:
            self._token = delivery.lease.token
            self._call(run)
        except BaseException as exc:  # noqa: BLE001  an interruption that came just before or after the run
            run.disturb(exc)
        finally:
            self._token = 0
        kept = self.note_end(0, run)
        if delivery.suspect:
            self.host.flush()
        return kept

    def _call(self, run: Run) -> None:
        self._current = run
        if run.plan.is_async:
            call_blocking(run)
        else:
            call_sync(run)

    def interrupt(self, token: int, exc: BaseException) -> None:
        if self._token and token in (0, self._token):
            run = self._current
            if run is None or run.guard is None or not run.guard.interrupt(exc):
                raise exc
