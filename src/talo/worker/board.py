"""The board: what each running task's process is busy with, in shared memory.

One writer (the child), readers are supervisor and agent. It carries facts, not tasks: the token of the delivery that
runs, since when, and its deadlines. It is how the supervisor sees a limit passed and how the agent knows what a dead
child was doing. Nothing here blocks or locks."""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple

__all__ = ["Board", "Entry"]

#: token, started, soft deadline, hard deadline (monotonic seconds; 0: none), token again. A reader that sees two
#: different tokens read in the middle of a write and reads again.
_SLOT = struct.Struct("<QdddQ")
#: pid, owner length, owner, fetching until (0: not in a wait or turn), finished, failed, unstarted, ready,
#: away.
_HEAD = struct.Struct("<QQ128sdQQQQQ")
_FETCHING = struct.Struct("<d")
_COUNTS = struct.Struct("<QQ")
_NUMBER = struct.Struct("<Q")
_AT_FETCHING = 8 + 8 + 128
_AT_COUNTS = _AT_FETCHING + 8
_AT_UNSTARTED = _AT_COUNTS + 16
_AT_READY = _AT_UNSTARTED + 8
_AT_AWAY = _AT_READY + 8
#: What stands at ``ready`` in the end.
_ENDING = 2


class Entry(NamedTuple):
    """One running task."""

    slot: int
    token: int
    started: float
    soft: float
    hard: float


class Board:
    """One child's part of the board: a head and ``slots`` entries. Only the child writes; ``wipe`` is for the
    supervisor, before the fork."""

    def __init__(self, memory: mmap.mmap, offset: int, slots: int) -> None:
        self._memory = memory
        self._offset = offset
        self._at = offset + _HEAD.size
        self.slots = slots

    @staticmethod
    def size(slots: int) -> int:
        """Return the bytes that a board of so many slots takes."""
        return _HEAD.size + slots * _SLOT.size

    def wipe(self) -> None:
        """Forget everything."""
        self._memory[self._offset : self._offset + self.size(self.slots)] = bytes(self.size(self.slots))

    # -- the child writes --------------------------------------------------------------------------------------------

    def introduce(self, pid: int, owner: str) -> None:
        """Say who fetches here from now on."""
        name = owner.encode()[:128]
        facts = (*self.counts, 0, self.ready, self.away)
        _HEAD.pack_into(self._memory, self._offset, pid, len(name), name, 0.0, *facts)

    def start(self, slot: int, token: int, started: float, soft: float, hard: float) -> None:
        """A task starts."""
        _SLOT.pack_into(self._memory, self._at + slot * _SLOT.size, token, started, soft, hard, token)

    def end(self, slot: int) -> None:
        """It has ended."""
        _SLOT.pack_into(self._memory, self._at + slot * _SLOT.size, 0, 0.0, 0.0, 0.0, 0)

    def note_fetching(self, until: float) -> None:
        """The child asks the store for work or waits for some, and looks again by then at the latest (monotonic);
        0: it does not."""
        _FETCHING.pack_into(self._memory, self._offset + _AT_FETCHING, until)

    def note_counts(self, finished: int, failed: int) -> None:
        """How many runs have ended, and how many of them failed."""
        _COUNTS.pack_into(self._memory, self._offset + _AT_COUNTS, finished, failed)

    def note_unstarted(self, number: int) -> None:
        """How many fetched tasks may still be given back."""
        _NUMBER.pack_into(self._memory, self._offset + _AT_UNSTARTED, number)

    def note_ready(self) -> None:
        """The child has started up."""
        _NUMBER.pack_into(self._memory, self._offset + _AT_READY, 1)

    def note_ending(self) -> None:
        """It runs nothing any more, and is about to be gone."""
        _NUMBER.pack_into(self._memory, self._offset + _AT_READY, _ENDING)

    def note_away(self, away: bool) -> None:
        """The child cannot reach the store, or can again."""
        _NUMBER.pack_into(self._memory, self._offset + _AT_AWAY, away)

    # -- the others read ---------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The child's process id; 0 before it has introduced itself."""
        return int(_NUMBER.unpack_from(self._memory, self._offset)[0])

    @property
    def owner(self) -> str:
        """The owner id under which this child fetches; empty before it does."""
        _, length, name, *_ = _HEAD.unpack_from(self._memory, self._offset)
        return str(name[:length].decode(errors="replace"))

    @property
    def fetching_until(self) -> float:
        """Monotonic time by which it asks for work again; 0 if it does not."""
        return float(_FETCHING.unpack_from(self._memory, self._offset + _AT_FETCHING)[0])

    @property
    def counts(self) -> tuple[int, int]:
        """Finished and failed runs."""
        finished, failed = _COUNTS.unpack_from(self._memory, self._offset + _AT_COUNTS)
        return finished, failed

    @property
    def unstarted(self) -> int:
        """Fetched tasks that have not started."""
        return int(_NUMBER.unpack_from(self._memory, self._offset + _AT_UNSTARTED)[0])

    @property
    def ready(self) -> int:
        """Not 0 once the child has started up."""
        return int(_NUMBER.unpack_from(self._memory, self._offset + _AT_READY)[0])

    @property
    def ending(self) -> bool:
        """Whether it runs nothing any more."""
        return self.ready == _ENDING

    @property
    def away(self) -> int:
        """1 while the child cannot reach the store."""
        return int(_NUMBER.unpack_from(self._memory, self._offset + _AT_AWAY)[0])

    def entry(self, slot: int) -> Entry | None:
        """Return what runs in a slot, or None."""
        for _ in range(100):
            token, started, soft, hard, again = _SLOT.unpack_from(self._memory, self._at + slot * _SLOT.size)
            if token == again:
                return Entry(slot, token, started, soft, hard) if token else None
        # Still torn after so many reads: its writer died in the middle of the write, so it was just starting or ending.
        return Entry(slot, max(token, again), started, soft, hard)

    def running(self) -> list[Entry]:
        """Return every running task."""
        return [entry for slot in range(self.slots) if (entry := self.entry(slot)) is not None]
