"""Waking by NOTIFY: those who wait for work, and those who listen for results and the bus.

Owns the names of the channels and the connections that listen on them. A notification carries nothing: whoever gets it
looks. They are sent by ``database`` with the commit. Callers: ``broker`` (waiting), ``listener``.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from talo.errors import TaloError
from talo.stores.sql.listener import Tidings
from talo.stores.sql.postgres.connection import Link, Trouble, translated
from talo.stores.sql.waker import LOOK, Ear, Waker

__all__ = ["Notified", "NotifyWaker", "channel_of", "topic_channel"]

_log = logging.getLogger(__name__)

#: Seconds for a server to answer one who wants to listen; meanwhile its own slow look works.
_PATIENCE = 2.0
#: A commit tells all who listen; nothing of that is lost with a process.
_SLOWEST_LOOK = 30.0


def channel_of(queue: str) -> str:
    """The channel of a queue's new messages. Names of channels are short, those of queues need not be."""
    return f"talo:queue:{hashlib.blake2b(queue.encode(), digest_size=10).hexdigest()}"


def topic_channel(topic: str) -> str:
    """The channel of a topic."""
    return f"talo:{topic}"


def _listen(link: Link, channels: Sequence[str]) -> None:
    link.script("; ".join(["UNLISTEN *", *(f'LISTEN "{channel}"' for channel in channels)]))


class NotifyWaker(Waker):
    """A connection for each who waits, kept for the next time. It listens only while somebody waits, so the server
    tells nobody who is at work."""

    slowest_look = _SLOWEST_LOOK

    def __init__(self, connect: Callable[[], Link], name: str) -> None:
        self._connect = connect
        self._name = name
        self._left_behind: list[Link] = []
        self._idle: list[Link] = []
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._complained = False

    @contextlib.contextmanager
    def listen(self, queues: Sequence[str]) -> Iterator[Ear]:
        link = self._open(queues)
        try:
            yield _Listening(link)
        finally:
            if link is not None and not link.broken:
                link.send("UNLISTEN *")
                with self._lock:
                    self._idle.append(link)

    def close(self) -> None:
        """Close the connections of those who do not wait. Idempotent."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle if self._pid == os.getpid() else ():
            link.close()

    def _open(self, queues: Sequence[str]) -> Link | None:
        if self._pid != os.getpid():
            self._pid, self._lock = os.getpid(), threading.Lock()
            self._left_behind, self._idle = self._idle, []
        with self._lock:
            link = self._idle.pop() if self._idle else None
        try:
            try:
                found = self._listening(link or self._connect(), queues)
            except Trouble:
                if link is None:
                    raise
                # One that was kept may have died meanwhile.
                found = self._listening(self._connect(), queues)
            self.slowest_look = _SLOWEST_LOOK
            return found
        except (TaloError, Trouble) as error:
            self.slowest_look = LOOK
            if not self._complained:
                self._complained = True
                _log.warning("cannot listen to %s, new tasks are noticed later: %s", self._name, error)
            return None

    @staticmethod
    def _listening(link: Link, queues: Sequence[str]) -> Link:
        try:
            link.until(monotonic() + _PATIENCE)
            link.settle()
            _listen(link, [channel_of(queue) for queue in queues])
        except BaseException:
            link.close()
            raise
        return link


class _Listening(Ear):
    def __init__(self, link: Link | None) -> None:
        self._link = link

    @property
    def descriptors(self) -> Sequence[int]:
        return (self._link.fileno(),) if self._link is not None else ()

    def take(self, descriptor: int) -> bool:
        del descriptor
        if self._link is None:
            return False
        try:
            return self._link.heard()
        except Trouble:
            # The connection is gone: whoever waits learns why when it looks.
            self._link.close()
            self._link = None
            return True


class Notified(Tidings):
    """Notifications on topics, over a connection of its own."""

    def __init__(self, connect: Callable[[], Link]) -> None:
        self._link = connect()
        self.descriptor = self._link.fileno()
        self._topics: frozenset[str] = frozenset()

    def heard(self, topics: frozenset[str]) -> bool:
        try:
            self._link.until(monotonic() + _PATIENCE)
            if topics != self._topics:
                _listen(self._link, [topic_channel(topic) for topic in sorted(topics)])
                self._topics = topics
                return True
            return self._link.heard()
        except Trouble as error:
            raise translated(error, self._link.shown) from error

    def close(self) -> None:
        self._link.close()
