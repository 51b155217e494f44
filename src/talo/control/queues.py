"""How much waits where, as people are told: every queue that the app or its broker knows, and the parking queues of
paused types in which something waits.

Called by the command line, the dashboard and Django's admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from talo.stores.base import QueueStats
from talo.stores.parking import is_parking

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["queue_stats"]


def queue_stats(app: Talo) -> list[QueueStats]:
    """Return the numbers of the queues, by name. ``OperationalError``."""
    broker = app.store.broker
    found = {stats.name: stats for stats in broker.stats()}
    # A broker that knows only the queues of its own process knows nothing of these.
    hidden = [name for name in app.control.parkings() if name not in found]
    found |= {stats.name: stats for stats in (broker.stats(hidden) if hidden else ())}
    for name in app.queues.consume_from:
        found.setdefault(name, QueueStats(name=name))
    return [stats for _, stats in sorted(found.items()) if not is_parking(stats.name) or _waits(stats)]


def _waits(stats: QueueStats) -> bool:
    return bool(stats.ready or stats.delayed or stats.leased)
