"""Delayed tasks of a broker that cannot reach what waits in it, kept in another store until they are due.

There they can be given another time. Owns which messages are kept, and when they are carried on; the way to the broker
is ``relay``'s. Called by ``app.stores``, and by a thread of each worker's agent (``worker.delays``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from talo.stores.base import Broker, Store
from talo.stores.noted import NotedBroker
from talo.stores.relay import Relay
from talo.wire.message import Message

__all__ = ["Delays"]

#: Seconds ahead from which a task is kept here: what is due sooner is on its way faster by itself.
_LEAST = 2.0


class Delays:
    """What is due later waits in ``keeper``; what is due goes to ``broker``, which is at ``url``.

    A carrier that dies between sending and settling leaves a message that is sent again; nothing is lost.
    """

    def __init__(self, keeper: Store, url: str, broker: Broker) -> None:
        self._keeper = keeper
        self._broker = broker
        self._noted = broker if isinstance(broker, NotedBroker) else None
        # People choose task ids and send under one id twice, so the second is no copy.
        self._relay = Relay(keeper, "talo.later/", url, broker.send, copies=False)

    def send(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        """As ``Broker.send``."""
        self.begin_send(messages, timeout=timeout)()

    def begin_send(self, messages: Sequence[Message], *, timeout: float | None = None) -> Callable[[], None]:
        """As ``Broker.begin_send``; what is due later is kept at once."""
        until = time.time() + _LEAST
        late = [each for each in messages if each.due is not None and each.due > until]
        if late:
            self._keep(late, timeout)
            messages = [each for each in messages if each.due is None or each.due <= until]
        return self._broker.begin_send(messages, timeout=timeout)

    def _keep(self, late: Sequence[Message], timeout: float | None) -> None:
        moved = [self._relay.moved(each, each.due) for each in late]
        with nullcontext() if self._noted is None else self._noted.noting(late, timeout):
            self._keeper.broker.send(moved, timeout=timeout)

    def reschedule(self, task_ids: Sequence[str], due: float) -> set[str]:
        """As ``Broker.reschedule``, of what is here."""
        moved = self._keeper.broker.reschedule(task_ids, due, prefix=self._relay.queue)
        if self._noted is not None:
            self._noted.retime(moved, due)
        if moved and due <= time.time():
            self.carry()
        return moved

    def carry(self) -> float | None:
        """Send what is due; return when more is (epoch seconds), None if nothing waits."""
        return self._relay.carry()

    def close(self) -> None:
        """Carry no more."""
        self._relay.close()
