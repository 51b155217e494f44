"""What the store has marked for all workers, as part of what holds for this one.

Owns reading pauses and revoked stamps; revoked ids are read by each child when the agent says that they have changed.
Called by agent and children. Written by ``app.revocations``."""

from __future__ import annotations

import msgspec

from talo.app.revocations import PAUSED, STAMPS
from talo.stores.base import Locks
from talo.worker.bulletin import Standing

__all__ = ["with_marks"]


def with_marks(standing: Standing, locks: Locks | None) -> Standing:
    """Return ``standing`` with the marks of the store, as it is where no store keeps any. ``OperationalError``."""
    if locks is None:
        return standing
    paused = locks.all_marked(PAUSED)
    return msgspec.structs.replace(
        standing,
        paused_queues=frozenset(mark.removeprefix("queue:") for mark in paused if mark.startswith("queue:")),
        paused_tasks=frozenset(mark.removeprefix("task:") for mark in paused if mark.startswith("task:")),
        stamps=frozenset(locks.all_marked(STAMPS)),
    )
