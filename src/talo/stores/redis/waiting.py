"""What waits in the lists, as people look at it: the messages themselves, and how old the oldest is.

Owns reading without taking, and the one change that begins with such a look: ``undelay``. Called by ``broker``.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator, Sequence

from talo.stores.base import Lease
from talo.stores.redis import scripts
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Part
from talo.stores.redis.deliveries import delivery_of
from talo.stores.redis.keys import list_of, queue_of
from talo.wire._times import parse_iso
from talo.wire.envelope import pack
from talo.wire.message import Message

__all__ = ["Waiting"]

#: Delayed messages that one script looks at.
_LOOKS = 1000
#: Delayed messages that are looked at in all: a queue with few of many is shown as far as that.
_FURTHEST = 200_000
_NOBODY = Lease("", 0)


class Waiting:
    """The looks of the broker."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._keys = client.keys

    def peek(self, queue: str, limit: int, offset: int, *, delayed: bool, about: str | None) -> list[Message]:
        """See ``Broker.peek``."""
        text = b"" if about is None else _as_written(about)
        most = offset + limit
        found = (self._delayed if delayed else self._ready)(queue, most, text)
        messages = []
        for name, raw, due in itertools.islice(found, offset, offset + limit):
            if raw and text in raw:
                message = delivery_of(_NOBODY, name, raw).message
                if message is not None:
                    message.due = due
                    messages.append(message)
        return messages

    # Those without the text are without their raw bytes, which would be most of the answer.

    def _ready(self, queue: str, most: int, text: bytes) -> Iterator[tuple[str, bytes, None]]:
        for name in self._keys.lists(queue):
            if most <= 0:
                return
            if text:
                raws = self._client.run(scripts.PEEK_READY, self._keys.prefix, name, most, text)
            else:
                raws = self._client.call("LRANGE", self._keys.prefix + name, -most, -1)[::-1]
            most -= len(raws)
            yield from ((queue, raw, None) for raw in raws)

    def _delayed(self, queue: str, most: int, text: bytes) -> Iterator[tuple[str, bytes, float]]:
        lists = self._keys.lists(queue)
        for rank in range(0, _FURTHEST, _LOOKS):
            looked_at, *told = self._client.run(scripts.PEEK_DELAYED, self._keys.prefix, rank, _LOOKS, text, *lists)
            for name, due, raw in zip(told[::3], told[1::3], told[2::3], strict=True):
                if most <= 0:
                    return
                most -= 1
                yield queue_of(name), raw, float(due)
            if looked_at < _LOOKS:
                return

    def undelay(self, change: Callable[[Message], Message], limit: int) -> int:
        """See ``Broker.undelay``. What makes no message goes as it is."""
        client, key = self._client, self._keys.own("delayed")
        while True:
            found = client.call("ZRANGE", key, 0, min(limit, _LOOKS) - 1, "WITHSCORES")
            if not found:
                return 0
            raws = client.call("HMGET", self._keys.own("delayed:raw"), *(member for member, _ in found))
            parts: list[Part] = []
            for (member, due), raw in zip(found, raws, strict=True):
                parts += (member, *_changed(member[17:], raw or b"", float(due), change))
            # None: somebody else has moved all of them since.
            if moved := int(client.run(scripts.UNDELAY, self._keys.prefix, *parts)):
                return moved

    def oldest(self, lists: Sequence[bytes]) -> dict[str, float]:
        """The age in seconds of the oldest of those that stand first in these lists, by queue, as far as they say."""
        now = float(self._client.call("TIME")[0])
        told = self._client.run(scripts.FRONTS, self._keys.prefix, *lists)
        ages: dict[str, float] = {}
        for name, sent, due in zip(lists, told[::2], told[1::2], strict=True):
            moments = [float(sent)] if sent else []
            if due:
                moments.append(_epoch(due))
            if moments:
                queue = queue_of(name)
                ages[queue] = max(ages.get(queue, 0.0), now - max(moments))
        return ages


def _as_written(text: str) -> bytes:
    """The text as it stands in JSON; nothing where senders write it in several ways."""
    plain = text.isascii() and text.isprintable() and not set(text) & set('"\\/')
    return text.encode() if plain else b""


def _changed(name: bytes, raw: bytes, due: float, change: Callable[[Message], Message]) -> tuple[bytes, bytes]:
    """The list and the raw of a delayed message of the list ``name``, after the change."""
    delivery = delivery_of(_NOBODY, queue_of(name), raw)
    if delivery.message is None:
        return name, raw
    delivery.message.due = due
    message = change(delivery.message)
    return list_of(message.queue, message.priority), pack(message)


def _epoch(text: bytes) -> float:
    try:
        return parse_iso(text.decode(), dt.UTC)
    except ValueError:
        return 0.0
