"""Putting tasks of a paused type aside, into a queue of their own where nobody fetches until the type goes on.

Owns which of them may be parked, and that others know of a parking queue before anything is in it. Whether one has to
be is ``brakes``'s; when the queue is open again ``opening``'s. One for each child; called by ``intake``. See
``docs/internals/control.md``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from talo.app.revocations import PAUSED, PAUSED_FOR
from talo.errors import OperationalError
from talo.stores.base import Delivery, Settlement
from talo.stores.parking import parked
from talo.wire.queues import Broadcast

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["Parking"]

log = logging.getLogger("talo.worker")


class Parking:
    """Parks for one child of an app."""

    def __init__(self, app: Talo) -> None:
        self._app = app
        features, state = app.store.features, app.state_store
        self._locks = state.locks if state is not None and features.parks else None
        self._named = not features.atomic
        #: What others know of: what the bulletin says, and what was marked since.
        self._known: set[str] = set()

    def note(self, known: frozenset[str]) -> None:
        """These are known to have something in them; others may have been emptied since."""
        self._known = set(known)

    def settle(self, delivery: Delivery, parking: str) -> Settlement | None:
        """Return the settlement that parks a delivery; None if it cannot be parked, now or at all."""
        assert delivery.message is not None
        if not self._takes(delivery.queue):
            return None
        if parking not in self._known:
            assert self._locks is not None
            try:
                self._locks.mark(PAUSED, {f"parked:{parking}": PAUSED_FOR})
                self._app.hearing.tell(0.0)
            except OperationalError as exc:
                log.debug("What is parked cannot be noted now: %s", exc)
                return None
            self._known.add(parking)
        return Settlement(lease=delivery.lease, follow=[parked(delivery.message, parking, named=self._named)])

    def _takes(self, queue: str) -> bool:
        """Whether what is fetched from this queue may be parked. A broadcast is each worker's own, and a queue that
        ends takes with it what is in it."""
        if self._locks is None:
            return False
        spec = self._app.queues.get(queue)
        return spec is None or not (
            isinstance(spec, Broadcast) or spec.exclusive or spec.auto_delete or spec.expires or not spec.durable
        )
