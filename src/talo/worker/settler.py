"""The settler: the only caller of ``turn``. It owns an owner id, collects settlements and exchanges them for
deliveries.

One per child. Any thread of the child may add a settlement; one thread turns. What it has not got rid of stands in
the ring, and stays with it while the store is away: a finished task is never judged otherwise because of that."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from talo.errors import LeaseLost, OperationalError
from talo.stores.base import Delivery, Settlement, Store
from talo.worker.meter import Meter
from talo.worker.ring import Ring
from talo.worker.split import Split

__all__ = ["Settler", "new_owner"]

log = logging.getLogger("talo.worker")

#: After a lost answer the turn may still arrive at the store, as late as a network delivers: seconds to the first look
#: for what it leased, each next one after twice as long, and the last.
FIRST_LOOK, LAST_LOOK = 0.5, 512.0


def new_owner(hostname: str, role: str) -> str:
    """Return a fresh owner id; the random part makes every incarnation a different owner."""
    return f"{hostname}/{role}/{os.getpid()}-{uuid.uuid4().hex[:12]}"


class Settler:
    """Settles and fetches for one child.

    ``split`` takes care of results that live elsewhere. ``opened`` is called with each new owner id before it is
    used, so that the agent renews it. ``meter`` counts what was settled."""

    def __init__(
        self,
        store: Store,
        split: Split,
        ring: Ring,
        *,
        hostname: str,
        role: str,
        slots: int,
        lease: float,
        opened: Callable[[str], None],
        meter: Meter | None = None,
    ) -> None:
        self._broker = store.broker
        self._split = split
        self._ring = ring
        self._hostname = hostname
        self._role = role
        self._slots = slots
        self._lease = lease
        self._opened = opened
        self._meter = meter
        self._lock = threading.Lock()
        self._pending: list[Settlement] = []
        #: Tokens that were fetched and are not settled yet.
        self._outstanding: set[int] = set()
        #: The answer of the last turn was lost: nobody knows whether it happened.
        self._doubt = False
        #: The next look for deliveries that a late turn leased to us (monotonic), and the pause before it.
        self._look_at: float | None = None
        self._look_pause = 0.0
        self.owner = ""
        self.next_due: float | None = None

    @property
    def pending(self) -> int:
        """How many settlements wait for the next turn."""
        return len(self._pending)

    @property
    def outstanding(self) -> int:
        """How many deliveries are fetched and not settled."""
        return len(self._outstanding)

    @property
    def patience(self) -> float:
        """Seconds until a turn should be made even if nothing seems to be ready."""
        return float("inf") if self._look_at is None else max(0.0, self._look_at - time.monotonic())

    def open(self) -> None:
        """Become an owner."""
        self.owner = new_owner(self._hostname, self._role)
        self._opened(self.owner)
        self._broker.open(self.owner, worker=self._hostname, slots=self._slots, lease=self._lease)

    def add(self, settlement: Settlement) -> bool:
        """Note the end of a delivery. False when the ring is full: turn before the next."""
        with self._lock:
            self._pending.append(settlement)
            return self._ring.append(settlement)

    def turn(self, queues: Sequence[str], limit: int) -> list[Delivery]:
        """Settle what is pending and fetch up to ``limit``. Raises ``OperationalError`` when the store is away;
        nothing is lost by that."""
        if not self.owner:
            self.open()
        with self._lock:
            pending = self._pending
            self._pending = []
        try:
            deliveries = self._resolve(pending, limit) if self._doubt else self._turn(pending, queues, limit)
        except LeaseLost:
            self._reborn(pending)
            deliveries = []
        except OperationalError:
            self._doubt = True
            with self._lock:
                self._pending = pending + self._pending
            raise
        with self._lock:
            if not self._pending:
                self._ring.clear()
            else:
                # Added meanwhile by other threads: the ring keeps just those.
                self._ring.clear()
                for settlement in self._pending:
                    self._ring.append(settlement)
        outstanding = self._outstanding
        for settlement in pending:
            outstanding.discard(settlement.lease.token)
        for delivery in deliveries:
            outstanding.add(delivery.lease.token)
        return deliveries

    def close(self) -> None:
        """Stop being an owner; what is still held is found by the agent."""
        if self.owner:
            self._broker.close_owner(self.owner)
            self.owner = ""

    def _turn(self, pending: list[Settlement], queues: Sequence[str], limit: int) -> list[Delivery]:
        answer = self._broker.turn(self._split(pending), self.owner, queues, limit)
        if self._meter is not None:
            self._meter.count(pending, answer.refused)
        if answer.refused:
            # The agent was quicker (it settles from the ring while a long task runs here), or this owner was stopped
            # for long.
            log.debug(
                "%d settlements were refused: they had been settled, or their lease was taken over", len(answer.refused)
            )
        self.next_due = answer.next_due
        if limit and not self.patience:
            known = {delivery.lease.token for delivery in answer.deliveries}
            answer.deliveries += [d for d in self._strays(pending) if d.lease.token not in known]
            self._look_again(self._look_pause * 2)
        return answer.deliveries

    def _resolve(self, pending: list[Settlement], limit: int) -> list[Delivery]:
        """Find out what the lost turn did: settle again (refused where it had worked), adopt what it leased to us.
        Without a ``limit`` nobody takes it now: the doubt stays."""
        if pending:
            self._broker.settle(self._split(pending))
            if self._meter is not None:
                # What is refused now was settled by the turn whose answer was lost: it has not been counted.
                self._meter.count(pending)
        if not limit:
            return []
        strays = self._strays(pending)
        self._broker.open(self.owner, worker=self._hostname, slots=self._slots, lease=self._lease)
        self._doubt = False
        self._look_again(FIRST_LOOK)
        return strays

    def _strays(self, pending: list[Settlement]) -> list[Delivery]:
        """Return what the store has leased to us and we do not know."""
        known = self._outstanding | {settlement.lease.token for settlement in pending}
        return [delivery for delivery in self._broker.held(self.owner) if delivery.lease.token not in known]

    def _look_again(self, pause: float) -> None:
        self._look_pause = pause
        self._look_at = time.monotonic() + pause if pause <= LAST_LOOK else None

    def _reborn(self, pending: list[Settlement]) -> None:
        """This owner was declared dead: what was fetched is somebody else's. Settle what can still be settled and go
        on under a new id."""
        log.warning(
            "Lease of %s was lost (stopped for longer than %.0f s?); going on as a new owner", self.owner, self._lease
        )
        refused = self._broker.settle(self._split(pending)) if pending else []
        if self._meter is not None:
            self._meter.note_lease_lost()
            self._meter.count(pending, refused)
        self._outstanding.clear()
        self._doubt = False
        self._look_at = None
        self.open()
