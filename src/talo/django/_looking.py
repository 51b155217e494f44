"""A service that looks for work in a database, again and again.

Owns the thread, its pauses and its connections; what is looked for is said by ``relay`` and ``q``. Started by the
worker's agent.
"""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from talo.django.connections import close_all

__all__ = ["Looking"]


class Looking(ABC):
    """``start``, ``stop`` and ``join`` are legal at any time."""

    thread: ClassVar[str]

    def __init__(self, app: Any) -> None:
        self.app = app
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.thread, daemon=True)

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
            self._thread.start()

    def stop(self) -> None:
        """Ask for the end."""
        self.ended.set()

    def join(self, deadline: float | None = None) -> None:
        """Wait for the end, ``deadline`` seconds at most."""
        if self._thread.is_alive():
            self._thread.join(deadline)

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
