"""What an operation works with: the app, its stores, what workers answered lately.

Owns access to them, with errors that name the mend. Made once by ``dashboard``, handed to every operation."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from talo.control.dead import DeadLetters
from talo.control.history import history_of
from talo.control.schedules import ScheduleControl
from talo.stores.base import Broker
from talo.stores.history import Count, History
from talo.web.answers import Answers
from talo.web.audit import Audit
from talo.web.known import Counters, StateCounts

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["Desk"]


class Desk:
    """One app's controls. Safe to use from several threads, as its stores are."""

    def __init__(self, app: Talo, audit: Audit) -> None:
        self.app = app
        self.audit = audit
        self.answers = Answers(app)
        self.state_counts = StateCounts()
        self._counters = Counters()
        self._backlogs: collections.deque[tuple[float, int]] = collections.deque(maxlen=200)

    @property
    def broker(self) -> Broker:
        """Where tasks wait."""
        return self.app.store.broker

    @property
    def history(self) -> History:
        """What became of them. ``NotSupported`` if no store keeps it."""
        return history_of(self.app)

    def counters(self, since: float, step: int, now: float) -> list[Count]:
        """Counters from then (epoch seconds) to now; none where no store keeps history."""
        return self._counters.since(self.history, since, step, now) if self.has_history else []

    @property
    def letters(self) -> DeadLetters:
        """The dead letters."""
        return DeadLetters.of(self.app)

    @property
    def schedules(self) -> ScheduleControl:
        """The periodic tasks. ``NotSupported`` if the store keeps none."""
        return ScheduleControl(self.app)

    @property
    def has_history(self) -> bool:
        """Whether a store keeps history."""
        state = self.app.state_store
        return state is not None and state.history is not None

    def growth(self, backlog: int, now: float) -> float | None:
        """How fast the backlog grows, tasks per second, since looks that were 10 s to 5 min ago; None: nobody has
        looked."""
        before = [look for look in list(self._backlogs) if 10 <= now - look[0] <= 300]
        self._backlogs.append((now, backlog))
        return (backlog - before[0][1]) / (now - before[0][0]) if before else None

    def paused(self) -> tuple[set[str], set[str]]:
        """Paused queues and task types; none where no store keeps shared state."""
        if self.app.state_store is None:
            return set(), set()
        queues, tasks = self.app.control.paused()
        return set(queues), set(tasks)
