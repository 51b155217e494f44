"""Beside a broker: a queue of another store, the relay, from which messages go on to the broker.

For schedules where the broker keeps none: a tick is claimed in one step of the keeping store, which also puts its
messages into the relay; from there they are carried to the broker at once by whoever claimed it, and by any other
reader if that one dies. ``delays`` keeps there what is due later. Owns what stands in the relay; carrying is
``carrier``'s. Its design is in ``docs/internals/beat.md``. Called by ``app.stores``; used by ``beat`` and ``control``.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import msgspec

from talo.errors import OperationalError, StoreError, TaloError
from talo.stores.base import Death, Delivery, Settlement, Store, Verdict
from talo.stores.carrier import Carrier
from talo.stores.schedules import Change, Plans, Run, Schedules
from talo.wire.message import Message

__all__ = ["Relay", "RelayedSchedules"]

log = logging.getLogger(__name__)

#: The header that keeps queue, exchange, routing key, priority and due time meanwhile.
_WAY = "talo-relay"
#: Seconds between two looks of who reads again and again.
_LOOK = 1.0


class Relay:
    """A queue of ``keeper`` for the broker at ``url``, to which messages go by ``send``. ``kind`` begins its name.

    What ``send`` confirmed may be sent again if this process dies in that moment. With ``copies`` each sending is a
    copy of its own, of which workers start the first: for messages whose task ids nobody else uses.
    """

    def __init__(
        self, keeper: Store, kind: str, url: str, send: Callable[[Sequence[Message]], object], *, copies: bool
    ) -> None:
        self._keeper = keeper
        self._send = send
        self._copies = copies
        # Several brokers may have one store beside them. The URL holds no password.
        self.queue = kind + hashlib.sha256(url.encode()).hexdigest()[:12]
        self._carrier = Carrier(keeper, f"{self.queue}/", self._pass_on)
        self._lock = threading.Lock()

    def moved(self, message: Message, due: float | None = None) -> Message:
        """The message as it stands here until ``due``; what it says of its own time it takes along."""
        own = message.due if due is None else None
        way = [message.queue, message.exchange, message.routing_key, message.priority, own]
        headers = {**message.headers, _WAY: way}
        return msgspec.structs.replace(
            message, queue=self.queue, exchange="", routing_key=self.queue, priority=0, due=due, headers=headers
        )

    def carry(self) -> float | None:
        """Send what is due; return when more is (epoch seconds), None if nothing waits."""
        with self._lock:
            return self._carrier.carry([self.queue])

    def close(self) -> None:
        """Carry no more."""
        with self._lock:
            self._carrier.close()

    def _pass_on(self, deliveries: Sequence[Delivery]) -> None:
        """Send first, then end: a crash between the two sends twice."""
        messages = [message for each in deliveries if (message := self._restored(each)) is not None]
        try:
            self._send(messages)
        except (StoreError, TaloError) as error:
            if isinstance(error, OperationalError):
                raise
            if len(deliveries) > 1:
                for each in deliveries:
                    self._pass_on([each])
                return
            log.error("A task cannot be sent on, and is a dead letter: %s", error, extra={"action": "dead"})
            death = Death(reason="rejected", text=str(error))
            self._keeper.broker.settle([Settlement(lease=deliveries[0].lease, verdict=Verdict.DEAD, death=death)])
            return
        self._keeper.broker.settle([Settlement(lease=each.lease) for each in deliveries])

    def _restored(self, delivery: Delivery) -> Message | None:
        """The message as it was; None for bytes that are none of ours."""
        message = delivery.message
        if message is None or _WAY not in message.headers:
            return None
        headers: dict[str, Any] = dict(message.headers)
        queue, exchange, key, priority, due = headers.pop(_WAY)
        restored = msgspec.structs.replace(
            message, queue=queue, exchange=exchange, routing_key=key, priority=priority, due=due, headers=headers
        )
        return restored.copied() if self._copies else restored


class RelayedSchedules(Schedules):
    """The schedules of ``keeper``, whose messages go to the broker at ``url`` by ``send``: nothing that was claimed is
    lost, and what is sent twice starts once."""

    def __init__(self, keeper: Store, url: str, send: Callable[[Sequence[Message]], object]) -> None:
        assert keeper.schedules is not None
        self._schedules: Schedules = keeper.schedules
        self._relay = Relay(keeper, "talo.relay/", url, send, copies=True)
        #: Monotonic.
        self._next_look = 0.0

    def read(self, space: str, since: int = 0) -> Plans:
        """As of the keeper. Who reads on, a beat, also carries what others left behind."""
        if since and monotonic() >= self._next_look:
            self._carry()
        return self._schedules.read(space, since)

    def change(self, space: str, changes: Sequence[Change]) -> list[int]:
        """As of the keeper; ``OperationalError`` may also mean that the change is made and its messages wait here."""
        if not any(change.messages for change in changes):
            return self._schedules.change(space, changes)
        moved = [
            msgspec.structs.replace(change, messages=[self._relay.moved(each) for each in change.messages])
            for change in changes
        ]
        versions = self._schedules.change(space, moved)
        self._carry()
        return versions

    def runs(self, space: str, name: str, limit: int) -> list[Run]:
        return self._schedules.runs(space, name, limit)

    def _carry(self) -> None:
        self._next_look = 0.0  # until it has succeeded
        if self._relay.carry() is None:
            self._next_look = monotonic() + _LOOK
