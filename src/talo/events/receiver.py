"""Hearing events: an ear on the event exchange and the handlers of what it hears.

Owns reading and the receiver's life; what the events add up to is ``state``'s. Used by monitors: ``talo events``,
cameras, exporters. A broken connection is opened again; events that were sent meanwhile are gone."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from talo.errors import MalformedMessage, OperationalError, TaloError
from talo.events.event import events_in
from talo.stores.base import Ear
from talo.wire import serializers

__all__ = ["EventReceiver"]

log = logging.getLogger("talo.events")

#: Seconds between two looks whether somebody wants it to stop.
_GLANCE = 1.0

Handler = Callable[[dict[str, Any]], Any]


class EventReceiver:
    """Calls handlers by the type of the event; ``*`` is for types that have none of their own.

    ``app`` is whatever has the store, the clock, the settings and the commands. ``connection`` is taken for
    compatibility: events come from the app's broker.
    """

    app: Any = None

    def __init__(
        self,
        channel: Any = None,
        handlers: Mapping[str, Handler] | None = None,
        routing_key: str = "#",
        node_id: str | None = None,
        app: Any = None,
        queue_prefix: str | None = None,
        accept: Any = None,
        queue_ttl: float | None = None,
        queue_expires: float | None = None,
    ) -> None:
        del queue_ttl
        self.app = app or self.app
        self.connection = channel
        self.handlers: dict[str, Handler] = dict(handlers or {})
        self.routing_key = routing_key
        self.node_id = node_id or str(uuid.uuid4())
        conf = self.app.conf
        self.queue_prefix: str = queue_prefix or conf.event_queue_prefix
        self.accept = serializers.accept(accept or {conf.event_serializer, "json"})
        self.should_stop = False
        self._expires = queue_expires or conf.event_queue_expires or 60.0
        self._stopped = threading.Event()

    # -- hearing

    def capture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> None:
        """Handle events until ``limit`` of them have come, or none for ``timeout`` seconds: ``TimeoutError`` then.

        ``wakeup``: have the workers tell of themselves at once.
        """
        for _ in self.consume(limit=limit, timeout=timeout, wakeup=wakeup):
            pass

    def itercapture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> Iterator[Any]:
        """The same as an iterator: the first item says that hearing has begun, then there is one for each event."""
        yield self
        yield from self.consume(limit=limit, timeout=timeout, wakeup=wakeup)

    def consume(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True, **_options: Any
    ) -> Iterator[dict[str, Any]]:
        """Handle events and yield each."""
        heard = 0
        silent_since = time.monotonic()
        while not self.should_stop and (limit is None or heard < limit):
            try:
                with self._listen() as ear:
                    if wakeup:
                        self.wakeup_workers()
                    while not self.should_stop and (limit is None or heard < limit):
                        left = _GLANCE if timeout is None else silent_since + timeout - time.monotonic()
                        for event in self._next(ear, max(0.0, min(_GLANCE, left))):
                            heard += 1
                            silent_since = time.monotonic()
                            yield event
                        if timeout is not None and time.monotonic() - silent_since >= timeout:
                            raise TimeoutError(f"no event came for {timeout:g} s")
            except OperationalError as exc:
                log.warning("The broker is away: %s; trying again", exc)
                if timeout is not None and time.monotonic() - silent_since >= timeout:
                    raise
                self._stopped.wait(random.uniform(0.3, 1.0))

    def stop(self) -> None:
        """Let ``capture`` end within a second. From any thread."""
        self.should_stop = True
        self._stopped.set()

    def wakeup_workers(self, channel: Any = None) -> None:
        """Have the workers send a heartbeat."""
        del channel
        self.app.control.broadcast("heartbeat")

    def _listen(self) -> Ear:
        conf = self.app.conf
        queue = f"{self.queue_prefix}.{self.node_id}"
        return self.app.store.bus.hear(  # type: ignore[no-any-return]
            conf.event_exchange, "topic", [self.routing_key], queue=queue, expires=self._expires
        )

    def _next(self, ear: Ear, timeout: float) -> list[dict[str, Any]]:
        post = ear.get(timeout)
        if post is None:
            return []
        try:
            events = list(events_in(post, self.accept))
        except MalformedMessage as fault:
            log.warning("What came as an event makes none: %s", fault, extra={"action": "event_malformed"})
            return []
        for event in events:
            self.process(*self.event_from_message(event))
        return events

    # -- handling

    def event_from_message(self, body: dict[str, Any], localize: bool = True) -> tuple[str, dict[str, Any]]:
        """Return type and event, with ``local_received`` and a clock that fits ours.

        Time stamps are seconds since the epoch and mean the same everywhere: they stay as they are.
        """
        clock = body.get("clock")
        clock = clock if type(clock) is int else 0
        # A client's clock knows nothing of the workers': what it has sent happens now.
        body["clock"] = self.app.clock.adjust(clock) if body["type"] == "task-sent" or not clock else clock
        if body["type"] != "task-sent" and clock:
            self.app.clock.adjust(clock)
        if localize:
            body["local_received"] = time.time()
        return body["type"], body

    def process(self, type: str, event: dict[str, Any]) -> None:
        """Hand an event to its handler. What a handler raises is the caller's, but for what is wrong with an event."""
        handler = self.handlers.get(type) or self.handlers.get("*")
        if handler is None:
            return
        try:
            handler(event)
        except TaloError:
            log.exception("An event of type %r could not be handled", type)
