"""A thread of the agent that sends on what has fallen due in the store beside the broker.

Owns when it looks; what it does is ``stores.delays``'s. Any number of agents may do it at once. Started by ``agent``.
"""

from __future__ import annotations

import logging
import threading
import time

from talo.errors import TaloError
from talo.stores.delays import Delays

__all__ = ["DelaysService"]

log = logging.getLogger("talo.worker")

#: Seconds between two looks at most: by so much is late what was brought forward meanwhile.
_LOOK = 0.5


class DelaysService:
    """A service: ``start``, ``stop`` and ``join`` are legal at any time."""

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="talo-delays", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask for the end."""
        self._ended.set()

    def join(self, deadline: float | None = None) -> None:
        """Wait for the end, ``deadline`` seconds at most."""
        if self._thread.is_alive():
            self._thread.join(deadline)

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            pause = _LOOK
            try:
                due = self._delays.carry()
            except TaloError as error:
                log.warning("What is due cannot be sent on now: %s", error, extra={"action": "delays"})
                continue
            if due is not None:
                pause = min(_LOOK, max(0.0, due - time.time()))
        try:
            self._delays.close()
        except TaloError as error:
            log.info("The lease of what is sent on ends by itself: %s", error, extra={"action": "delays"})
