"""Consuming by hand, as programs beside Celery do it, for messages that are no calls of tasks: ``kombu.Consumer``,
``Connection.drain_events`` and ``ConsumerMixin``.

Owns one owner in the store for each connection that consumes. What a callback is given is leased until it is
acknowledged, requeued, or rejected (then it is a dead letter); a thread renews the lease. What is none of these goes
back to its queue when the connection is released, and what a dead process held is taken over by any worker. Called by
``messaging`` and ``bootsteps``.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any, NamedTuple

from talo.compat.absent import refuse
from talo.compat.message import Message, MessageStateError
from talo.errors import LeaseLost, OperationalError, SecurityError, TaloError, WireError
from talo.stores.base import Death, Delivery, Lease, Settlement, Verdict
from talo.wire import serializers

__all__ = ["Consumer", "ConsumerMixin", "ConsumerProducerMixin", "Intake", "Pump", "Tap"]

log = logging.getLogger("talo.compat")

#: Seconds after which one who waits looks whether it is to end.
_LOOK = 1.0
#: Seconds until the next try after the store was away.
_PAUSE = 1.0


class Tap(NamedTuple):
    """What takes the messages of one queue."""

    queue: str
    callback: Callable[[Message], Any]
    no_ack: bool
    #: Its ``prefetch_count`` bounds how many messages of it have not ended; 0: any number.
    channel: Any


class Intake:
    """What one connection consumes. One thread at a time drains it; messages may be ended by any."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._owner = f"consumer{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._lease = float(app.conf.worker_lease)
        self._taps: dict[str, Tap] = {}
        #: By token of the lease, which is the delivery tag.
        self._held: dict[int, Tap] = {}
        self._ended = threading.Event()
        self._renewer: threading.Thread | None = None
        #: What was handed out last.
        self.current: Message | None = None

    # -- taps

    def add(self, tag: str, tap: Tap) -> None:
        """Let a tap take part under this consumer tag."""
        if self._renewer is None:
            self._open()
            self._renewer = threading.Thread(target=self._renew, name="talo-consumer", daemon=True)
            self._renewer.start()
        self._taps[tag] = tap

    def remove(self, tag: str) -> None:
        """Give it nothing any more; what it holds stays its own. Idempotent."""
        self._taps.pop(tag, None)

    def close(self) -> None:
        """Give back what has not ended, and be no owner any more. Idempotent."""
        self._ended.set()
        if self._renewer is None:
            return
        self._renewer.join()
        self._renewer = None
        self._taps.clear()
        again = [Settlement(lease=Lease(self._owner, token), verdict=Verdict.AGAIN) for token in sorted(self._held)]
        self._held.clear()
        broker = self._app.store.broker
        broker.settle(again)
        broker.close_owner(self._owner)

    def _open(self) -> None:
        self._app.store.broker.open(self._owner, worker="consumer", slots=0, lease=self._lease)

    def _renew(self) -> None:
        while not self._ended.wait(self._lease / 3):
            try:
                self._app.store.broker.renew([self._owner], self._lease)
            except TaloError as exc:
                log.warning("The lease of a consumer could not be renewed: %s", exc, extra={"action": "renew"})

    # -- messages

    def drain(self, timeout: float | None) -> None:
        """Hand the next message to its tap, waiting for it at most ``timeout`` seconds (None: without end).

        Errors: ``TimeoutError`` (which ``socket.timeout`` is), ``OperationalError``, and what the callback raises.
        """
        until = None if timeout is None else monotonic() + timeout
        while not self._take():
            left = _LOOK if until is None else min(until - monotonic(), _LOOK)
            if left <= 0:
                raise TimeoutError("no message came in time")
            queues = self._queues()
            if queues:
                self._app.store.broker.wait(queues, left)
            else:
                self._ended.wait(left)

    def end(self, token: int, verdict: Verdict, death: Death | None = None) -> None:
        """End a message. ``MessageStateError`` if it is not held here (any more)."""
        refused = self._app.store.broker.settle(
            [Settlement(lease=Lease(self._owner, token), verdict=verdict, death=death)]
        )
        self._held.pop(token, None)
        if refused:
            raise MessageStateError("this message has ended, or gone to somebody else when its lease was over")

    def _queues(self) -> list[str]:
        return list(dict.fromkeys(tap.queue for tap in self._taps.values() if self._has_room(tap.channel)))

    def _has_room(self, channel: Any) -> bool:
        most = channel.prefetch_count
        return not most or sum(tap.channel is channel for tap in self._held.values()) < most

    def _take(self) -> bool:
        queues = self._queues()
        if not queues:
            return False
        try:
            turn = self._app.store.broker.turn([], self._owner, queues, 1)
        except LeaseLost:
            # This process stood still for longer than its lease; somebody else has what it held.
            self._held.clear()
            self._open()
            return False
        for delivery in turn.deliveries:
            self._hand(delivery)
        return bool(turn.deliveries)

    def _hand(self, delivery: Delivery) -> None:
        token = delivery.lease.token
        if delivery.message is None:
            word, _, text = (delivery.fault or "unreadable").partition(": ")
            self.end(token, Verdict.DEAD, Death(reason=word, text=text))
            return
        tap = next((each for each in self._taps.values() if each.queue == delivery.queue), None)
        if tap is None:
            self.end(token, Verdict.AGAIN)
            return
        self._held[token] = tap
        ends = functools.partial(self.end, token)
        self.current = message = Message.of(delivery, delivery.message, tap.channel, ends)
        if tap.no_ack:
            message.ack()
        tap.callback(message)


class Consumer:
    """Takes messages of some queues, and hands them to callbacks."""

    def __init__(
        self,
        channel: Any = None,
        queues: Any = None,
        no_ack: bool | None = None,
        auto_declare: bool | None = None,
        callbacks: Iterable[Callable[[Any, Message], Any]] | None = None,
        on_decode_error: Callable[[Message, Exception], Any] | None = None,
        on_message: Callable[[Message], Any] | None = None,
        accept: Iterable[str] | None = None,
        prefetch_count: int | None = None,
        **_more: Any,
    ) -> None:
        del auto_declare  # a queue is there as soon as something is sent to it or fetched from it
        #: A connection is as good as a channel.
        self.channel = channel.channel() if hasattr(channel, "channel") else channel
        self.connection = self.channel.connection
        self.no_ack = bool(no_ack)
        self.callbacks = list(callbacks or ())
        self.on_message = on_message
        self.accept = serializers.accept(self.connection.app.conf.accept_content if accept is None else accept)
        if on_decode_error is not None:
            self.on_decode_error = on_decode_error  # type: ignore[method-assign, assignment]
        if prefetch_count:
            self.qos(prefetch_count=prefetch_count)
        self._tags: dict[str, str] = {}
        self.queues: list[Any] = []
        for queue in queues if isinstance(queues, (list, tuple)) else [queues] if queues is not None else []:
            self.add_queue(queue)

    def add_queue(self, queue: Any) -> Any:
        """Take messages of one more queue, once it consumes; return it."""
        known = self.connection.app.queues
        self.queues.append(known[queue] if isinstance(queue, str) else known.add(queue))
        return queue

    def consuming_from(self, queue: Any) -> bool:
        """Whether it takes messages of this queue."""
        return getattr(queue, "name", queue) in self._tags

    def register_callback(self, callback: Callable[[Any, Message], Any]) -> None:
        """Call ``callback(body, message)`` for each message, after those that are there."""
        self.callbacks.append(callback)

    def consume(self, no_ack: bool | None = None) -> None:
        """Begin, with the queues that were added since. Idempotent."""
        no_ack = self.no_ack if no_ack is None else no_ack
        for queue in self.queues:
            if queue.name not in self._tags:
                self._tags[queue.name] = self.channel.basic_consume(queue.name, no_ack, callback=self._take)

    def cancel(self) -> None:
        """Take no more. Idempotent."""
        while self._tags:
            self.channel.basic_cancel(self._tags.popitem()[1])

    close = cancel

    def qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        """Hold at most ``prefetch_count`` messages that have not ended; 0: any number."""
        self.channel.basic_qos(prefetch_size, prefetch_count, apply_global)

    def _take(self, message: Message) -> None:
        message.accept = self.accept
        if self.on_message is not None:
            self.on_message(message)
            return
        try:
            body = message.decode()
        except (WireError, SecurityError) as exc:
            self.on_decode_error(message, exc)
            return
        self.receive(body, message)

    def receive(self, body: Any, message: Message) -> None:
        """Call the callbacks, one after the other. ``NotSupported`` without any."""
        if not self.callbacks:
            refuse("a Consumer without callbacks", "give it callbacks, or on_message")
        for callback in self.callbacks:
            callback(body, message)

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Called for a body that cannot be read, or is of a form that is not accepted: it becomes a dead letter."""
        message.bury(exc)

    def __enter__(self) -> Consumer:
        self.consume()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.cancel()


class Pump:
    """Drains a connection in a thread of its own. What a callback raises is logged, and its message buried."""

    def __init__(self, connection: Any, name: str) -> None:
        self._connection = connection
        self._name = name
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the message that is being handled; wait for it."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._connection.drain_events(timeout=_LOOK)
            except TimeoutError:
                continue
            except OperationalError as exc:
                log.warning("%s waits for the store: %s", self._name, exc, extra={"action": "retry"})
                self._ended.wait(_PAUSE)
            except Exception as exc:
                log.exception("A callback of %s failed; its message is a dead letter", self._name)
                self._bury(exc)

    def _bury(self, exc: Exception) -> None:
        current = self._connection.intake.current
        try:
            if current is not None:
                current.bury(exc)
        except TaloError as error:
            log.warning("A message of %s could not be buried: %s", self._name, error)


class ConsumerMixin:
    """Base of programs that consume by hand: set ``connection``, define ``get_consumers``, call ``run``."""

    connection: Any = None
    should_stop = False

    def get_consumers(self, Consumer: Any, channel: Any) -> Any:
        """A list of consumers, made by ``Consumer(queues, callbacks=...)``. To be defined."""
        refuse(type(self).__name__, "it defines no get_consumers")

    def on_consume_ready(self, connection: Any, channel: Any, consumers: Any, **_more: Any) -> None:
        """Called when the consumers have begun."""

    def on_consume_end(self, connection: Any, channel: Any) -> None:
        """Called when they have ended."""

    def on_iteration(self) -> None:
        """Called between two messages, and every second without any."""

    def on_connection_error(self, exc: BaseException, interval: float) -> None:
        """Called when the store is away; it is tried again after ``interval`` seconds."""
        log.warning("The store is away, trying again in %s seconds: %s", interval, exc, extra={"action": "retry"})

    def run(self, **_more: Any) -> None:
        """Consume until ``should_stop`` is true, and go on when the store is back."""
        pause = threading.Event()
        while not self.should_stop:
            try:
                for _ in self.consume():
                    pass
            except OperationalError as exc:
                self.on_connection_error(exc, _PAUSE)
                pause.wait(_PAUSE)

    def consume(self, limit: int | None = None, timeout: float | None = None, **_more: Any) -> Iterator[None]:
        """Yield after each message, ``limit`` times at most. ``TimeoutError`` after ``timeout`` seconds without any."""
        connection = self.connection.clone()
        with connection, connection.channel() as channel, contextlib.ExitStack() as stack:
            consumers = self.get_consumers(lambda *args, **kwargs: Consumer(channel, *args, **kwargs), channel)
            for consumer in consumers:
                stack.enter_context(consumer)
            self.on_consume_ready(connection, channel, consumers)
            count, silent_since = 0, monotonic()
            while not self.should_stop and (limit is None or count < limit):
                self.on_iteration()
                try:
                    connection.drain_events(timeout=_LOOK if timeout is None else min(timeout, _LOOK))
                except TimeoutError:
                    if timeout is not None and monotonic() - silent_since >= timeout:
                        raise
                    continue
                count, silent_since = count + 1, monotonic()
                yield
            self.on_consume_end(connection, channel)


class ConsumerProducerMixin(ConsumerMixin):
    """The same for programs that publish, too."""

    @property
    def producer(self) -> Any:
        """A producer over the same broker."""
        return self.connection.Producer()
