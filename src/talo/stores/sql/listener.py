"""Hearing of what other processes have committed.

Owns one thread per store, started by the first who listens and ended with the last, that lets everyone who listens look
for what concerns it. How a commit is noticed is the database's (``Tidings``): SQLite is asked, at a distance that
grows while nothing happens; a server tells. In memory the thread is only poked. Callers: ``results`` (waiting),
``bus``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from talo.errors import TaloError

__all__ = ["Listener", "Looker", "Tidings"]

_log = logging.getLogger(__name__)

#: Seconds between two questions: at most so long while nothing happens, and after trouble.
_SLOWEST = 0.02
_TROUBLE = 0.5
#: Seconds between two looks where a server tells, should it once not have.
_UNTOLD = 60.0


class Looker(Protocol):
    """One who wants to look whenever something was committed."""

    #: The shortest distance of questions that it asks for, in seconds.
    pace: float
    #: What it wants to hear of.
    topic: str

    def look(self) -> None:
        """See what is new; called from the listener's thread."""


class Tidings(ABC):
    """What tells of commits. Used by one thread. Errors: ``StoreUnavailable``."""

    #: Readable when there is news; -1: it has to be asked.
    descriptor: int = -1

    @abstractmethod
    def heard(self, topics: frozenset[str]) -> bool:
        """Whether something may have been committed on these topics since the last call; True at first, and when
        a topic is new."""

    @abstractmethod
    def close(self) -> None:
        """Hear no more."""


class Listener:
    """Lets its lookers look after every commit, in whichever process. Starting and ending are its own affair."""

    def __init__(self, tidings: Callable[[], Tidings | None], name: str) -> None:
        self._tidings = tidings
        self._name = name
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._poked = threading.Event()
        self._lookers: list[Looker] = []
        self._thread: threading.Thread | None = None
        #: What ends the thread's sleep while it listens to a descriptor.
        self._pipe: tuple[int, int] | None = None

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
        self.poke()

    def remove(self, looker: Looker) -> None:
        """Let it look no more. Idempotent."""
        with self._lock:
            if looker in self._lookers:
                self._lookers.remove(looker)
        self.poke()

    def poke(self) -> None:
        """Something was committed by this process, or somebody came or went."""
        self._poked.set()
        if self._pipe is not None:
            with self._lock, contextlib.suppress(BlockingIOError):
                if self._pipe is not None:
                    os.write(self._pipe[1], b"!")

    def stop(self) -> None:
        """Forget every looker and wait for the thread to end. Idempotent."""
        if self._pid != os.getpid():
            return
        with self._lock:
            self._lookers.clear()
            thread = self._thread
        self.poke()
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)

    def _run(self) -> None:
        tidings: Tidings | None = None
        open_, distance = False, 0.0
        while True:
            poked = self._poked.is_set()
            self._poked.clear()
            # After the clearing: whoever comes later than this pokes again, and is looked after in the next round.
            lookers = self._current()
            if not lookers:
                break
            try:
                if not open_:
                    tidings, open_ = self._tidings(), True
                if (tidings is not None and tidings.heard(frozenset(each.topic for each in lookers))) or poked:
                    distance = 0.0
                    for looker in lookers:
                        looker.look()
            except TaloError:
                _log.warning("cannot look for news in %s", self._name, exc_info=True)
                self._closed(tidings)
                tidings, open_ = None, False
                threading.Event().wait(_TROUBLE)
                self._poked.set()
                continue
            distance = min(max(min(each.pace for each in lookers), distance * 1.1), _SLOWEST)
            self._sleep(tidings, distance)
        self._closed(tidings)

    def _sleep(self, tidings: Tidings | None, distance: float) -> None:
        if tidings is None or tidings.descriptor < 0:
            self._poked.wait(None if tidings is None else distance)
            return
        reader = self._open_pipe()
        if self._poked.is_set():
            return
        poller = select.poll()
        poller.register(tidings.descriptor, select.POLLIN)
        poller.register(reader, select.POLLIN)
        ready = poller.poll(_UNTOLD * 1000)
        if not ready:
            self._poked.set()
        with contextlib.suppress(BlockingIOError):
            os.read(reader, 4096)

    def _open_pipe(self) -> int:
        with self._lock:
            if self._pipe is None:
                self._pipe = os.pipe()
                for end in self._pipe:
                    os.set_blocking(end, False)
            return self._pipe[0]

    def _current(self) -> list[Looker]:
        with self._lock:
            if not self._lookers:
                self._thread = None
                pipe, self._pipe = self._pipe, None
                for end in pipe or ():
                    os.close(end)
            return list(self._lookers)

    @staticmethod
    def _closed(tidings: Tidings | None) -> None:
        if tidings is not None:
            tidings.close()
