"""A clock for tests, which runs as the real one does and can be put forward.

Owns the time that an app goes by while a test keeps it in memory: its sends and retries, its store, its
``LocalWorker``. What is due in an hour runs at once after ``advance(3600)``. Time limits are not of it: they stop
what takes long.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Clock"]


class Clock:
    """Epoch seconds when called."""

    def __init__(self) -> None:
        self._ahead = 0.0
        #: Called after each ``advance``.
        self.listeners: list[Callable[[], None]] = []

    def __call__(self) -> float:
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once. ``ValueError`` for a way back."""
        if seconds < 0:
            raise ValueError(f"a clock is put forward only, not by {seconds} s")
        self._ahead += seconds
        for listener in list(self.listeners):
            listener()
