"""Connections, producers and consumers as code beside Celery knows them, over the store of an app.

Owns what plug-ins ask of a connection (its URL, its driver, its queues' lengths) and publishing by hand; consuming by
hand is ``consuming``'s. Behind ``app.connection`` and, where the real one is not installed, ``kombu``.
"""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import unquote, urlsplit

from talo.app.current import get_current_app
from talo.compat.consuming import Consumer, Intake, Tap
from talo.compat.kombu import queue_declare_ok_t
from talo.compat.message import rejection
from talo.errors import OperationalError
from talo.settings.secret import hide_password
from talo.stores.base import Verdict
from talo.wire import serializers
from talo.wire.message import Message as WireMessage
from talo.wire.queues import Exchange, Queue

__all__ = ["Channel", "Connection", "Producer", "Transport"]

#: What libraries call the technology behind a scheme.
_DRIVERS = {"amqp": "amqp", "amqps": "amqp", "pyamqp": "amqp", "redis": "redis", "rediss": "redis", "sqs": "sqs"}


class Transport:
    """What a connection speaks."""

    def __init__(self, scheme: str) -> None:
        self.driver_type = _DRIVERS.get(scheme, scheme)
        self.driver_name = self.driver_type
        self.default_port = {"amqp": 5672, "redis": 6379}.get(self.driver_type)

    def driver_version(self) -> str:
        """The version of the driver; Talo's own has none."""
        return "N/A"


class Connection:
    """A handle of the broker of an app. It holds no socket: the app's store does."""

    connection_errors: tuple[type[BaseException], ...] = (OperationalError,)
    channel_errors: tuple[type[BaseException], ...] = (OperationalError,)
    recoverable_connection_errors = connection_errors
    recoverable_channel_errors = channel_errors

    def __init__(self, hostname: str | None = None, *_args: Any, app: Any = None, **_options: Any) -> None:
        self._app = app
        self._url = str(hostname or self.app.conf.broker_url)
        parts = urlsplit(self._url.partition(";")[0])
        self.hostname = parts.hostname
        self.userid = unquote(parts.username) if parts.username else None
        self.password = unquote(parts.password) if parts.password else None
        self.port = parts.port
        self.virtual_host = unquote(parts.path.lstrip("/")) or "/"
        self.transport_cls = parts.scheme
        self.transport = Transport(parts.scheme)
        self.transport_options: dict[str, Any] = dict(self.app.conf.broker_transport_options or {})
        self.alt = self._url.split(";")
        self.heartbeat = 0
        self.is_evented = False
        self._intake: Intake | None = None

    @property
    def app(self) -> Any:
        """The app that it belongs to."""
        return self._app if self._app is not None else get_current_app()

    @property
    def client(self) -> Connection:
        """Itself: there is no other behind it."""
        return self

    @property
    def connected(self) -> bool:
        """Whether the store has been reached."""
        return True

    def as_uri(self, include_password: bool = False, mask: str = "**", **_more: Any) -> str:
        """The URL, its password hidden unless asked for."""
        del mask
        return self._url if include_password else hide_password(self._url)

    def info(self) -> dict[str, Any]:
        """Its parts, without the password."""
        names = ("hostname", "userid", "virtual_host", "port", "transport_options")
        return {**{name: getattr(self, name) for name in names}, "transport": self.transport_cls, "password": None}

    def connect(self) -> Connection:
        """Reach the store; ``OperationalError`` if it is away."""
        self.app.store.ping(self.app.conf.store_timeout)
        return self

    def ensure_connection(self, errback: Any = None, max_retries: int | None = None, **_more: Any) -> Connection:
        """The same, tried ``max_retries`` times more (None: once); ``errback(error, seconds)`` hears of each
        failure."""
        tries = max_retries or 0
        while True:
            try:
                return self.connect()
            except OperationalError as error:
                if tries <= 0:
                    raise
                tries -= 1
                if errback is not None:
                    errback(error, 0)

    def channel(self) -> Channel:
        """A channel."""
        return Channel(self)

    @property
    def default_channel(self) -> Channel:
        """A channel."""
        return Channel(self)

    def Producer(self, channel: Any = None, *args: Any, **kwargs: Any) -> Producer:
        """A producer over it."""
        return Producer(channel or self, *args, **kwargs)

    def Consumer(self, queues: Any = None, channel: Any = None, **kwargs: Any) -> Consumer:
        """A consumer over it."""
        return Consumer(channel or self, queues, **kwargs)

    def clone(self, **_options: Any) -> Connection:
        """Another handle of the same place."""
        return Connection(self._url, app=self._app)

    @property
    def intake(self) -> Intake:
        """What is consumed over it."""
        if self._intake is None:
            self._intake = Intake(self.app)
        return self._intake

    def drain_events(self, timeout: float | None = None, **_more: Any) -> None:
        """Hand the next message to its consumer. ``TimeoutError`` after ``timeout`` seconds without any."""
        self.intake.drain(timeout)

    def release(self) -> None:
        """Give back what was consumed and has not ended. Idempotent."""
        if self._intake is not None:
            self._intake.close()
            self._intake = None

    close = collapse = release

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connection) and other._url == self._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __repr__(self) -> str:
        return f"<Connection: {self.as_uri()}>"


