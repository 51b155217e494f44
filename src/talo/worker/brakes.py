"""What keeps a task from starting although it was fetched: pauses, rate limits, revoked stamps.

Owns the decision for one child. Built anew from the bulletin whenever that changes; None where nothing is in force, so
that it costs nothing then. Asked by ``worker.intake``."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from talo.app.revocations import stamps_of
from talo.canvas.celery_form import INTERNAL_SUFFIX
from talo.stores.parking import home_of, is_parking, parking_of
from talo.util.rates import rate_of
from talo.worker.bulletin import Standing
from talo.worker.rates import RateTable

__all__ = ["Brakes", "brakes_of"]

#: Seconds after which a paused task that cannot be parked asks again, spread so that they do not all come at once.
_PAUSE = (5.0, 15.0)


class Brakes:
    """Asked before each start. ``rates``: starts a second, by task."""

    def __init__(self, standing: Standing, rates: Mapping[str, float], table: RateTable) -> None:
        self._closed = standing.paused_queues | {name + INTERNAL_SUFFIX for name in standing.paused_queues}
        self._queues = frozenset(standing.queues)
        self._paused = standing.paused_tasks
        self._resuming = frozenset(standing.resuming)
        self._stamps = standing.stamps
        self._rates = rates
        self._table = table

    def closes(self, queue: str) -> bool:
        """Whether a queue is paused from which something had been fetched, or the type whose parking queue it is."""
        home = home_of(queue)
        return home.queue in self._closed or (home.task in self._paused and is_parking(queue))

    def parking(self, queue: str, task: str) -> str | None:
        """Where a task of this name has to wait that was fetched from this queue; None: nowhere, or it has no place.
        While others wait there it waits behind them."""
        if queue not in self._queues or not (self._resuming or task in self._paused):
            return None
        parking = parking_of(queue, task)
        return parking if task in self._paused or parking in self._resuming else None

    def delay(self, task: str, now: float) -> float:
        """Seconds for which a task of this name has to go back ``now`` (epoch); 0.0: it may start, which counts."""
        if task in self._paused:
            return random.uniform(*_PAUSE)
        rate = self._rates.get(task)
        return self._table.ask(task, rate, now) if rate else 0.0

    def revokes(self, headers: Mapping[str, Any]) -> bool:
        """Whether one of the stamps of a message is revoked."""
        stamps = headers.get("stamps") if self._stamps else None
        return isinstance(stamps, dict) and not self._stamps.isdisjoint(stamps_of(stamps))


def brakes_of(standing: Standing, tasks: Mapping[str, Any], table: RateTable, *, limited: bool) -> Brakes | None:
    """Return the brakes that are in force; None if there are none. Without ``limited`` rate limits are passed over."""
    rates: dict[str, float] = {}
    if limited:
        own = {name: limit for name, task in tasks.items() if (limit := getattr(task, "rate_limit", None))}
        rates = {name: rate for name, limit in {**own, **standing.rate_limits}.items() if (rate := rate_of(limit))}
    if not (rates or standing.paused_queues or standing.paused_tasks or standing.stamps or standing.resuming):
        return None
    return Brakes(standing, rates, table)
