"""The bulletin: what was said to a running worker, in memory that all its processes share.

Owns the document and how it is written and read without a lock: one writer (the agent), any number of readers, and
either may die at any instruction. See ``docs/internals/control.md``."""

from __future__ import annotations

import mmap
import struct
import zlib

import msgspec

from talo.stores.parking import home_of

__all__ = ["SIZE", "Bulletin", "Standing"]

#: Bytes; memory that nobody writes costs nothing.
SIZE = 1 << 18
#: number (odd while it is written), length, checksum.
_HEAD = struct.Struct("<QQQ")
_NUMBER = struct.Struct("<Q")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What holds until something else is said."""

    #: Consumed queues.
    queues: tuple[str, ...]
    #: Task events are told.
    events: bool = False
    #: By task, as they were written; 0: none although the task has one.
    rate_limits: dict[str, str | float] = {}
    #: Hard and soft, by task.
    time_limits: dict[str, tuple[float | None, float | None]] = {}
    paused_queues: frozenset[str] = frozenset()
    paused_tasks: frozenset[str] = frozenset()
    #: Parking queues in which tasks wait, and those that have been emptied lately.
    parked: frozenset[str] = frozenset()
    emptied: frozenset[str] = frozenset()
    #: Revoked stamps, ``name=value``.
    stamps: frozenset[str] = frozenset()
    #: Revoked ids where no store keeps them, the latest last.
    revoked: tuple[str, ...] = ()

    @property
    def open_queues(self) -> tuple[str, ...]:
        """The queues to be fetched from: those consumed that are not paused, and where tasks of them wait whose type
        goes on."""
        open_queues = tuple(name for name in self.queues if name not in self.paused_queues)
        return (*open_queues, *self.resuming) if self.parked else open_queues

    @property
    def resuming(self) -> tuple[str, ...]:
        """The parking queues of types that go on: what waits there comes before what else comes of the type."""
        return self._going_on(self.parked)

    @property
    def watched(self) -> tuple[str, ...]:
        """The emptied ones of types that go on: a straggler may still come there."""
        return self._going_on(self.emptied - self.parked)

    def _going_on(self, parkings: frozenset[str]) -> tuple[str, ...]:
        homes = [(name, home_of(name)) for name in sorted(parkings)]
        return tuple(
            name
            for name, home in homes
            if home.queue in self.queues and home.queue not in self.paused_queues and home.task not in self.paused_tasks
        )


class Bulletin:
    """The document in its place."""

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._memory = memory
        self._offset = offset

    @property
    def number(self) -> int:
        """Changes with the document; 0: nothing has been written."""
        return int(_NUMBER.unpack_from(self._memory, self._offset)[0])

    def write(self, standing: Standing) -> None:
        """Replace the document. Only the agent does. ``ValueError`` if it is too large."""
        data = msgspec.json.encode(standing)
        if len(data) > SIZE - _HEAD.size:
            raise ValueError("more was said to this worker than it can keep")
        number = self.number | 1
        at = self._offset + _HEAD.size
        # A reader in the middle of this sees an odd number, or a checksum that does not fit.
        _NUMBER.pack_into(self._memory, self._offset, number)
        self._memory[at : at + len(data)] = data
        _HEAD.pack_into(self._memory, self._offset, number, len(data), zlib.crc32(data))
        _NUMBER.pack_into(self._memory, self._offset, number + 1)

    def read(self) -> tuple[int, Standing] | None:
        """Return number and document; None while there is none, or it is just being written."""
        number, length, checksum = _HEAD.unpack_from(self._memory, self._offset)
        if not number or length > SIZE:
            return None
        at = self._offset + _HEAD.size
        data = self._memory[at : at + length]
        if zlib.crc32(data) != checksum or number != self.number:
            return None
        return number, msgspec.json.decode(data, type=Standing)