class Channel:
    """What AMQP calls a channel, over the store: consumers, the ends of what they took, the lengths of queues; on Redis
    a client, too."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.prefetch_count = 0
        self._exchanges: dict[str, str] = {}

    @property
    def client(self) -> Any:
        """A ``redis.Redis`` of the broker's URL, for code that reads lengths of lists itself (needs redis-py)."""
        import redis

        return redis.Redis.from_url(self.connection.as_uri(include_password=True))

    # -- what is declared

    def exchange_declare(self, exchange: str, type: str = "direct", **_more: Any) -> None:
        """Remember what kind it is: it exists by the queues that are bound to it."""
        self._exchanges[exchange] = type

    def queue_declare(self, queue: str, passive: bool = False, **_more: Any) -> Any:
        """(name, number of ready messages, number of consumers)."""
        del passive
        found = [stats for stats in self.connection.app.store.broker.stats([queue]) if stats.name == queue]
        return queue_declare_ok_t(queue, found[0].ready if found else 0, 0)

    def queue_bind(self, queue: str, exchange: str = "", routing_key: str = "", **_more: Any) -> None:
        """Let the app know a queue that it does not know yet."""
        if queue not in self.connection.app.queues:
            of = Exchange(exchange, type=self._exchanges.get(exchange, "direct"))
            self.connection.app.queues.add(Queue(queue, of, routing_key=routing_key))

    def prepare_queue_arguments(self, arguments: Any, **_more: Any) -> Any:
        """As they are."""
        return arguments

    # -- what is consumed

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, a_global: bool = False) -> None:
        """Hold at most ``prefetch_count`` messages that have not ended; 0: any number."""
        del prefetch_size, a_global
        self.prefetch_count = prefetch_count

    def basic_consume(
        self, queue: str, no_ack: bool = False, callback: Any = None, consumer_tag: str | None = None, **_more: Any
    ) -> str:
        """Hand the messages of a queue to ``callback`` from now on; return the consumer tag."""
        tag = consumer_tag or str(uuid.uuid4())
        self.connection.intake.add(tag, Tap(queue, callback, bool(no_ack), self))
        return tag

    def basic_cancel(self, consumer_tag: str, **_more: Any) -> None:
        """Take no more. Idempotent."""
        self.connection.intake.remove(consumer_tag)

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """A message is done with."""
        del multiple
        self.connection.intake.end(delivery_tag, Verdict.DONE)

    def basic_reject(self, delivery_tag: int, requeue: bool = False, **_more: Any) -> None:
        """A message becomes a dead letter, or goes back to its queue."""
        self.connection.intake.end(delivery_tag, *rejection(requeue))

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _connection(channel: Any) -> Connection:
    connection = getattr(channel, "connection", channel)
    return connection if isinstance(connection, Connection) else Connection()


class Producer:
    """Publishes messages that are no calls of tasks of this app: a body for a queue."""

    auto_declare = True
    on_return = None

    def __init__(
        self,
        channel: Any = None,
        exchange: Any = None,
        routing_key: str | None = None,
        serializer: str | None = None,
        **_more: Any,
    ) -> None:
        self.connection = _connection(channel)
        self.channel = Channel(self.connection)
        self.exchange = exchange
        self.routing_key = routing_key or ""
        self.serializer = serializer

    def publish(
        self,
        body: Any,
        routing_key: str | None = None,
        delivery_mode: Any = None,
        mandatory: bool = False,
        immediate: bool = False,
        priority: int = 0,
        content_type: str | None = None,
        content_encoding: str | None = None,
        serializer: str | None = None,
        headers: dict[str, Any] | None = None,
        compression: str | None = None,
        exchange: Any = None,
        **properties: Any,
    ) -> None:
        """Send a message to the queues that ``exchange`` and ``routing_key`` reach. Errors: those of a send."""
        del delivery_mode, mandatory, immediate, compression
        app = self.connection.app
        key = self.routing_key if routing_key is None else routing_key
        target = exchange if exchange is not None else self.exchange
        name = getattr(target, "name", target) or ""
        if content_type is None:
            codec = serializers.get(serializer or self.serializer or "json")
            content_type, content_encoding, body = codec.content_type, codec.content_encoding, codec.dumps(body)
        payload = body.encode() if isinstance(body, str) else bytes(body)
        for entity in properties.pop("declare", None) or ():
            if hasattr(entity, "routing_key"):  # a queue; exchanges exist by the queues that are bound to them
                app.queues.add(entity)
        for timeless in ("retry", "retry_policy", "timeout", "confirm_timeout", "expiration"):
            properties.pop(timeless, None)
        messages = [
            WireMessage(
                queue=queue.name,
                exchange=name,
                routing_key=key,
                priority=priority or 0,
                headers=dict(headers or {}),
                body=payload,
                content_type=content_type,
                content_encoding=content_encoding or "utf-8",
                properties={"correlation_id": str(uuid.uuid4()), **properties},
            )
            for queue in app.queues.bound(name, key)
        ]
        app.store.broker.send(messages, timeout=app.conf.publish_timeout)

    def declare(self) -> None:
        """Queues exist as soon as something is in them."""

    maybe_declare = revive = close = release = declare

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()
