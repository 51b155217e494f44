"""Outlets: who may take messages before they go to the broker.

Owns the interface only. A transaction of the caller's (``app.transaction``) and Django's ``atomic`` are outlets.
Asked by ``app.send`` for every send, in order, the latest first, and by results that are waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from talo.errors import UnsentTask
from talo.wire.message import Message

__all__ = ["Outlet", "refuse_unsent"]


class Outlet(Protocol):
    """Something that messages may have to wait for, or become part of."""

    def take(self, messages: list[Message], publish: Callable[[], None]) -> bool:
        """Take the messages over and return True, or leave them to the next one (False).

        Whoever takes them stores them as part of what it stands for, or calls ``publish``, once, when they may go on:
        to the outlets that have not been asked, then to the broker; it raises what a send raises. Until then the items
        of the list may be exchanged.
        """
        ...

    def holding(self, task_id: str) -> str | None:
        """Why the message of this task has not gone on yet, in words that follow "it waits for"; None if it is not
        held here."""
        del task_id
        return None


def refuse_unsent(outlets: Sequence[Outlet], task_ids: Iterable[str]) -> None:
    """``UnsentTask`` if one of these tasks is held by an outlet of this very thread or coroutine: waiting for it would
    never end."""
    if not outlets:
        return
    for task_id in task_ids:
        for outlet in outlets:
            why = outlet.holding(task_id)
            if why is not None:
                raise UnsentTask(task_id, why)
