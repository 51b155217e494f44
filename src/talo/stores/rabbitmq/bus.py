"""The bus on RabbitMQ: events and remote control in the exchanges that Celery declares, and channels of Talo's own.

Owns their flags: a topic exchange is durable (``celeryev``), fan-out and direct ones are not (``celery.pidbox``,
``reply.celery.pidbox``), and whoever hears has a queue that goes with it; a declaration with other flags would be
refused to whoever comes second. Each ear has a connection of its own. Called by ``events`` and ``control``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic

from talo.errors import StoreError
from talo.stores.base import Bus, Ear, Post, Subscription
from talo.stores.rabbitmq._refusals import RESOURCE_LOCKED, ChannelRefused
from talo.stores.rabbitmq.channel import Channel, Letter
from talo.stores.rabbitmq.client import Client
from talo.stores.rabbitmq.connection import Connection
from talo.stores.rabbitmq.frames import content, method, properties, read_properties, short

__all__ = ["RabbitBus"]

_OWN = "talo.bus"
#: Milliseconds that a message waits for a hearer who is slow, by the kind of exchange: Celery's figures.
_WAITS = {"topic": 5_000}
_WAITS_OTHERWISE = 300_000
_HERE = frozenset({"headers", "content_type", "content_encoding"})


class RabbitBus(Bus):
    """The bus role of ``RabbitStore``."""

    unheard_is_free = True

    def __init__(self, client: Client) -> None:
        self._client = client
        self._channel: Channel | None = None
        self._declared: set[str] = set()

    def publish(self, channel: str, payload: bytes) -> None:
        self.post([Post(exchange=_OWN, kind="direct", key=channel, body=payload, content_type="application/data")])

    def subscribe(self, channels: Sequence[str]) -> Subscription:
        return _Subscribed(_RabbitEar(self._client, _OWN, "direct", channels, "", {}))

    def post(self, posts: Sequence[Post]) -> bool:
        deadline = self._client.deadline()
        with self._client.using(deadline) as connection:
            if self._channel is None or not self._channel.open or not self._channel.belongs_to(connection):
                self._channel = connection.channel(deadline)
                self._declared.clear()
            for post in posts:
                if post.exchange not in self._declared:
                    _declare(self._channel, post.exchange, post.kind, deadline)
                    self._declared.add(post.exchange)
            frames = [_frames(self._channel, post, connection.frame_max) for post in posts]
            self._channel.cast(*frames, deadline=deadline)
        return True

    def hear(self, exchange: str, kind: str, keys: Sequence[str], *, queue: str, expires: float = 60.0) -> Ear:
        arguments = {"x-expires": int(expires * 1000), "x-message-ttl": _WAITS.get(kind, _WAITS_OTHERWISE)}
        return _RabbitEar(self._client, exchange, kind, keys if kind != "fanout" else [""], queue, arguments)


def _declare(channel: Channel, exchange: str, kind: str, deadline: float) -> None:
    channel.declare_exchange(exchange, kind, deadline, durable=kind == "topic")


def _frames(channel: Channel, post: Post, frame_max: int) -> bytes:
    told = {
        "delivery_mode": 1,
        "priority": 0,
        **post.properties,
        "content_type": post.content_type,
        "content_encoding": post.content_encoding,
        "headers": post.headers,
    }
    publish = method(channel.number, 60, 40, b"\0\0" + short(post.exchange) + short(post.key) + b"\0")
    return publish + content(channel.number, properties(told), post.body, frame_max)


class _RabbitEar(Ear):
    """A connection that only listens."""

    def __init__(
        self, client: Client, exchange: str, kind: str, keys: Sequence[str], queue: str, arguments: dict[str, int]
    ) -> None:  # fmt: skip
        self._exchange = exchange
        self._kind = kind
        self._heard: deque[Letter] = deque()
        deadline = client.deadline()
        self._timeout = client.timeout
        self._connection: Connection = client.another(deadline)
        try:
            channel = self._connection.channel(deadline)
            _declare(channel, exchange, kind, deadline)
            name, _ = channel.declare_queue(
                queue, deadline, durable=False, exclusive=True, auto_delete=True, arguments=arguments
            )
            for key in keys:
                channel.bind(name, exchange, key, deadline)
            channel.on_letter = self._heard.append
            channel.consume(name, "ear", deadline, no_ack=True)
        except ChannelRefused as refused:
            self._connection.close()
            if refused.code == RESOURCE_LOCKED:
                raise StoreError(
                    f"{queue} is in use by another node of the same name: give this one its own"
                ) from refused
            raise
        except BaseException:
            self._connection.close()
            raise

    def get(self, timeout: float) -> Post | None:
        letter = self.letter(timeout)
        if letter is None:
            return None
        properties = read_properties(letter.header)
        return Post(
            exchange=self._exchange,
            kind=self._kind,
            key=letter.routing_key,
            body=letter.body,
            content_type=properties.get("content_type", "application/json"),
            content_encoding=properties.get("content_encoding", "utf-8"),
            headers=properties.get("headers", {}),
            properties={name: value for name, value in properties.items() if name not in _HERE},
        )

    def letter(self, timeout: float) -> Letter | None:
        """The next letter."""
        end = monotonic() + timeout
        while not self._heard:
            self._connection.take_in()
            if not self._heard and not self._connection.wait(end) and monotonic() >= end:
                return None
        return self._heard.popleft()

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()


class _Subscribed(Subscription):
    """An ear on channels of Talo's own."""

    def __init__(self, ear: _RabbitEar) -> None:
        self._ear = ear

    def get(self, timeout: float) -> tuple[str, bytes] | None:
        letter = self._ear.letter(timeout)
        return None if letter is None else (letter.routing_key, letter.body)

    def fileno(self) -> int:
        return self._ear.fileno()

    def close(self) -> None:
        self._ear.close()
