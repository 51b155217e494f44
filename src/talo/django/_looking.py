"""A service that looks for work in a database, again and again.

Owns the pauses and the connections; what is looked for is said by ``relay`` and ``q``. Started by the
worker's agent.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from typing import Any, ClassVar

from talo.django.connections import close_all
from talo.util.service import ThreadService

__all__ = ["Looking"]


class Looking(ThreadService):
    """Looks, and pauses."""

    thread: ClassVar[str]

    def __init__(self, app: Any) -> None:
        super().__init__(self.thread)
        self.app = app

    def wanted(self) -> bool:
        """Whether there is anything to look for, by the settings."""
        return True

    def pause(self) -> float:
        """Seconds between two looks, more or less."""
        return 1.0

    @abstractmethod
    def look(self) -> None:
        """Look once. It does not raise."""

    def start(self) -> None:
        """Begin, if it is wanted."""
        if self.wanted():
            super().start()

    def _run(self) -> None:
        try:
            while not self.ended.is_set():
                self.look()
                # It looks seldom: no connection is kept for it.
                close_all()
                # With jitter, so that a fleet does not look at the same moments.
                self.ended.wait(self.pause() * random.uniform(0.7, 1.3))
        finally:
            close_all()
