"""What the store has marked for workers, as part of what holds for this one.

Owns reading pauses and revoked stamps, and the number of processes that a command gave a worker; revoked ids are read
by each child when the agent says that they have changed. Called by agent and children. Pauses and stamps are written
by ``app.revocations``."""

from __future__ import annotations

import msgspec

from talo.app.revocations import PAUSED, PAUSED_FOR, STAMPS, named
from talo.stores.base import Locks
from talo.worker.bulletin import Standing

__all__ = ["keep_size", "size_of", "with_marks"]


def with_marks(standing: Standing, locks: Locks | None) -> Standing:
    """Return ``standing`` with the marks of the store, as it is where no store keeps any. ``OperationalError``."""
    if locks is None:
        return standing
    paused = locks.all_marked(PAUSED)
    return msgspec.structs.replace(
        standing,
        paused_queues=named("queue", paused),
        paused_tasks=named("task", paused),
        parked=named("parked", paused),
        emptied=named("emptied", paused),
        stamps=frozenset(locks.all_marked(STAMPS)),
    )


def keep_size(locks: Locks, worker: str, configured: int, size: int, now: float) -> None:
    """Remember how many processes a command gave this worker, for as long as a pause. ``OperationalError``."""
    before = locks.all_marked(_sizes(worker))
    # The latest counts, so that nothing is forgotten between these two steps.
    member = f"{now:017.6f} {configured} {size}"
    locks.mark(_sizes(worker), {member: PAUSED_FOR})
    locks.unmark(_sizes(worker), sorted(before - {member}))


def size_of(locks: Locks, worker: str, configured: int) -> int | None:
    """Return what ``keep_size`` remembered; None if nothing, or if the worker is configured otherwise since: whoever
    changes the configuration says the latest. ``OperationalError``."""
    said = max(locks.all_marked(_sizes(worker)), default=None)
    if said is None:
        return None
    _, before, size = said.split()
    return int(size) if int(before) == configured else None


def _sizes(worker: str) -> str:
    return f"processes:{worker}"
