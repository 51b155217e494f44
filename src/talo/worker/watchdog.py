"""The watchdog: a child that has nothing to do while there is work, and does not look, is stuck."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from talo.stores.base import Broker
from talo.worker.options import WorkerOptions
from talo.worker.share import Share

__all__ = ["Watchdog"]


class Watchdog:
    """Compares "work is ready" with "children are fetching". ``queues`` returns those that they fetch from now."""

    def __init__(
        self,
        broker: Broker,
        options: WorkerOptions,
        shares: Sequence[Share],
        queues: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self._broker = broker
        self._options = options
        self._shares = shares
        self._queues = queues or (lambda: options.queues)
        #: Since when there has been ready work at every look.
        self._ready_since: float | None = None

    def stuck(self, now: float) -> list[int]:
        """Return the numbers of the shares whose child should be replaced."""
        patience = self._options.watchdog
        waiting = [share for share in self._shares if self._waits(share)]
        if (
            patience is None
            or not waiting
            or not (queues := self._queues())
            or not any(queue.ready for queue in self._broker.stats(queues))
        ):
            self._ready_since = None
            return []
        if self._ready_since is None:
            self._ready_since = now
        if now - self._ready_since < patience:
            return []
        # A child that has begun a turn or a wait since the work was first seen is merely unlucky, not stuck.
        return [share.number for share in waiting if share.board.fetching_since < self._ready_since]

    @staticmethod
    def _waits(share: Share) -> bool:
        board = share.board
        return bool(board.ready and board.fetching_since and len(board.running()) < board.slots and not board.unstarted)
