"""Where a fetch begins to look: behind what has been taken, not at the head of an index that is full of it.

A table that is a queue is emptied from its head. PostgreSQL keeps the index entries of rows that are gone until it
vacuums, and for as long as anybody's transaction might still see them; a look that begins at the head walks over all of
them. So a process notes where it last found something, and begins there. Nothing depends on it but the time a fetch
takes and who comes first: what appears in front of the note (a sender that drew its number early and committed late, a
fetch that was undone) is found by the next look at everything. Called by ``_writing``, inside a transaction.
"""

from __future__ import annotations

from time import monotonic
from typing import Any, NamedTuple

from talo.stores.sql.database import Session

__all__ = ["HEAD", "Fronts"]

#: The first place of all but what was given back, which stands below it and is always looked at.
HEAD = 0
#: Seconds between two looks at everything, and so many times as long as such a look takes: it costs a hundredth.
_PAUSE, _SHARE = 1.0, 100


class _Front(NamedTuple):
    place: int
    #: When everything is to be looked at again (monotonic).
    until: float


class Fronts:
    """The place at which a process found the first message of a queue and priority, while there is more than it takes.
    What it notes may belong to a transaction that is undone: at that place, or behind it, the messages still are."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], _Front] = {}

    def take(self, tx: Session, queue: str, level: int, count: int) -> list[Any]:
        """Take up to ``count`` messages of a priority: what was given back first, then in the order of their places."""
        began = monotonic()
        front = self._known.pop((queue, level), None)
        if front is not None and began >= front.until:
            front = None
        found = tx.rows("ready", queue, level, count, HEAD if front is None else front.place)
        places = [row[7] for row in found if row[7] >= HEAD]
        # Where it runs dry nothing is noted: the next look is at everything.
        if len(found) >= count:
            if places:
                until = self._until(began) if front is None else front.until
                self._known[queue, level] = _Front(places[0], until)
            elif front is not None:
                # All of it was given back: where the rest begins is known as before.
                self._known[queue, level] = front
        return found

    @staticmethod
    def _until(began: float) -> float:
        now = monotonic()
        return now + max(_PAUSE, _SHARE * (now - began))
