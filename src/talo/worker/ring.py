"""The ring: settlements that a child has finished and the store has not got yet, in shared memory.

The child appends each as its task ends and clears them when the store has answered. If the child dies, or is held up
by a long task, the agent settles from here. Fencing makes a repeat harmless, so reader and writer need no lock."""

from __future__ import annotations

import logging
import mmap
import struct
import zlib
from collections.abc import Iterator

import msgspec

from talo.stores.base import Settlement

__all__ = ["Ring"]

log = logging.getLogger("talo.worker")

_HEAD = struct.Struct("<QQ")
_POSITION = struct.Struct("<Q")
#: Length and checksum: a reader beside a living writer must know a torn entry when it sees one.
_ENTRY = struct.Struct("<II")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Settlement)


class Ring:
    """A byte ring. Positions only grow; ``tail`` to ``head`` are the entries that count."""

    def __init__(self, memory: mmap.mmap, offset: int, size: int) -> None:
        self._memory = memory
        self._offset = offset
        self._data = offset + _HEAD.size
        self._room = size - _HEAD.size
        self._head, self._tail = _HEAD.unpack_from(memory, offset)

    def wipe(self) -> None:
        """Empty it, as the supervisor does before it hands the ring to a new child."""
        self._head = self._tail = 0
        _HEAD.pack_into(self._memory, self._offset, 0, 0)

    def append(self, settlement: Settlement) -> bool:
        """Add a settlement; False when there is no room or it cannot stand here, and the caller must settle first."""
        try:
            payload = _encoder.encode(settlement)
        except (TypeError, ValueError, OverflowError):
            # Something in it that only the store's own codec can write, or nobody: it has to be settled to know.
            return False
        length = len(payload)
        need = _ENTRY.size + length
        if need > self._room - (self._head - self._tail):
            return False
        entry = _ENTRY.pack(length, zlib.crc32(payload)) + payload
        at = self._head % self._room
        start = self._data + at
        first = min(need, self._room - at)
        self._memory[start : start + first] = entry[:first]
        if first < need:
            self._memory[self._data : self._data + need - first] = entry[first:]
        self._head += need
        _POSITION.pack_into(self._memory, self._offset, self._head)
        return True

    def clear(self) -> None:
        """Everything in it is settled."""
        if self._tail != self._head:
            self._tail = self._head
            _POSITION.pack_into(self._memory, self._offset + 8, self._tail)

    def read(self) -> list[Settlement]:
        """Return the settlements that stand in it, oldest first; a reader's view, nothing is changed."""
        return list(self._entries())

    def _entries(self) -> Iterator[Settlement]:
        head, tail = _HEAD.unpack_from(self._memory, self._offset)
        while tail < head:
            length, checksum = _ENTRY.unpack(self._bytes(tail, _ENTRY.size))
            if length > head - tail - _ENTRY.size:
                return
            payload = self._bytes(tail + _ENTRY.size, length)
            if zlib.crc32(payload) != checksum:
                # The writer has come round and overwritten it: then the store has it already.
                return
            tail += _ENTRY.size + length
            try:
                yield _decoder.decode(payload)
            except msgspec.MsgspecError:
                # It is lost with its process, and its task runs again; what stands behind it must not suffer for that.
                log.exception("A settlement in the ring cannot be read", extra={"action": "ring"})

    def _bytes(self, position: int, length: int) -> bytes:
        at = position % self._room
        first = min(length, self._room - at)
        start = self._data + at
        data = self._memory[start : start + first]
        return data if first == length else data + self._memory[self._data : self._data + length - first]
