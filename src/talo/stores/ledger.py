"""The ledger of what waits: where a task stands on a broker that shows nothing, written down in the store beside it.

Owns the role of the store that keeps it, and its forms. Whoever writes is ``noted``; it is read through that broker's
``find``, ``peek`` and ``stats``. Its design is in ``docs/internals/ledger.md``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from talo.stores.records import Lease

__all__ = ["KEPT", "Count", "Entry", "Holder", "Ledger", "Note"]

#: Seconds after which an entry is deleted that nobody has struck out: since it could be fetched, or since it is held.
KEPT = 7 * 86400.0


class Entry(NamedTuple):
    """One message in one queue. Of each pair of task id and queue there is one entry at most."""

    id: str
    queue: str
    task: str
    #: The id that began its workflow; empty: its own.
    root: str
    #: When it was sent, and since when it may be fetched; epoch seconds.
    sent: float
    since: float


class Holder(NamedTuple):
    """Who has fetched a message."""

    lease: Lease
    worker: str
    #: Epoch seconds.
    at: float


class Note(NamedTuple):
    """An entry as it stands: it waits, or somebody has it."""

    entry: Entry
    holder: Holder | None


class Count(NamedTuple):
    """What waits in one queue."""

    ready: int = 0
    delayed: int = 0


class Ledger(ABC):
    """Keeps entries until they are struck out, and no longer than ``KEPT``. Every verb is one step for each entry."""

    @abstractmethod
    def enter(self, entries: Sequence[Entry], timeout: float | None = None) -> None:
        """Write down that these wait, each once. One that is there begins anew, and nobody holds it."""

    @abstractmethod
    def mark(self, ended: Sequence[Lease], held: Sequence[tuple[Entry, Holder]]) -> None:
        """Strike out what is held under the leases ``ended``; then note who holds what. An entry that is not there is
        made."""

    @abstractmethod
    def free(self, back: Sequence[tuple[Lease, float | None]]) -> None:
        """What is held under these leases waits again: since then (epoch seconds), or as before (None)."""

    @abstractmethod
    def drop(self, entries: Sequence[Entry]) -> None:
        """Strike out those of these that nobody holds."""

    @abstractmethod
    def clear(self, queue: str, after: float, until: float) -> None:
        """Strike out what waits in a queue and may be fetched since a moment behind ``after``, up to ``until``."""

    @abstractmethod
    def find(self, task_ids: Sequence[str]) -> list[Note]:
        """All there is of these tasks."""

    @abstractmethod
    def waiting(self, queue: str, limit: int, offset: int, *, delayed: bool) -> list[Entry]:
        """What waits there and is ready, or is not yet, the earliest first."""

    @abstractmethod
    def counts(self, queues: Sequence[str]) -> dict[str, Count]:
        """How much waits in each of these that has an entry."""

    @abstractmethod
    def since(self, queue: str, rank: int) -> float | None:
        """Since when (epoch seconds) that may be fetched which waits there at this place from the earliest, from 0."""

    @abstractmethod
    def ahead(self, entry: Entry) -> int:
        """How many wait in its queue that may be fetched since before it."""

    @abstractmethod
    def held(self, limit: int) -> list[Note]:
        """What somebody has."""
