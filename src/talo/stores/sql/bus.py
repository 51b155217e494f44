"""The bus of the SQL store: a table that subscribers read on from where they began.

Owns publishing and subscriptions. Messages are kept for a minute, for subscribers that are slow; ``cleanup`` and later
publishers delete them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from talo.stores.base import Bus, Subscription
from talo.stores.sql import _writing
from talo.stores.sql._codec import json_list
from talo.stores.sql.connection import Database
from talo.stores.sql.listener import Listener

__all__ = ["SqlBus"]

#: Seconds that a message stays for those who listen.
_KEEP = 60.0
#: Old messages that each publish deletes at most: more than it adds.
_SWEEP = 4
#: Messages that a subscription reads at once.
_PAGE = 500


class SqlBus(Bus):
    """Channels in a table."""

    def __init__(self, database: Database, listener: Listener, clock: Callable[[], float]) -> None:
        self._database = database
        self._queries = database.dialect.queries
        self._listener = listener
        self._clock = clock

    def publish(self, channel: str, payload: bytes) -> None:
        def work(connection: sqlite3.Connection) -> None:
            now, number = self._clock(), _writing.draw(connection, self._queries, 1)
            connection.execute(self._queries["publish"], (number, channel, payload, now + _KEEP))
            connection.execute(self._queries["expired_bus"], (now, _SWEEP))

        self._database.write(work)
        self._listener.poke()

    def subscribe(self, channels: Sequence[str]) -> Subscription:
        return _Subscription(self._database, self._listener, channels)


class _Subscription(Subscription):
    """One reader's place in the table, what it has read and not handed out, and a pipe that is readable meanwhile."""

    #: Seconds; nobody waits for this answer with a stop-watch.
    pace = 0.02

    def __init__(self, database: Database, listener: Listener, channels: Sequence[str]) -> None:
        self._database = database
        self._queries = database.dialect.queries
        self._listener = listener
        self._channels = json_list(list(channels)).decode()
        self._at: int = database.read(lambda it: it.execute(self._queries["drawn"]).fetchone()[0])
        self._news: deque[tuple[str, bytes]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._reader, self._writer = os.pipe()
        listener.add(self)

    def look(self) -> None:
        """Read what was said since the last look."""
        while rows := self._database.read(self._said):
            self._at = rows[-1][0]
            with self._changed:
                if self._closed:
                    return
                if not self._news:
                    os.write(self._writer, b"!")
                self._news.extend((channel, payload) for _, channel, payload in rows)
                self._changed.notify_all()

    def _said(self, connection: sqlite3.Connection) -> list[tuple[int, str, bytes]]:
        return connection.execute(self._queries["said"], (self._at, self._channels, _PAGE)).fetchall()

    def get(self, timeout: float) -> tuple[str, bytes] | None:
        until = time.monotonic() + timeout
        with self._changed:
            while not self._news:
                left = until - time.monotonic()
                if left <= 0 or self._closed:
                    return None
                self._changed.wait(left)
            found = self._news.popleft()
            if not self._news and not self._closed:
                os.read(self._reader, 1)
            return found

    def fileno(self) -> int:
        return -1 if self._closed else self._reader

    def close(self) -> None:
        self._listener.remove(self)
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
            for descriptor in (self._reader, self._writer):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
