"""Sending events one by one: what clients and tasks use.

Owns the dispatcher with Celery's interface. Workers tell of their tasks in batches, by ``worker.telling``. Made by
``app.events``; ``app`` is whatever has the store, the clock and the settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from talo.events.event import group_of, post_of, post_of_many, stamp

__all__ = ["EventDispatcher"]


class EventDispatcher:
    """Sends events of one node. While it is disabled it sends nothing.

    ``groups``: only events of these groups (``task``, ``worker``); empty: all. ``buffer_group``: events of these are
    gathered and go as one message, ``buffer_limit`` at a time or at ``flush``.
    """

    app: Any = None

    def __init__(
        self,
        connection: Any = None,
        hostname: str | None = None,
        enabled: bool = True,
        channel: Any = None,
        buffer_while_offline: bool = True,
        app: Any = None,
        serializer: str | None = None,
        groups: Iterable[str] | None = None,
        delivery_mode: int = 1,
        buffer_group: Iterable[str] | None = None,
        buffer_limit: int = 24,
        on_send_buffered: Callable[[], Any] | None = None,
    ) -> None:
        del connection, channel, buffer_while_offline, delivery_mode
        self.app = app or self.app
        self.hostname: str = hostname or self.app.env.hostname
        self.serializer: str = serializer or self.app.conf.event_serializer
        self.groups: Collection[str] = frozenset(groups or ())
        self.buffer_group: Collection[str] = frozenset(buffer_group or ())
        self.buffer_limit = buffer_limit
        self.on_send_buffered = on_send_buffered
        self.on_enabled: set[Callable[[], Any]] = set()
        self.on_disabled: set[Callable[[], Any]] = set()
        self.enabled = False
        self._gathered: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        if enabled:
            self.enable()

    def enable(self) -> None:
        """Send from now on."""
        self.enabled = True
        for callback in list(self.on_enabled):
            callback()

    def disable(self) -> None:
        """Send no more."""
        if self.enabled:
            self.enabled = False
            self.close()
            for callback in list(self.on_disabled):
                callback()

    def send(self, type: str, blind: bool = False, retry: bool = False, **fields: Any) -> None:
        """Send an event of this node; ``blind`` ones do not count on the clock. ``OperationalError`` when the broker is
        away."""
        del retry
        group = group_of(type)
        if not self.enabled or (self.groups and group not in self.groups):
            return
        clock = self.app.clock.value if blind else self.app.clock.forward()
        event = stamp(type, self.hostname, clock, fields)
        if group not in self.buffer_group:
            self._post(event)
            return
        with self._lock:
            gathered = self._gathered.setdefault(group, [])
            gathered.append(event)
            full = len(gathered) >= self.buffer_limit
        if full:
            self.flush()
        elif self.on_send_buffered is not None:
            self.on_send_buffered()

    def publish(self, type: str, fields: Mapping[str, Any], *_args: Any, **_options: Any) -> None:
        """Send an event with exactly these fields, beside type and time, whether enabled or not."""
        self._post(stamp(type, self.hostname, self.app.clock.forward(), fields))

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Send what was gathered."""
        del errors, groups
        with self._lock:
            gathered, self._gathered = self._gathered, {}
        conf = self.app.conf
        self.app.store.bus.post(
            [
                post_of_many(events, group, conf.event_exchange, self.hostname, self.serializer)
                for group, events in gathered.items()
                if events
            ]
        )

    def close(self) -> None:
        """Send what was gathered; the connection is the app's."""
        self.flush()

    def _post(self, event: Mapping[str, Any]) -> None:
        self.app.store.bus.post([post_of(event, self.app.conf.event_exchange, self.serializer)])

    def __enter__(self) -> EventDispatcher:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
