"""``qcluster --run-once``: a worker that ends when nothing waits any more.

Owns seeing that, from the worker's agent. Called by the command.
"""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

from talo.django._looking import Looking
from talo.errors import TaloError

__all__ = ["UntilIdle"]

log = logging.getLogger("talo.django")


class UntilIdle(Looking):
    """Ends its worker once a queue holds no task that is ready or at work; what is to run later stays."""

    thread = "talo-q-run-once"

    def __init__(self, app: Any, queue: str) -> None:
        super().__init__(app)
        self._queue = queue

    def pause(self) -> float:
        """Short: somebody waits for the end."""
        return 0.3

    def look(self) -> None:
        """End the worker if there is nothing to do."""
        try:
            busy = any(each.ready or each.leased for each in self.app.store.broker.stats([self._queue]))
        except TaloError as exc:
            log.warning("The queue cannot be looked at: %s", exc)
            return
        if not busy:
            self.stop()
            # The agent's parent is the worker's supervisor, which lets what runs end.
            os.kill(os.getppid(), signal.SIGTERM)
