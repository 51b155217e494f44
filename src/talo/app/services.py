"""Services: long-lived work of an app that every worker does for it, in its agent.

Owns the interface only. The relay of Django's outbox is one. Started and stopped by ``worker.agent``; makers stand in
``Talo.services``.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Service"]


class Service(Protocol):
    """Work with a beginning and an end, in threads of its own. It never takes its process down."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """Ask for the end. Idempotent, and legal before ``start``."""
        ...

    def join(self, deadline: float | None = None) -> None:
        """Wait for the end, ``deadline`` seconds at most."""
        ...
