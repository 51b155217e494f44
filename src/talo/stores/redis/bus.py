"""The bus on Redis: publish and subscribe.

Owns one connection per subscription; channels are named ``talo:bus:<channel>``. Called by ``events`` and ``control``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any

from talo.stores.base import Bus, Subscription
from talo.stores.redis.client import Client
from talo.stores.redis.connection import pack

__all__ = ["RedisBus"]


class RedisBus(Bus):
    """The bus role of ``RedisStore``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def publish(self, channel: str, payload: bytes) -> None:
        self._client.call("PUBLISH", self._client.keys.own(f"bus:{channel}"), payload)

    def subscribe(self, channels: Sequence[str]) -> Subscription:
        return _Ear(self._client, channels)


class _Ear(Subscription):
    """A connection that only listens."""

    def __init__(self, client: Client, channels: Sequence[str]) -> None:
        self._client = client
        self._channels = {client.keys.own(f"bus:{channel}"): channel for channel in channels}
        self._heard: deque[tuple[str, bytes]] = deque()
        self._connection = client.connection()
        deadline = client.deadline()
        self._connection.connect(deadline)
        self._connection.on_push = self._hear
        try:
            # Listening has begun when the server has confirmed it, and a PING behind it has come back.
            self._connection.write(pack("SUBSCRIBE", *self._channels), deadline)
            self._connection.call(pack("PING"), deadline)
        except BaseException:
            self._connection.close()
            raise

    def _hear(self, push: Sequence[Any]) -> None:
        if push[0] == b"message":
            self._heard.append((self._channels[push[1]], push[2]))

    def get(self, timeout: float) -> tuple[str, bytes] | None:
        deadline = monotonic() + timeout
        while not self._heard:
            left = deadline - monotonic()
            if self._connection.closed or self._connection.poll(left):
                self._connection.drain()
            elif left <= 0:
                return None
        return self._heard.popleft()

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()
