"""Outlets: who may take messages before they go to the broker.

Owns the interface only. A transaction of the caller's (``app.transaction``) and Django's ``atomic`` are outlets.
Asked by ``app.send`` for every send, in order, the latest first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from talo.wire.message import Message

__all__ = ["Outlet"]


class Outlet(Protocol):
    """Something that messages may have to wait for, or become part of."""

    def take(self, messages: Sequence[Message], publish: Callable[[], None]) -> bool:
        """Take the messages over and return True, or leave them to the next one (False).

        Whoever takes them stores them as part of what it stands for, or calls ``publish``, once, when they may go to
        the broker; it raises what a send raises.
        """
        ...
