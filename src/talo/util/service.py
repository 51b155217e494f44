"""A service: a thread of a long-lived process that does something beside it until it is told to end.

Owns the thread and its end; what it does is told by who derives from it: ``worker.delays``, ``beat.service``,
``django._looking``.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

__all__ = ["ThreadService"]


class ThreadService(ABC):
    """``start``, ``stop`` and ``join`` are legal at any time."""

    def __init__(self, thread: str) -> None:
        """``thread``: its name."""
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=thread, daemon=True)

    @abstractmethod
    def _run(self) -> None:
        """What it does, until ``ended`` is set."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask for the end."""
        self.ended.set()

    def join(self, deadline: float | None = None) -> None:
        """Wait for the end, ``deadline`` seconds at most."""
        if self._thread.is_alive():
            self._thread.join(deadline)
