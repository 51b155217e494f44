"""A thread of the agent that sends on what has fallen due in the store beside the broker.

Owns when it looks; what it does is ``stores.delays``'s. Any number of agents may do it at once. Started by ``agent``.
"""

from __future__ import annotations

import logging
import time

from talo.errors import TaloError
from talo.stores.delays import Delays
from talo.util.service import ThreadService

__all__ = ["DelaysService"]

log = logging.getLogger("talo.worker")

#: Seconds between two looks at most: by so much is late what was brought forward meanwhile.
_LOOK = 0.5


class DelaysService(ThreadService):
    """Carries what is due, and looks when more is."""

    def __init__(self, delays: Delays) -> None:
        super().__init__("talo-delays")
        self._delays = delays

    def _run(self) -> None:
        pause = 0.0
        while not self.ended.wait(pause):
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
