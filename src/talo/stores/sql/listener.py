"""Hearing of what other processes have committed.

Owns one thread per store, started by the first who listens and ended with the last, that notices commits and lets
everyone who listens look for what concerns it. SQLite has no notifications: the thread asks ``data_version``, which
costs microseconds and no lock, at a distance that grows while nothing happens. In memory it is only poked. Callers:
``results`` (waiting), ``bus``.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from typing import Protocol

from talo.errors import TaloError
from talo.stores.sql.connection import Database

__all__ = ["Listener", "Looker"]

_log = logging.getLogger(__name__)

#: Seconds between two questions: at most so long while nothing happens, and after trouble.
_SLOWEST = 0.02
_TROUBLE = 0.5


class Looker(Protocol):
    """One who wants to look whenever something was committed."""

    #: The shortest distance of questions that it asks for, in seconds.
    pace: float

    def look(self) -> None:
        """See what is new; called from the listener's thread."""


class Listener:
    """Lets its lookers look after every commit, in whichever process. Starting and ending are its own affair."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._poked = threading.Event()
        self._lookers: list[Looker] = []
        self._thread: threading.Thread | None = None

    def add(self, looker: Looker) -> None:
        """Let it look from now on, and once at first."""
        if self._pid != os.getpid():
            self._reset()
        with self._lock:
            if looker not in self._lookers:
                self._lookers.append(looker)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="talo-sql-listener", daemon=True)
                self._thread.start()
        self._poked.set()

    def remove(self, looker: Looker) -> None:
        """Let it look no more. Idempotent."""
        with self._lock:
            if looker in self._lookers:
                self._lookers.remove(looker)
        self._poked.set()

    def poke(self) -> None:
        """Something was committed by this process."""
        self._poked.set()

    def stop(self) -> None:
        """Forget every looker and wait for the thread to end. Idempotent."""
        if self._pid != os.getpid():
            return
        with self._lock:
            self._lookers.clear()
            thread = self._thread
        self._poked.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        version, distance = -1, 0.0
        while lookers := self._current():
            trouble = False
            try:
                if connection is None and self._database.path is not None:
                    connection = self._database.another()
                seen = -1 if connection is None else self._version(connection)
                if self._poked.is_set() or seen != version:
                    self._poked.clear()
                    version, distance = seen, 0.0
                    for looker in lookers:
                        looker.look()
            except (TaloError, sqlite3.Error):
                _log.warning("cannot look for news in %s", self._database.name, exc_info=True)
                trouble, version = True, -2
                connection = self._closed(connection)
            distance = min(max(min(each.pace for each in lookers), distance * 1.1), _SLOWEST)
            if trouble:
                threading.Event().wait(_TROUBLE)
            else:
                self._poked.wait(distance if connection is not None else None)
        self._closed(connection)

    def _current(self) -> list[Looker]:
        with self._lock:
            if not self._lookers:
                self._thread = None
            return list(self._lookers)

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA data_version").fetchone()[0])

    @staticmethod
    def _closed(connection: sqlite3.Connection | None) -> None:
        if connection is not None:
            connection.close()
