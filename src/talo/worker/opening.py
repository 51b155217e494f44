"""When a type of task that was paused is as open as any other again: once all that was parked of it has been fetched.

Owns that decision for the parking queues of the queues that its worker consumes, and looking after stragglers. Called
by the agent at each tick; of a fleet one agent looks at each parking queue. See ``docs/internals/control.md``."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from talo.app.revocations import PAUSED, PAUSED_FOR
from talo.stores.base import Locks, QueueStats
from talo.worker.bulletin import Standing

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["Opening"]

#: Seconds between two looks while something is parked. What was fetched is begun or given back within that time.
_LOOK = 0.5
#: Seconds between two looks for stragglers, and for how long they are looked for at least: longer than anything may be
#: held where the store does not tell what is held.
_RARELY, _RECENT = 5.0, 86_400.0
#: Seconds after an opening in which stragglers are likely: of children that had not heard of it.
_LIKELY = 3.0


class Opening:
    """Looks for one worker. ``owner`` is its agent's owner id, under which it takes the fleet's locks."""

    def __init__(self, app: Talo, owner: str, standing: Callable[[], Standing]) -> None:
        self._app = app
        self._owner = owner
        self._standing = standing
        state = app.state_store
        self._locks: Locks | None = None if state is None else state.locks
        #: Those that the last look has found empty.
        self._empty: set[str] = set()
        self._next = 0.0
        self._likely_until = 0.0

    def look(self, now: float) -> None:
        """Do what is due (``now`` is monotonic). Raises what the stores raise; the next look tries again."""
        standing = self._standing()
        if not (standing.parked or standing.emptied) or now < self._next or self._locks is None:
            return
        resuming, watched = standing.resuming, standing.watched
        self._empty.intersection_update(resuming)
        pause = _LOOK if resuming or now < self._likely_until else _RARELY
        self._next = now + pause * random.uniform(1.0, 1.2)
        mine = [
            name for name in (*resuming, *watched) if self._locks.acquire(f"opening:{name}", self._owner, 3 * pause)
        ]
        if not mine:
            return
        changed = False
        for stats in self._app.store.broker.stats(mine):
            judge = self._opens if stats.name in resuming else self._reopens
            changed |= judge(self._locks, stats)
        if changed:
            self._likely_until = now + _LIKELY
            self._app.hearing.tell(0.0)

    def _opens(self, locks: Locks, stats: QueueStats) -> bool:
        """What was parked has been fetched, and has begun since: the type is open. A straggler may still come, of a
        process that stood still, or be given back."""
        name = stats.name
        if stats.ready:
            self._empty.discard(name)
            return False
        if name not in self._empty:
            self._empty.add(name)
            return False
        self._empty.discard(name)
        locks.mark(PAUSED, {f"emptied:{name}": PAUSED_FOR, f"recent:{name}": _RECENT})
        locks.unmark(PAUSED, [f"parked:{name}"])
        return True

    def _reopens(self, locks: Locks, stats: QueueStats) -> bool:
        """There is a straggler; or there has been none for so long that none can come."""
        name = stats.name
        if stats.ready:
            locks.mark(PAUSED, {f"parked:{name}": PAUSED_FOR})
            return True
        if stats.leased or stats.delayed or locks.marked(PAUSED, [f"recent:{name}"]):
            return False
        locks.unmark(PAUSED, [f"emptied:{name}"])
        return True
