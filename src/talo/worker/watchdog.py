"""The watchdog: a child that has nothing to do while there is work, and does not look, is stuck.

Owns that judgement. A child that waits looks by itself well within the watchdog's patience, so the store is asked for
ready work only when one has not: a worker that is merely idle costs nothing here. Called by the agent."""

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
        #: The children that were silent while there was work at the last look: number of the share, and until when it
        #: should have looked.
        self._silent: set[tuple[int, float]] = set()

    def stuck(self, now: float) -> list[int]:
        """Return the numbers of the shares whose child should be replaced."""
        patience = self._options.watchdog
        if patience is None:
            return []
        silent = {
            (share.number, until)
            for share in self._shares
            if self._waits(share) and now - (until := share.board.fetching_until) >= patience - self._options.idle_look
        }
        if silent and not self._is_work_ready():
            silent.clear()
        # Twice: one that has looked in between was merely unlucky, or the whole machine stood still.
        before, self._silent = self._silent, silent
        return sorted(number for number, _ in silent & before)

    def _is_work_ready(self) -> bool:
        queues = self._queues()
        return bool(queues) and any(queue.ready for queue in self._broker.stats(queues))

    @staticmethod
    def _waits(share: Share) -> bool:
        board = share.board
        return bool(board.ready and board.fetching_until and len(board.running()) < board.slots and not board.unstarted)
