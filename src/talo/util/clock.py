"""A Lamport clock: numbers that put the messages of many machines into an order that agrees with cause and effect.

Owns the counting rules (L. Lamport, "Time, clocks, and the ordering of events in a distributed system", 1978). An app
has one; the processes of a worker count in memory that they share. Called wherever an event or a control message is
sent or read."""

from __future__ import annotations

import struct
import threading

__all__ = ["LamportClock"]

_NUMBER = struct.Struct("<Q")
#: Beyond it, a number from outside is not believed.
_MOST = 2**63


class LamportClock:
    """Counts up. ``value`` is the number drawn or heard last; it never goes down within one process."""

    def __init__(self, initial: int = 0) -> None:
        self.value = initial
        self._lock = threading.Lock()
        self._shared: memoryview | None = None

    def share(self, memory: memoryview) -> None:
        """Count in these eight bytes from now on, together with whoever else does."""
        with self._lock:
            self._shared = memory
            self._note(max(self.value, self._seen()))

    def forward(self) -> int:
        """Draw the next number, for a message that is sent."""
        with self._lock:
            self._note(max(self.value, self._seen()) + 1)
            return self.value

    def adjust(self, other: int) -> int:
        """Hear of another clock's number; return the own one, which is beyond it."""
        with self._lock:
            mine = max(self.value, self._seen())
            self._note(max(mine, other if 0 <= other < _MOST else mine) + 1)
            return self.value

    def _seen(self) -> int:
        return 0 if self._shared is None else int(_NUMBER.unpack_from(self._shared)[0])

    def _note(self, value: int) -> None:
        self.value = value
        if self._shared is not None:
            # Two processes may write the same number: then the time stamps of their messages decide.
            _NUMBER.pack_into(self._shared, 0, value)

    def __str__(self) -> str:
        return str(self.value)

    def __repr__(self) -> str:
        return f"<LamportClock: {self.value}>"
