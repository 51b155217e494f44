"""The bus of the SQL store: a table that subscribers read on from where they began.

Owns publishing and subscriptions. Messages are kept for a minute, for subscribers that are slow; ``cleanup`` and later
publishers delete them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Sequence

import msgspec

from talo.stores.base import Bus, Post, Subscription
from talo.stores.sql.database import BUS, Database, Row, Session
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

    def __init__(self, database: Database) -> None:
        self._database = database

    def publish(self, channel: str, payload: bytes) -> None:
        self._publish([(channel, payload)])

    def post(self, posts: Sequence[Post]) -> bool:
        if posts:
            self._publish([(f"exchange:{each.exchange}", msgspec.msgpack.encode(each)) for each in posts])
        return True

    def _publish(self, said: Sequence[tuple[str, bytes]]) -> None:
        def work(tx: Session) -> None:
            # Whoever reads on from a number never sees a lower one later.
            tx.gate("bus")
            until = tx.now + _KEEP
            numbers = tx.draw(len(said))
            tx.many("publish", [(number, *each, until) for number, each in zip(numbers, said, strict=True)])
            tx.run("expired_bus", tx.now, _SWEEP * len(said))
            tx.tell(BUS)

        self._database.write(work)

    def subscribe(self, channels: Sequence[str]) -> Subscription:
        return _Subscription(self._database, self._database.listener, channels)


class _Subscription(Subscription):
    """One reader's place in the table, what it has read and not handed out, and a pipe that is readable meanwhile."""

    #: Seconds; nobody waits for this answer with a stop-watch.
    pace = 0.02
    topic = BUS

    def __init__(self, database: Database, listener: Listener, channels: Sequence[str]) -> None:
        self._database = database
        self._listener = listener
        self._channels = list(channels)
        self._at: int = database.read(lambda tx: tx.rows("drawn")[0][0])
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

    def _said(self, tx: Session) -> list[Row]:
        return tx.rows("said", self._at, self._channels, _PAGE)

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
