"""Waking those who wait for work.

Owns the ways in which a send in one process ends a wait in another (named pipes beside the database file) or in the
same one (memory). It reads no table: whoever waits looks for itself before it sleeps, after it has opened its ear, so
nothing is missed in between. Callers: ``broker``.

One byte stands for one message, and a byte is read by one waiter, so as many wake as there is work. A byte that is read
by a waiter that dies is lost; the waiters' own slow look (``broker.LOOK``) makes up for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import select
import threading
import time
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["Bell", "Ear", "MemoryWaker", "PipeWaker", "Waker", "poll"]

_log = logging.getLogger(__name__)

#: Seconds between two looks where wake-ups come: soon after there was work, and after a long time without any.
LOOK, SLOWEST_LOOK = 0.5, 10.0
#: More are never woken by one batch.
_MOST = 64


class Ear(ABC):
    """One waiter's open ear on some queues."""

    @property
    @abstractmethod
    def descriptors(self) -> Sequence[int]:
        """What becomes readable when this waiter may be meant."""

    @abstractmethod
    def take(self, descriptor: int) -> bool:
        """Take one wake-up; False if somebody else was quicker."""


class Waker(ABC):
    """Lets those wait who want to hear of work in a queue."""

    #: Seconds after which a waiter looks by itself, in case that a wake-up was lost with the process that took it: at
    #: first, and at most, after having looked in vain for long.
    first_look, slowest_look = LOOK, SLOWEST_LOOK
    #: The pause of one who has just begun; as a rule he is as one who has waited for long.
    opening_look = float("inf")
    #: By this a pause grows with each look that was in vain.
    slower = 1.5

    @abstractmethod
    def listen(self, queues: Sequence[str]) -> contextlib.AbstractContextManager[Ear]:
        """Open an ear for the time of one wait."""


class Bell(Waker):
    """A waker that is rung by whoever has committed."""

    @abstractmethod
    def ring(self, work: Mapping[str, int]) -> None:
        """Wake as many waiters of each queue as there are new messages. Never blocks, never fails."""


class PipeWaker(Bell):
    """Named pipes in the directory ``<database>-wake``, one per queue that somebody waits for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._complained = False

    def ring(self, work: Mapping[str, int]) -> None:
        for queue, count in work.items():
            if count <= 0:
                continue
            try:
                pipe = os.open(self._path(queue), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue  # nobody waits; or no descriptor is left, then the waiters' slow look finds the work
            try:
                os.write(pipe, b"!" * min(count, _MOST))
            except (BlockingIOError, BrokenPipeError):
                pass  # full of wake-ups, or the waiter has just left and looks for itself
            finally:
                os.close(pipe)

    @contextlib.contextmanager
    def listen(self, queues: Sequence[str]) -> Iterator[Ear]:
        pipes: list[int] = []
        try:
            try:
                for queue in queues:
                    pipes.append(self._open(self._path(queue)))
            except OSError as error:
                self._complain(error)
            yield _Pipes(pipes)
        finally:
            for pipe in pipes:
                os.close(pipe)

    def _open(self, path: str) -> int:
        # Open for writing too: a pipe without a writer would always be readable, at its end.
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkfifo(path, 0o600)
            return os.open(path, flags)

    def _complain(self, error: OSError) -> None:
        """Say once that waiting works only by looking: the file system has no pipes, or no descriptor is left."""
        self.slowest_look = LOOK
        if not self._complained:
            self._complained = True
            _log.warning("no wake-up pipes in %s, new tasks are noticed later: %s", self._directory, error)

    def _path(self, queue: str) -> str:
        name = urllib.parse.quote(queue, safe=" ")
        if not name or len(name) > 120 or name.startswith("."):
            name = "." + hashlib.sha256(queue.encode()).hexdigest()
        return f"{self._directory}/{name}"


class _Pipes(Ear):
    def __init__(self, pipes: Sequence[int]) -> None:
        self._pipes = pipes

    @property
    def descriptors(self) -> Sequence[int]:
        return self._pipes

    def take(self, descriptor: int) -> bool:
        try:
            return bool(os.read(descriptor, 1))
        except BlockingIOError:
            return False


class MemoryWaker(Bell):
    """Waiters of this process, each with a pipe of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ears: list[_Own] = []

    def ring(self, work: Mapping[str, int]) -> None:
        with self._lock:
            for queue, count in work.items():
                left = count
                for ear in self._ears:
                    if left <= 0:
                        break
                    if queue in ear.queues and ear.call():
                        left -= 1

    @contextlib.contextmanager
    def listen(self, queues: Sequence[str]) -> Iterator[Ear]:
        ear = _Own(frozenset(queues))
        with self._lock:
            self._ears.append(ear)
        try:
            yield ear
        finally:
            with self._lock:
                self._ears.remove(ear)
            ear.close()


class _Own(Ear):
    def __init__(self, queues: frozenset[str]) -> None:
        self.queues = queues
        self._called = False
        self._reader, self._writer = os.pipe()

    @property
    def descriptors(self) -> Sequence[int]:
        return (self._reader,)

    def call(self) -> bool:
        """Wake it; False if it has been woken already."""
        if self._called:
            return False
        self._called = True
        os.write(self._writer, b"!")
        return True

    def take(self, descriptor: int) -> bool:
        return bool(os.read(descriptor, 1))

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


def poll(ear: Ear, also: Sequence[int], until: float) -> int | None:
    """Sleep until one of ``also`` is readable (return it), a wake-up was taken (-1), or monotonic ``until`` (None)."""
    poller = select.poll()
    for descriptor in (*ear.descriptors, *also):
        poller.register(descriptor, select.POLLIN)
    while True:
        left = until - time.monotonic()
        if left <= 0:
            return None
        for descriptor, _ in poller.poll(left * 1000 + 0.5):
            if descriptor in also:
                return descriptor
            if ear.take(descriptor):
                return -1
