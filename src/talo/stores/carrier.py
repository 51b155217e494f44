"""Moving what stands in queues of one store to another place, whoever dies on the way.

Beside a broker that cannot keep everything stands a store that can; what was kept there for the broker is carried over
by whoever comes by. Owns the carrier's lease there, and taking over from carriers that died. What moving means is the
caller's: ``relay`` and the shelf of SQS. Why it is made so: ``docs/adr/0037-the-relay.md``."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Sequence
from time import monotonic

from talo.errors import LeaseLost
from talo.stores.base import Delivery, Store

__all__ = ["Carrier"]

#: Seconds that a carrier holds what it moves: so much later it arrives if the carrier dies.
LEASE = 3.0
#: Seconds between two looks for carriers that died.
REAP = 1.0
#: Messages of one step.
_STEP = 100


class Carrier:
    """Moves messages out of queues of ``store``, in this process. One thread at a time.

    ``move`` puts deliveries into their new place first and settles them in ``store`` then: a crash between the two
    moves twice, and none loses. Carriers of the same ``kind`` take over from each other.
    """

    def __init__(self, store: Store, kind: str, move: Callable[[Sequence[Delivery]], None]) -> None:
        self._broker = store.broker
        self._kind = kind
        self._move = move
        self._owner = f"{kind}{os.getpid()}-{uuid.uuid4().hex[:12]}"
        #: Monotonic: when the owner was opened last, None while it is not; and when to look for the dead.
        self._opened: float | None = None
        self._next_reap = 0.0

    def carry(self, queues: Sequence[str]) -> float | None:
        """Move all that is ready there; return when more falls due (epoch seconds), None if nothing waits."""
        try:
            self._open()
            self._take_over_from_the_dead()
            # What an earlier attempt, or a turn whose answer was lost, left with this one.
            self._hand(self._broker.held(self._owner))
            while True:
                self._open()
                turn = self._broker.turn([], self._owner, queues, _STEP)
                if not turn.deliveries:
                    return turn.next_due
                self._hand(turn.deliveries)
        except LeaseLost:
            # This process stood still for longer than its lease, and somebody else goes on with what it held.
            self._opened = None
            return time.time()

    def _hand(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            self._open()
            self._move(deliveries)

    def _open(self) -> None:
        if self._opened is None or monotonic() - self._opened > LEASE / 3:
            self._broker.open(self._owner, worker=self._kind, slots=0, lease=LEASE)
            self._opened = monotonic()

    def _take_over_from_the_dead(self) -> None:
        if monotonic() < self._next_reap:
            return
        for info in self._broker.owners():
            if info.remaining < 0 and info.owner.startswith(self._kind) and info.owner != self._owner:
                while self._broker.take_over(info.owner, self._owner, _STEP, expired=True):
                    continue
        self._next_reap = monotonic() + REAP

    def close(self) -> None:
        """Be no owner there any more."""
        if self._opened is not None:
            self._broker.close_owner(self._owner)
            self._opened = None
