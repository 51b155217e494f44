"""The baton: of a worker's idle children one waits for the store, the others wait for their turn to wait.

What wakes one waiter of a store may wake them all (Redis tells each connection that has looked). With the baton one
message costs one turn, however many children are idle. The holder passes it on when it has got work. The lock is the
kernel's (``flock``): it is free when its holder dies.

Nothing depends on the baton but thrift: a child that finds it free, or has waited long for it, looks for itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time

__all__ = ["Baton"]

#: A byte may be eaten by a child that dies over it; the others look at the lock so often (seconds; it costs no
#: traffic).
GLANCE = 1.0


class Baton:
    """One child's hand. ``lock`` is a file that all children of the worker share, the pipe wakes one that waits for
    the baton."""

    def __init__(self, lock: int, read: int, write: int) -> None:
        # A file description of our own: locks of an inherited one would be everybody's.
        self._lock = os.open(f"/proc/self/fd/{lock}", os.O_RDWR | os.O_CLOEXEC)
        self._read = read
        self._write = write
        self._held = False
        self._poll: select.epoll | None = None

    def pass_on(self) -> None:
        """Give it to one of those that wait for it."""
        if self._held:
            self._held = False
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            wake(self._write)

    def wait(self, timeout: float, also: tuple[int, ...]) -> bool:
        """Wait until it is ours: True. False when one of the descriptors ``also`` is readable or ``timeout`` seconds
        are over."""
        if self._take():
            return True
        if self._poll is None:
            # Exclusive: of those that wait for the baton the kernel wakes one.
            self._poll = select.epoll()
            self._poll.register(self._read, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            for fd in also:
                self._poll.register(fd, select.EPOLLIN)
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            for fd, _ in self._poll.poll(min(left, GLANCE)):
                if fd != self._read:
                    return False
                with contextlib.suppress(BlockingIOError):
                    os.read(self._read, 1)
                    # Called for: whether or not the lock is free. Its holder may be held up by a task it thought quick.
                    self._take()
                    return True
            if self._take():
                return True
        return False

    def _take(self) -> bool:
        """Take it if it is free, or keep it."""
        if not self._held:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._held = True
            self._swallow()
        return True

    def _swallow(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 64):
                pass


def wake(fd: int) -> None:
    """Wake one child that waits for the baton, through the writing end of its pipe."""
    with contextlib.suppress(BlockingIOError):
        os.write(fd, b"b")
