"""``app.events``: the classes of ``talo.events`` bound to one app.

Owns the binding, and the one dispatcher that tasks and senders of this process share. Made by ``app.remote``."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from talo.errors import OperationalError
from talo.events.dispatcher import EventDispatcher
from talo.events.event import post_of, stamp
from talo.events.receiver import EventReceiver
from talo.events.state import State
from talo.events.teller import Teller

__all__ = ["Events"]


class Events:
    """Telling and hearing, for one app."""

    receiver_cls: Any = EventReceiver
    dispatcher_cls: Any = EventDispatcher
    state_cls: Any = State

    def __init__(self, app: Any = None) -> None:
        self.app = app
        #: How clients call themselves.
        self.sender = f"gen{os.getpid()}@{socket.gethostname()}"
        #: In a worker: what tells events from a thread, so that no task waits for the broker.
        self.teller: Teller | None = None
        #: Events that nobody could be told, because the broker was away.
        self.dropped = 0

    @property
    def Receiver(self) -> Any:
        """Hears: ``app.events.Receiver(connection, handlers={"*": print}).capture()``."""
        return self.app.subclass_with_self(self.receiver_cls)

    @property
    def Dispatcher(self) -> Any:
        """Sends."""
        return self.app.subclass_with_self(self.dispatcher_cls)

    @property
    def State(self) -> Any:
        """Adds up what was heard."""
        return self.app.subclass_with_self(self.state_cls)

    @contextlib.contextmanager
    def default_dispatcher(
        self, hostname: str | None = None, enabled: bool = True, buffer_while_offline: bool = False
    ) -> Iterator[Any]:
        """A dispatcher for a few events."""
        with self.Dispatcher(None, hostname, enabled, buffer_while_offline=buffer_while_offline) as dispatcher:
            yield dispatcher

    def tell(self, type: str, fields: dict[str, Any]) -> None:
        """Send an event of a task; in a worker soon, elsewhere at once. ``OperationalError`` only elsewhere."""
        if self.teller is not None:
            self.teller.tell(type, fields)
            return
        conf = self.app.conf
        event = stamp(type, self.sender, self.app.clock.forward(), fields)
        self.app.store.bus.post([post_of(event, conf.event_exchange, conf.event_serializer)])

    def tell_sent(self, sent: Sequence[Mapping[str, Any]]) -> None:
        """Send ``task-sent`` for each of these; never the reason for which a send fails."""
        conf, clock = self.app.conf, self.app.clock
        posts = [
            post_of(
                stamp("task-sent", self.sender, clock.forward(), fields), conf.event_exchange, conf.event_serializer
            )
            for fields in sent
        ]
        try:
            self.app.store.bus.post(posts)
        except OperationalError:
            self.dropped += len(posts)
