"""Telling events from a thread: what a worker's processes use, so that no task waits for the broker.

Owns the bounded list and the thread that posts it. What is told is ``worker.task_events``' and the tasks'. See
``docs/internals/control.md``."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any

from talo.errors import TaloError
from talo.events.event import group_of, post_of, post_of_many, stamp
from talo.stores.records import Post

__all__ = ["Teller"]

log = logging.getLogger("talo.events")

#: Events that wait at most; one more is dropped.
_MOST = 10_000
#: Events in one message at most.
_TOGETHER = 200
#: Seconds for which events gather before they go.
_GATHER = 0.02


class Teller:
    """Tells the events of one node. ``dropped`` counts those that nobody will ever hear."""

    def __init__(self, app: Any, hostname: str) -> None:
        self._app = app
        self._hostname = hostname
        self._waiting: deque[dict[str, Any]] = deque()
        self._news = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.dropped = 0

    def tell(self, type: str, fields: dict[str, Any]) -> None:
        """Note an event; it goes within moments. Never waits and raises nothing."""
        if len(self._waiting) >= _MOST:
            self.dropped += 1
            return
        self._waiting.append(stamp(type, self._hostname, self._app.clock.forward(), fields))
        if self._thread is None:
            self._start()
        self._news.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._run, name="talo-events", daemon=True)
                self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Send what waits, for ``timeout`` seconds at most, and end. Idempotent."""
        self._ended.set()
        self._news.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout)
        if self.dropped:
            log.warning("%d events were dropped", self.dropped, extra={"action": "events_dropped"})

    def _run(self) -> None:
        while not self._ended.is_set():
            self._news.wait()
            self._ended.wait(_GATHER)
            self._news.clear()
            self._send()
        self._send()

    def _send(self) -> None:
        while self._waiting:
            events = [self._waiting.popleft() for _ in range(min(_TOGETHER, len(self._waiting)))]
            try:
                self._app.store.bus.post(self._posts(events))
            except TaloError as exc:
                # Whatever became of them: a task's end does not depend on who hears of it.
                self.dropped += len(events)
                log.debug("Events were dropped: %s", exc)
                self._ended.wait(0.5)

    def _posts(self, events: list[dict[str, Any]]) -> list[Post]:
        """Task events together, the others one by one."""
        conf = self._app.conf
        exchange, serializer = conf.event_exchange, conf.event_serializer
        tasks = [event for event in events if group_of(event["type"]) == "task"]
        posts = [post_of(event, exchange, serializer) for event in events if group_of(event["type"]) != "task"]
        if tasks:
            posts.append(post_of_many(tasks, "task", exchange, self._hostname, serializer))
        return posts
