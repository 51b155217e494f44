"""Schedules beside a broker that keeps none: another store's, and the way of what they send to the broker.

A tick is claimed in one step of the keeping store, which also puts its messages into a queue there, the relay; from
there they are carried to the broker at once by whoever claimed it, and by any other reader if that one dies. Owns what
stands in the relay; carrying is ``carrier``'s. Its design is in ``docs/internals/beat.md``. Called by ``app.stores``;
used by ``beat`` and ``control``.
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

__all__ = ["RelayedSchedules"]

log = logging.getLogger(__name__)

_QUEUE = "talo.relay/"
#: The header that keeps queue, exchange, routing key, priority and due time meanwhile.
_WAY = "talo-relay"
#: Seconds between two looks of who reads again and again.
_LOOK = 1.0


class RelayedSchedules(Schedules):
    """The schedules of ``keeper``, whose messages go to the broker at ``url`` by ``send``.

    What ``send`` confirmed may be sent again if this process dies in that moment. Each sending is a copy of its own, of
    which workers start the first; nothing that was claimed is lost.
    """

    def __init__(self, keeper: Store, url: str, send: Callable[[Sequence[Message]], object]) -> None:
        assert keeper.schedules is not None
        self._keeper = keeper
        self._schedules: Schedules = keeper.schedules
        self._send = send
        # Several brokers may have one store beside them. The URL holds no password.
        self._queue = _QUEUE + hashlib.sha256(url.encode()).hexdigest()[:12]
        self._carrier = Carrier(keeper, f"{self._queue}/", self._pass_on)
        self._lock = threading.Lock()
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
            msgspec.structs.replace(change, messages=[self._moved(each) for each in change.messages])
            for change in changes
        ]
        versions = self._schedules.change(space, moved)
        self._carry()
        return versions

    def runs(self, space: str, name: str, limit: int) -> list[Run]:
        return self._schedules.runs(space, name, limit)

    # -- the relay

    def _moved(self, message: Message) -> Message:
        way = [message.queue, message.exchange, message.routing_key, message.priority, message.due]
        headers = {**message.headers, _WAY: way}
        return msgspec.structs.replace(
            message, queue=self._queue, exchange="", routing_key=self._queue, priority=0, due=None, headers=headers
        )

    def _carry(self) -> None:
        with self._lock:
            self._next_look = 0.0  # until it has succeeded
            if self._carrier.carry([self._queue]) is None:
                self._next_look = monotonic() + _LOOK

    def _pass_on(self, deliveries: Sequence[Delivery]) -> None:
        """Send first, then end: a crash between the two sends twice."""
        messages = [message for each in deliveries if (message := _restored(each)) is not None]
        try:
            self._send(messages)
        except (StoreError, TaloError) as error:
            if isinstance(error, OperationalError):
                raise
            if len(deliveries) > 1:
                for each in deliveries:
                    self._pass_on([each])
                return
            log.error("A periodic task cannot be sent, and is a dead letter: %s", error, extra={"action": "dead"})
            death = Death(reason="rejected", text=str(error))
            self._keeper.broker.settle([Settlement(lease=deliveries[0].lease, verdict=Verdict.DEAD, death=death)])
            return
        self._keeper.broker.settle([Settlement(lease=each.lease) for each in deliveries])


def _restored(delivery: Delivery) -> Message | None:
    """The message as it was, a copy of its own; None for bytes that are none of ours."""
    message = delivery.message
    if message is None or _WAY not in message.headers:
        return None
    headers: dict[str, Any] = dict(message.headers)
    queue, exchange, key, priority, due = headers.pop(_WAY)
    restored = msgspec.structs.replace(
        message, queue=queue, exchange=exchange, routing_key=key, priority=priority, due=due, headers=headers
    )
    return restored.copied()
