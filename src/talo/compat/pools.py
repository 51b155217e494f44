"""Pools of producers and connections, for code that acquires one before it sends.

Owns nothing: all that they hand out shares the connections of the app's store, which has its own pool.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["ProducerPool"]


class ProducerPool:
    """Hands out producers (or connections) of an app; there are always enough."""

    limit: int | None = None

    def __init__(self, app: Any, connections: bool = False) -> None:
        self.app = app
        self._connections = connections

    @contextmanager
    def acquire(self, block: bool = False, timeout: float | None = None) -> Iterator[Any]:
        """One for the length of a block."""
        del block, timeout
        if self._connections:
            yield self.app.connection()
            return
        with self.app.producer_or_acquire() as producer:
            yield producer

    def force_close_all(self) -> None:
        """Close the app's connections; the next use opens them again."""
        self.app.close_stores()

    resize = release = force_close_all
