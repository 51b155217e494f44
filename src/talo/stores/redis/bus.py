"""The bus on Redis: publish and subscribe, and Celery's exchanges as kombu has them there.

Owns one connection per ear. Talo's own channels are named ``talo:bus:<channel>``; an exchange that fans out is a
channel ``/<db>.<exchange>[/<key>]``, a direct one is the set ``_kombu.binding.<exchange>`` of the lists that are bound
to it. Nothing is kept without an expiry. Called by ``events`` and ``control``.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, NamedTuple

from talo.errors import MalformedMessage, OperationalError
from talo.stores.base import Bus, Ear, Post, Subscription, key_filter
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Connection, Part, pack
from talo.stores.redis.keys import SEPARATOR
from talo.wire import envelope
from talo.wire.message import Message

__all__ = ["Fanout", "RedisBus"]

log = logging.getLogger("talo.stores")

#: Seconds that an answer waits for who asked: longer than anybody waits for one.
_REPLY_KEEP = 60
#: Seconds after which a table of bindings goes when nobody binds to its exchange any more. Other programs bind there
#: too, and renew nothing: longer than any of them waits for an answer.
_BINDING_KEEP = 86_400


class Fanout(NamedTuple):
    """How channels are named: Celery's transport options ``fanout_prefix`` (true, false, or a text with ``{db}``) and
    ``fanout_patterns`` (whether the key is part of the name)."""

    prefix: bool | str = True
    patterns: bool = True

    def channel(self, db: int, exchange: str) -> str:
        """The channel of an exchange, without its key."""
        prefix = "/{db}." if self.prefix is True else self.prefix or ""
        return prefix.replace("{db}", str(db)) + exchange


class RedisBus(Bus):
    """The bus role of ``RedisStore``."""

    unheard_is_free = True

    def __init__(self, client: Client, fanout: Fanout = Fanout()) -> None:
        self._client = client
        self._fanout = fanout

    def publish(self, channel: str, payload: bytes) -> None:
        self._client.call("PUBLISH", self._client.keys.own(f"bus:{channel}"), payload)

    def subscribe(self, channels: Sequence[str]) -> Subscription:
        names = {self._client.keys.own(f"bus:{channel}"): channel for channel in channels}
        heard: deque[tuple[str, bytes]] = deque()

        def hear(push: Sequence[Any]) -> None:
            if push[0] == b"message":
                heard.append((names[push[1]], push[2]))

        return _Subscription(_Listening(self._client, [pack("SUBSCRIBE", *names)], hear), heard)

    def post(self, posts: Sequence[Post]) -> bool:
        commands: list[bytes] = []
        bound: dict[str, list[bytes]] = {}
        for each in posts:
            item = _packed(each)
            if each.kind != "direct":
                commands.append(pack("PUBLISH", self._channel(each.exchange, each.key), item))
                continue
            if each.exchange not in bound:
                bound[each.exchange] = list(self._client.call("SMEMBERS", self._binding(each.exchange)))
            for queue in _queues_of(bound[each.exchange], each.key.encode()):
                name = self._client.keys.prefix + queue
                commands += [pack("LPUSH", name, item), pack("EXPIRE", name, _REPLY_KEEP)]
        if not commands:
            return False
        # How many heard, or how long the list is now. A node of a cluster counts only those that are connected to it.
        replies = self._client.pipeline(commands, self._client.deadline())
        return self._client.place.mode == "cluster" or any(replies)

    def hear(self, exchange: str, kind: str, keys: Sequence[str], *, queue: str, expires: float = 60.0) -> Ear:
        if kind == "direct":
            return _DirectEar(self._client, self._binding(exchange), keys, queue)
        del expires  # a channel keeps nothing
        return _FanoutEar(self._client, self._channel(exchange, ""), key_filter(kind, keys))

    def _channel(self, exchange: str, key: str) -> bytes:
        channel = self._fanout.channel(self._client.place.db, exchange)
        return self._client.keys.prefix + (f"{channel}/{key}" if key and self._fanout.patterns else channel).encode()

    def _binding(self, exchange: str) -> bytes:
        # Not the permanent one: the lists of those that wait for an answer come and go.
        return self._client.keys.binding(exchange)[0]


def _packed(post: Post) -> bytes:
    message = Message(
        queue="",
        headers=post.headers,
        body=post.body,
        content_type=post.content_type,
        content_encoding=post.content_encoding,
        properties=post.properties,
        exchange=post.exchange,
        routing_key=post.key,
    )
    return envelope.pack(message)


def _unpacked(item: bytes, kind: str) -> Post | None:
    """The post of an item; None (and a line in the log) if it makes none."""
    try:
        message = envelope.unpack(item, "")
    except MalformedMessage as fault:
        log.warning("What came over the bus makes no message (%s)", fault, extra={"action": "bus_malformed"})
        return None
    return Post(
        exchange=message.exchange,
        kind=kind,
        key=message.routing_key,
        body=message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=message.headers,
        properties=message.properties,
    )


def _queues_of(bindings: Iterable[bytes], key: bytes) -> list[bytes]:
    """The lists that a table of bindings (``key SEP pattern SEP queue``) has for a key."""
    parts = (binding.split(SEPARATOR) for binding in bindings)
    return sorted({part[2] for part in parts if len(part) == 3 and part[0] == key})


class _Listening:
    """A connection that only listens."""

    def __init__(self, client: Client, commands: Sequence[bytes], hear: Callable[[Sequence[Any]], None]) -> None:
        self._connection = client.connection()
        deadline = client.deadline()
        self._connection.connect(deadline)
        self._connection.on_push = hear
        try:
            # Listening has begun when the server has confirmed it, and a PING behind it has come back.
            self._connection.write(b"".join(commands), deadline)
            self._connection.call(pack("PING"), deadline)
        except BaseException:
            self._connection.close()
            raise

    def wait(self, deadline: float) -> bool:
        """Let pushes be heard; False when ``deadline`` (monotonic) is over. ``StoreUnavailable``."""
        left = deadline - monotonic()
        if self._connection.closed or self._connection.poll(left):
            self._connection.drain()
            return True
        return left > 0

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()


class _Subscription(Subscription):
    """Hears channels of Talo's own."""

    def __init__(self, listening: _Listening, heard: deque[tuple[str, bytes]]) -> None:
        self._listening = listening
        self._heard = heard

    def get(self, timeout: float) -> tuple[str, bytes] | None:
        deadline = monotonic() + timeout
        while not self._heard:
            if not self._listening.wait(deadline):
                return None
        return self._heard.popleft()

    def fileno(self) -> int:
        return self._listening.fileno()

    def close(self) -> None:
        self._listening.close()


