"""What workers answer, asked in the background: no page waits for a worker.

Owns asking and how long an answer counts. Durable facts (leases, queues, history) are not its business. Called by the
operations that show workers and queues."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec

from talo.errors import TaloError

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["Answer", "Answers"]

log = logging.getLogger(__name__)

#: Seconds for which workers may answer.
TIMEOUT = 1.0
#: An answer that is older is asked for anew, and one that is much older is no longer shown.
FRESH, STALE = 3.0, 15.0


class Answer(msgspec.Struct, frozen=True):
    """What one round of questions brought, by worker."""

    #: Monotonic seconds.
    at: float
    stats: dict[str, Any] = {}
    active: dict[str, list[dict[str, Any]]] = {}
    queues: dict[str, list[dict[str, Any]]] = {}
    #: Why there is none.
    fault: str | None = None

    def names(self) -> set[str]:
        """Who answered."""
        return {*self.stats, *self.active, *self.queues}


class Answers:
    """The last answers of one app's workers."""

    def __init__(self, app: Talo) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._last: Answer | None = None
        self._round: threading.Thread | None = None

    def latest(self, *, wait: bool = False) -> Answer | None:
        """The last answers, at most ``STALE`` seconds old; None while there are none. Starts a new round if they are
        not fresh, and with ``wait`` waits for it."""
        now = time.monotonic()
        with self._lock:
            last = self._last
            if self._round is None and (wait or last is None or now - last.at > FRESH):
                self._round = threading.Thread(target=self._ask, name="talo-web-answers", daemon=True)
                self._round.start()
            asking = self._round
        if wait and asking is not None:
            asking.join(4 * TIMEOUT + 5)
            last = self._last
        return last if last is not None and time.monotonic() - last.at <= STALE else None

    def forget(self) -> None:
        """What is known has changed: the next look asks anew."""
        with self._lock:
            if self._last is not None:
                self._last = msgspec.structs.replace(self._last, at=self._last.at - FRESH)

    def _ask(self) -> None:
        found: dict[str, Any] = {}
        fault: list[str] = []

        def ask(name: str, question: str) -> None:
            try:
                found[name] = getattr(self._app.control.inspect(timeout=TIMEOUT), question)() or {}
            except (TaloError, OSError) as error:
                fault.append(str(error) or type(error).__name__)

        try:
            asking = [
                threading.Thread(target=ask, args=words, daemon=True)
                for words in (("stats", "stats"), ("active", "active"), ("queues", "active_queues"))
            ]
            for thread in asking:
                thread.start()
            for thread in asking:
                thread.join(3 * TIMEOUT + 5)
        finally:
            with self._lock:
                self._last = Answer(at=time.monotonic(), fault=fault[0] if fault else None, **dict(found))
                self._round = None
        if fault:
            log.info("workers could not be asked: %s", fault[0])
