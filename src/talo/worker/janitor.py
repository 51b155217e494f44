"""Deletes what has expired, in small steps between the agent's other work.

Owns when that happens and that of a whole fleet one agent trims the history; what expires is each store's to know.
Called by the agent at every tick."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["Janitor"]

#: Seconds between two looks for expired results, locks and dead letters, and for old history.
EVERY = 60.0
#: Things deleted in one step, and seconds to the next one while there is more.
STEP, PAUSE = 1000, 0.2


class Janitor:
    """Cleans the stores of one app. ``owner`` is the agent's own owner id, under which it takes the fleet's lock."""

    def __init__(self, app: Talo, owner: str) -> None:
        self._app = app
        self._owner = owner
        self._next_cleanup = self._next_trim = time.monotonic() + EVERY

    def sweep(self, now: float) -> None:
        """Do what is due (``now`` is monotonic). Raises what the stores raise; the next tick tries again."""
        if now >= self._next_cleanup:
            self._next_cleanup = now + EVERY * random.uniform(0.8, 1.2)
            if self._clean() >= STEP:
                self._next_cleanup = now + PAUSE
        if now >= self._next_trim:
            self._next_trim = now + EVERY * random.uniform(0.8, 1.2)
            if self._trim() >= STEP:
                self._next_trim = now + PAUSE

    def _clean(self) -> int:
        """Delete a step of what has expired in each store; return how much the most was."""
        stores = {id(store): store for store in (self._app.store, self._app.result_store) if store is not None}
        return max(store.results.cleanup(STEP) for store in stores.values())

    def _trim(self) -> int:
        state = self._app.state_store
        if state is None or state.history is None:
            return 0
        if not state.locks.acquire("talo:history", self._owner, EVERY):
            return 0
        most = self._app.conf.history_max_runs
        return state.history.trim(state.history.max_runs if most is None else most, STEP)
