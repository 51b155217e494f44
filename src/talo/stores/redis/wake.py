"""How a child sleeps until there is work: Redis itself tells it, on the connection of its last turn.

A turn that finds its lists empty ends by reading them. With client-side caching on, Redis remembers who read what, and
the first change of such a key by anybody else, a foreign producer's push included, sends one invalidation on that
connection. So there are no wake tokens and no polling. Where a server refuses this (a proxy in between), waiting falls
back to a bounded poll.

Owns noting what a turn has read, and the wait. Called by ``broker``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any

from talo.stores.redis._refusals import Refusal
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Connection, pack, poll

__all__ = ["Wake"]

#: Waiting without being told: seconds of the first wait, and of the longest.
_POLL_FIRST, _POLL_LONGEST = 0.2, 1.0
#: One thread waits on the socket. Others of the same store object look at theirs this often; a worker has one settler
#: and none of them.
_GLANCE = 0.05


_opening = threading.Lock()


class _Seen(threading.local):
    """What the last turn of this thread saw, and on which connection."""

    connection: Connection | None = None
    stirs = 0
    #: Whether it read its lists, so that Redis tells of the next change.
    armed = False
    poll = _POLL_FIRST


class Wake:
    """Waits for a change of what the last turn of the calling thread has read."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._watched: set[bytes] = set()
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._seen = _Seen()
        self._leading = threading.Lock()
        self._pipe: tuple[int, int] | None = None

    def watch(self, keys: Iterable[bytes]) -> None:
        """These keys matter; changes of others that happen to be read on the same connection do not."""
        self._watched.update(keys)

    def prepare(self, connection: Connection, deadline: float) -> None:
        """Ask the server to tell of changes on this connection, once.

        Not NOLOOP: a task thread of this process may send over the same connection between the turn and the wait. A
        turn that brings nothing changes none of its keys, so it does not wake itself.
        """
        if connection.tracking is False:
            [reply] = connection.exchange(pack("CLIENT", "TRACKING", "ON"), 1, deadline)
            connection.tracking = None if isinstance(reply, Refusal) else True
            connection.on_push = self._hearer(connection)

    def _hearer(self, connection: Connection) -> Any:
        def hear(push: Sequence[Any]) -> None:
            # None in place of keys: the whole database was flushed.
            if push[0] == b"invalidate" and (push[1] is None or not self._watched.isdisjoint(push[1])):
                connection.stirs += 1

        return hear

    def note(self, connection: Connection, *, armed: bool) -> None:
        """A turn of this thread has just ended on ``connection``; what came behind its reply was not looked at yet."""
        seen = self._seen
        seen.connection, seen.stirs, seen.armed = connection, connection.stirs, armed
        if not armed:
            seen.poll = _POLL_FIRST

    def wait(self, timeout: float, also: Sequence[int]) -> bool:
        """See ``Broker.wait``."""
        if self._pid != os.getpid():
            self._reset()
        seen = self._seen
        connection = seen.connection
        if connection is None or not seen.armed or connection.closed:
            return True
        deadline = monotonic() + timeout
        if connection.tracking is None:
            return self._wait_blindly(deadline, also)
        while True:
            if self._leading.acquire(blocking=False):
                try:
                    answer = self._wait_on(connection, deadline, also)
                finally:
                    self._leading.release()
            else:
                # Another thread waits. This one keeps no connection while it sleeps: some must be left to send.
                answer = self._wait_on(connection, monotonic(), also) or self._glance(deadline, also)
            if answer or monotonic() >= deadline:
                return answer

    def _wait_on(self, connection: Connection, deadline: float, also: Sequence[int]) -> bool:
        """Wait on the connection, or for a moment beside it if somebody is talking on it."""
        if not self._client.pool.take_this(connection):
            return connection.closed or connection.stirs != self._seen.stirs or self._glance(deadline, also)
        try:
            # First what came before: a push may have been read by whoever talked on it last.
            connection.drain()
            return connection.stirs != self._seen.stirs or self._sleep(connection, deadline, also)
        finally:
            self._client.pool.give(connection)

    def _glance(self, deadline: float, also: Sequence[int]) -> bool:
        return self._sleep(None, min(deadline, monotonic() + _GLANCE), also)

    def _sleep(self, connection: Connection | None, until: float, also: Sequence[int]) -> bool:
        """Until something happens (True) or the time is over."""
        interrupted = self._interrupts()[0]
        others = (*also, interrupted)
        while True:
            left = until - monotonic()
            ready = connection.poll(left, others) if connection is not None else poll(others, left)
            if interrupted in ready:
                os.read(interrupted, 4096)
                return True
            if any(fd in ready for fd in also):
                return True
            if connection is not None and ready:
                connection.drain()
                if connection.stirs != self._seen.stirs:
                    return True
            elif left <= 0:
                return False

    def _wait_blindly(self, deadline: float, also: Sequence[int]) -> bool:
        seen = self._seen
        until = min(deadline, monotonic() + seen.poll)
        seen.poll = min(seen.poll * 1.5, _POLL_LONGEST)
        return self._sleep(None, until, also) or monotonic() < deadline

    def interrupt(self) -> None:
        """See ``Broker.interrupt``."""
        try:
            os.write(self._interrupts()[1], b"!")
        except BlockingIOError:
            return  # it is full of interrupts already

    def _interrupts(self) -> tuple[int, int]:
        if self._pid != os.getpid():
            self._reset()
        if self._pipe is None:
            with _opening:
                if self._pipe is None:
                    reader, writer = os.pipe()
                    os.set_blocking(reader, False)
                    os.set_blocking(writer, False)
                    self._pipe = reader, writer
        return self._pipe

    def close(self) -> None:
        """Give the descriptors back, or end the wait that is using them."""
        if self._leading.locked():
            self.interrupt()
        elif self._pid == os.getpid() and self._pipe is not None:
            pipe, self._pipe = self._pipe, None
            for descriptor in pipe:
                os.close(descriptor)
