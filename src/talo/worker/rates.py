"""Rate limits of a worker: how many starts a second of each task, over all its processes.

Owns the buckets, in memory that the processes share, under a record lock of the kernel's (POSIX ``fcntl``), which dies
with its holder. Asked by ``worker.brakes``. See ``docs/internals/control.md``."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import random
import struct
import threading
import zlib
from collections.abc import Iterator

__all__ = ["SIZE", "RateTable"]

#: Hash of the task's name (0: free), when its next run may start, when the last one sent away comes back (epoch
#: seconds).
_SLOT = struct.Struct("<Qdd")
#: Many more than tasks with a limit.
_SLOTS = 1024
SIZE = _SLOTS * _SLOT.size
#: Seconds of unused rate that may be made up for: what was sent away comes back in small crowds.
_CREDIT = 0.2
#: Seconds; what waits longer is not given a moment of its own.
_HORIZON = 300.0


class RateTable:
    """The buckets of one worker. Each process opens it for itself; any thread of it may ask.

    ``fd`` is the file that the memory is of; -1: no other process has it."""

    def __init__(self, memory: mmap.mmap | bytearray, offset: int, fd: int) -> None:
        self._memory = memory
        self._offset = offset
        self._fd = fd
        self._lock_fd = -1
        # The kernel's lock tells processes apart, not threads.
        self._lock = threading.Lock()

    def ask(self, task: str, rate: float, now: float) -> float:
        """Return 0.0 if a run may start ``now`` (epoch seconds), which counts as started, else the seconds after which
        to ask again."""
        interval = 1.0 / rate
        with self._lock, self._alone():
            at = self._slot(task)
            key: int
            free: float
            tail: float
            key, free, tail = _SLOT.unpack_from(self._memory, at)
            # A clock that was set back must not stop a task for long.
            free = min(free, now + max(interval, 1.0))
            if free <= now:
                _SLOT.pack_into(self._memory, at, key, max(free, now - _CREDIT) + interval, tail)
                return 0.0
            tail = min(max(tail, free), now + _HORIZON)
            if tail >= now + _HORIZON:
                return random.uniform(_HORIZON / 2, _HORIZON)
            _SLOT.pack_into(self._memory, at, key, free, tail + interval)
            return tail - now

    def _slot(self, task: str) -> int:
        """The place of a task's bucket; the first free one from its hash on, if it has none yet."""
        key = zlib.crc32(task.encode()) + 1
        for probe in range(_SLOTS):
            at = self._offset + (key + probe) % _SLOTS * _SLOT.size
            found = _SLOT.unpack_from(self._memory, at)[0]
            if not found:
                _SLOT.pack_into(self._memory, at, key, 0.0, 0.0)
            if found in (0, key):
                return at
        return self._offset

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Within it, no other process asks."""
        if self._fd < 0:
            yield
            return
        fd = self._descriptor()
        fcntl.lockf(fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(fd, fcntl.LOCK_UN)

    def _descriptor(self) -> int:
        if self._lock_fd < 0:
            # Closing any descriptor of the file would drop the lock: this one is kept.
            self._lock_fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDWR | os.O_CLOEXEC)
        return self._lock_fd
