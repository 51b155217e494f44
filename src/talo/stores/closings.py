"""What has ended once, remembered in a store beside the one that keeps the messages.

Where one store keeps both, a settlement closes its group or step in its own transaction. Where they live apart there is
none over both, so the order is: ask what is closed, send what follows, remember it as closed, end the message. Of two
copies the one that comes later finds it closed. A process that dies between sending and remembering sends again, and
never not at all; so do two that end at the same moment. Therefore what that end frees is sent as a copy, and of several
copies a worker starts one. Called by ``worker.split``, for brokers that remember nothing, and by ``sqs.ending``.
"""

from __future__ import annotations

from collections.abc import Sequence

from talo.stores.base import Settlement, Store
from talo.wire.message import Message

__all__ = ["Closings"]

#: The kind of its marks, and seconds for which they are kept: a copy comes again well before.
_CLOSED, _REMEMBERED = "closed-groups", 3600.0


class Closings:
    """What has been closed, as the store ``side`` remembers it."""

    def __init__(self, side: Store) -> None:
        self._side = side

    def void(self, settlements: Sequence[Settlement]) -> set[int]:
        """The positions of those whose group or step was closed before, or is by one ahead in this batch: of these
        nothing but the message ends."""
        names = {each.closes for each in settlements if each.closes is not None}
        if not names:
            return set()
        closed = self._side.locks.marked(_CLOSED, sorted(names))
        void = set()
        for index, each in enumerate(settlements):
            if each.closes is not None:
                if each.closes in closed:
                    void.add(index)
                closed.add(each.closes)
        return void

    @staticmethod
    def freed(settlement: Settlement) -> list[Message]:
        """What is sent for this settlement, which closes something."""
        return [message.copied(f"{settlement.closes}:{at}") for at, message in enumerate(settlement.follow)]

    def close(self, names: Sequence[str]) -> None:
        """Remember these as closed, and forget their records. What follows them must have been sent."""
        if names:
            self._side.locks.mark(_CLOSED, dict.fromkeys(names, _REMEMBERED))
            self._side.results.close_groups(names)
