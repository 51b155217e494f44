"""What the loop of a child expects of a pool, and what a pool may use of the child.

A pool claims each task from the share before it starts it, notes it on the board while it runs, and hands its
settlement to the settler. It never talks to the store."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from talo.execution.limits import Killed, limits_of
from talo.execution.run import BACK, FAILURE, Run
from talo.execution.settle import settlement_of
from talo.stores.base import Delivery, Lease, Settlement, Verdict
from talo.worker.undertaker import over_limit

if TYPE_CHECKING:
    from talo.app.app import Talo
    from talo.worker.batch import BatchSize
    from talo.worker.intake import Intake
    from talo.worker.options import WorkerOptions
    from talo.worker.settler import Settler
    from talo.worker.share import Share

__all__ = ["CrowdPool", "Host", "Pool"]


class Host(Protocol):
    """The child, as a pool sees it."""

    settler: Settler
    intake: Intake

    @property
    def app(self) -> Talo: ...
    @property
    def options(self) -> WorkerOptions: ...
    @property
    def share(self) -> Share: ...
    @property
    def batch(self) -> BatchSize: ...
    @property
    def stopping(self) -> bool: ...
    def flush(self) -> None: ...
    def wake(self) -> None: ...
    def retire(self) -> None: ...
    def recycle_needed(self) -> bool: ...


class Pool(ABC):
    """Runs deliveries in ``slots`` places at a time."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.share = host.share
        self.board = host.share.board
        self.settler = host.settler
        self.intake = host.intake
        self.slots = host.options.slots
        #: The loop sleeps and wants to be woken when there is something to settle.
        self.idle = False
        #: Fetched and not started, by token.
        self.waiting: dict[int, Delivery] = {}
        self.finished = 0
        self.failed = 0
        #: Settled without having run: parked, revoked ...
        self.passed = 0

    @property
    @abstractmethod
    def running(self) -> int:
        """How many tasks run now."""

    @property
    @abstractmethod
    def room(self) -> int:
        """How many deliveries it takes now."""

    @abstractmethod
    def feed(self, deliveries: list[Delivery]) -> None:
        """Run these, now or soon."""

    @abstractmethod
    def interrupt(self, token: int, exc: BaseException) -> None:
        """Raise ``exc`` in the task of this token if it still runs; token 0: in every task. Called from a signal
        handler."""

    def stop(self) -> None:
        """Nothing runs any more; end threads and loops."""

    def forget(self, token: int) -> Lease:
        """Return the lease of a delivery that is not started after all."""
        self.waiting.pop(token, None)
        return Lease(owner=self.settler.owner, token=token)

    def return_unclaimed(self) -> None:
        """Give back what was fetched and has not started, also what the agent took out of the pipe for that: it may
        have died over it, or come too late for an owner that ends. A second time is refused."""
        for token in [*self.share.take_tokens(), *self.waiting]:
            self.settler.add(Settlement(lease=self.forget(token), verdict=Verdict.AGAIN))

    # -- shared by all pools -----------------------------------------------------------------------------------------

    def admit(self, delivery: Delivery) -> Run | None:
        """Return the run of a delivery; one that does not run is settled here."""
        admitted = self.intake.admit(delivery)
        if isinstance(admitted, Settlement):
            self.settler.add(admitted)
            self.passed += 1
            return None
        if admitted.plan.takes is not None:
            admitted.plan.takes(delivery, self._settle_later)
            return None
        return admitted

    def _settle_later(self, settlement: Settlement) -> None:
        """Settle what was given away; called from any thread."""
        self.settler.add(settlement)
        self.host.wake()

    def note_start(self, slot: int, run: Run) -> None:
        """Put a run on the board."""
        now = time.monotonic()
        options = self.host.options
        hard, soft = limits_of(run.plan.limits, run.call.timelimit)
        hard = run.hard = hard or options.time_limit
        soft = soft or options.soft_time_limit
        assert run.delivery is not None
        self.board.start(slot, run.delivery.lease.token, now, now + soft if soft else 0.0, now + hard if hard else 0.0)

    def note_end(self, slot: int, run: Run) -> bool:
        """Settle a run and take it off the board; False when the ring is full."""
        if run.outcome is FAILURE:
            self.failed += 1
        kept = self.settler.add(self._killed(run) if isinstance(run.exc, Killed) else settlement_of(run))
        # First settled, then off the board: a death in between finds the settlement in the ring.
        self.board.end(slot)
        if run.outcome is not BACK:
            self.finished += 1
            self.board.note_counts(self.finished, self.failed)
        return kept

    def _killed(self, run: Run) -> Settlement:
        """Settle a run that was ended at its hard limit, as the agent does for one that lost its process."""
        assert run.delivery is not None
        again = self.intake.recall(run.delivery)
        assert again is not None
        self.host.retire()
        return over_limit(again, run.hard, run.runtime, os.getpid())


class CrowdPool(Pool):
    """Runs several tasks at a time beside the child's loop; fetched ones wait here for a free slot."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        #: Guards what waits and what runs, so that nothing stands in between and an interruption hits the task it was
        #: meant for. A signal handler may take it again.
        self._lock = threading.RLock()
        #: Ended since the last feed, and for how many seconds they ran in all.
        self._runs = 0
        self._seconds = 0.0

    @property
    def room(self) -> int:
        batch = max(self.slots, self.host.batch.limit())
        with self._lock:
            return max(0, batch - self.running - len(self.waiting))

    def return_unclaimed(self) -> None:
        with self._lock:
            super().return_unclaimed()

    def offer(self, deliveries: list[Delivery]) -> None:
        """Let these be claimed, and tell the batch size how long the last ones took."""
        self.host.batch.note(self._runs, self._seconds)
        self._runs, self._seconds = 0, 0.0
        with self._lock:
            self.waiting.update((delivery.lease.token, delivery) for delivery in deliveries)
            self.share.put_tokens([delivery.lease.token for delivery in deliveries])
            self.board.note_unstarted(len(self.waiting))