class _FanoutEar(Ear):
    """Hears the channels of an exchange, whatever the key, and picks what its keys fit."""

    def __init__(self, client: Client, channel: bytes, fits: Callable[[str], bool]) -> None:
        self._fits = fits
        self._heard: deque[bytes] = deque()
        pattern = b"".join(b"\\" + bytes([c]) if c in b"*?[]\\" else bytes([c]) for c in channel) + b"/*"
        self._listening = _Listening(client, [pack("SUBSCRIBE", channel), pack("PSUBSCRIBE", pattern)], self._hear)

    def _hear(self, push: Sequence[Any]) -> None:
        if push[0] in (b"message", b"pmessage"):
            self._heard.append(push[-1])

    def get(self, timeout: float) -> Post | None:
        deadline = monotonic() + timeout
        while True:
            while self._heard:
                post = _unpacked(self._heard.popleft(), "topic")
                if post is not None and self._fits(post.key):
                    return post
            if not self._listening.wait(deadline):
                return None

    def fileno(self) -> int:
        return self._listening.fileno()

    def close(self) -> None:
        self._listening.close()


class _DirectEar(Ear):
    """A list of its own, bound to an exchange under its keys; both go when it closes, or by themselves."""

    def __init__(self, client: Client, binding: bytes, keys: Sequence[str], queue: str) -> None:
        self._client = client
        self._binding = binding
        self._list = client.keys.prefix + queue.encode()
        self._members: list[Part] = [SEPARATOR.join((key.encode(), b"", queue.encode())) for key in keys]
        client.pipeline(
            [pack("SADD", binding, *self._members), pack("EXPIRE", binding, _BINDING_KEEP)], client.deadline()
        )
        self._connection = client.connection()
        self._closed = False
        try:
            self._connection.connect(client.deadline())
        except BaseException:
            self.close()
            raise

    def get(self, timeout: float) -> Post | None:
        until = monotonic() + timeout

        def pop(connection: Connection) -> Any:
            left = max(0.0, until - monotonic())
            # 0 would be for ever.
            command = pack("BRPOP", self._list, round(left, 3)) if left >= 0.001 else pack("RPOP", self._list)
            return connection.call(command, self._client.deadline(left + self._client.timeout))

        while True:
            reply = self._client.on_own(self._connection, pop, self._client.deadline(timeout + self._client.timeout))
            if reply is None:
                return None
            post = _unpacked(reply[1] if isinstance(reply, list) else reply, "direct")
            if post is not None:
                return post

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._connection.close()
        commands = [pack("SREM", self._binding, *self._members), pack("DEL", self._list)]
        # Without the server both go by themselves.
        with contextlib.suppress(OperationalError):
            self._client.pipeline(commands, self._client.deadline())
