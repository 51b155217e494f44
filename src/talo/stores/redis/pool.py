"""The few connections of one process.

Owns lending connections: the one used last first, so that a process with one thread has one connection; never more
than ``limit``. A connection that broke is dropped, one of another process is forgotten. Called by ``broker``,
``results``, ``locks`` and ``wake``."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from talo.stores.redis.connection import Connection, DeadlinePassed

__all__ = ["Limits", "Pool"]

#: Seconds after which an idle connection is looked at before use: a command must not be lost in a socket that the
#: server has closed.
_TRUSTED = 1.0


class Limits(NamedTuple):
    """How many connections there may be, and the longest wait for one of them in seconds (None: the operation's)."""

    connections: int
    wait: float | None = None


class Pool:
    """Lends connections to threads. Invariant: ``len(_all) <= limits.connections``, and ``_idle`` holds those of
    them that nobody has."""

    def __init__(self, make: Callable[[], Connection], limits: Limits) -> None:
        self._make = make
        self._limit, self._wait = limits
        self._all: set[Connection] = set()
        self._reset()

    def _reset(self) -> None:
        # After a fork: the parent's sockets are closed on this side only, its locks may be in any state.
        for connection in self._all:
            connection.close()
        self._all = set()
        self._idle: list[Connection] = []
        self._pid = os.getpid()
        self._opening = 0
        self._waiting = 0
        self._freed = threading.Condition()

    def take(self, deadline: float) -> Connection:
        """A connection that nobody else has, until ``give`` or ``drop``. ``DeadlinePassed`` when none is free in
        time."""
        if self._pid != os.getpid():
            self._reset()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._grow(deadline)
            if not connection.stale and (monotonic() - connection.used < _TRUSTED or connection.alive()):
                return connection
            self.drop(connection)

    def take_this(self, connection: Connection) -> bool:
        """Take exactly this one, if it is idle."""
        if self._pid != os.getpid():
            return False
        try:
            self._idle.remove(connection)
        except ValueError:
            return False
        return True

    def give(self, connection: Connection) -> None:
        """Back from ``take``; one that broke or whose pool was closed meanwhile is dropped."""
        if connection.owed or connection.closed or connection not in self._all:
            self.drop(connection)
            return
        self._idle.append(connection)
        if self._waiting:
            with self._freed:
                self._freed.notify()

    def drop(self, connection: Connection) -> None:
        """Back from ``take``, not to be used again."""
        connection.close()
        with self._freed:
            self._all.discard(connection)
            self._freed.notify()

    def _grow(self, deadline: float) -> Connection:
        patience = deadline if self._wait is None else min(deadline, monotonic() + self._wait)
        with self._freed:
            self._waiting += 1
            try:
                while True:
                    if self._idle:
                        return self._idle.pop()
                    if len(self._all) + self._opening < self._limit:
                        break
                    left = patience - monotonic()
                    if left <= 0 or not self._freed.wait(left):
                        raise DeadlinePassed(f"all {self._limit} connections were busy until the time was over")
            finally:
                self._waiting -= 1
            self._opening += 1
        connection = self._make()
        try:
            connection.connect(deadline)
        finally:
            with self._freed:
                self._opening -= 1
                if connection.closed:
                    self._freed.notify()
                else:
                    self._all.add(connection)
        return connection

    def close(self) -> None:
        """Close what is idle; what is lent is closed when it comes back."""
        if self._pid != os.getpid():
            self._reset()
            return
        with self._freed:
            self._all.clear()
        while self._idle:
            self._idle.pop().close()
