"""What waits in the lists, as people look at it: the messages themselves, and how old the oldest is.

Owns reading without taking, and the one change that begins with such a look: ``undelay``. Called by ``broker``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from talo.stores.base import Lease, Sighting
from talo.stores.redis import scripts
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Part
from talo.stores.redis.deliveries import delivery_of
from talo.stores.redis.keys import list_of, queue_of
from talo.wire._times import parse_iso
from talo.wire.envelope import pack
from talo.wire.message import Message

__all__ = ["Waiting"]

#: Messages that one look brings.
_LOOKS = 1000
#: Delayed messages that are looked at in all: a queue with few of many is shown as far as that.
_FURTHEST = 200_000
_NOBODY = Lease("", 0)


class _Found(NamedTuple):
    """A message that a look has found: its place, its list, when it falls due if it is delayed, its bytes."""

    at: int
    name: bytes
    due: float | None
    raw: bytes


class Waiting:
    """The looks of the broker."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._keys = client.keys

    def peek(self, queue: str | None, limit: int, offset: int, *, delayed: bool, about: str | None) -> list[Message]:
        """See ``Broker.peek``."""
        text = b"" if about is None else _as_written(about)
        look = self._delayed if delayed else self._ready
        lists = () if queue is None else self._keys.lists(queue)
        found = (_waits(each) for each in look(lists, offset, offset + limit, text))
        return [message for message in found if message is not None]

    def find(self, task_id: str, furthest: int) -> Sighting:
        """See ``Broker.find``."""
        queues = sorted(name.decode() for name in self._client.call("SMEMBERS", self._keys.own("queues")))
        lists = [name for queue in queues for name in self._keys.lists(queue)]
        *numbers, _, _ = self._client.run(scripts.STATS, self._keys.prefix, 0, *lists)
        ready = dict(zip(lists, numbers[::2], strict=True))
        delayed, most = sum(numbers[1::2]), furthest * len(queues)
        # What moves while it is looked for moves to the front: from delayed to ready, and within each of the two. So
        # the looks go the same way, each from the back to the front, and nothing slips past them.
        text = _as_written(task_id)
        for first, number in _backwards(min(delayed, most)):
            if found := _of_task(task_id, self._delayed_step((), first, number, text)[2]):
                return found
        beyond = max(0, delayed - most)
        for queue in queues:
            looked = 0
            for name in self._keys.lists(queue):
                looks = min(ready[name], furthest - looked)
                for first, number in _backwards(looks):
                    if found := _of_task(task_id, self._ready_step(name, first, number, text)):
                        found.ahead += looked
                        return found
                looked, beyond = looked + looks, beyond + ready[name] - looks
        return Sighting(beyond=beyond)

    # Plain reads, of some at a time: a script that looks for a text takes ten times as much of the server, nearly all
    # of it for handing the bytes to Lua.

    def _ready(self, lists: Sequence[bytes], first: int, end: int, text: bytes) -> Iterator[_Found]:
        """Those of the ready messages from ``first`` to ``end`` that have the text, the next to be fetched first."""
        *numbers, _, _ = self._client.run(scripts.STATS, self._keys.prefix, 0, *lists)
        for name, length in zip(lists, numbers[::2], strict=True):
            for at in range(max(0, first), min(length, end), _LOOKS):
                yield from self._ready_step(name, at, min(_LOOKS, end - at), text)
            first, end = first - length, end - length

    def _delayed(self, lists: Sequence[bytes], first: int, end: int, text: bytes) -> Iterator[_Found]:
        """Those of the delayed messages of these lists from ``first`` to ``end`` that have the text, the next to fall
        due first."""
        passed = 0
        for rank in range(0, _FURTHEST, _LOOKS):
            looked, ours, found = self._delayed_step(lists, rank, _LOOKS, text)
            yield from (each for each in found if first <= passed + each.at < end)
            passed += ours
            if looked < _LOOKS or passed >= end:
                return

    def _ready_step(self, name: bytes, first: int, number: int, text: bytes) -> list[_Found]:
        """What has the text among so many messages of a list, with the place of each."""
        raws = self._client.call("LRANGE", self._keys.prefix + name, -first - number, -first - 1)
        return [_Found(at, name, None, raw) for at, raw in enumerate(reversed(raws), first) if text in raw]

    def _delayed_step(
        self, lists: Sequence[bytes], first: int, number: int, text: bytes
    ) -> tuple[int, int, list[_Found]]:
        """How many delayed messages were looked at, and how many of them are of these lists (none: any); of those what
        has the text, with its place among them."""
        key = self._keys.own("delayed")
        members = self._client.call("ZRANGE", key, first, first + number - 1, "WITHSCORES")
        ours = [(member, due) for member, due in members if not lists or member[17:] in lists]
        raws = self._client.call("HMGET", self._keys.own("delayed:raw"), *(each for each, _ in ours)) if ours else []
        found = [
            _Found(at, member[17:], float(due), raw)
            for at, ((member, due), raw) in enumerate(zip(ours, raws, strict=True))
            if raw is not None and text in raw
        ]
        return len(members), len(ours), found

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

    def oldest(self, lists: Sequence[bytes], since: Mapping[str, float]) -> dict[str, float]:
        """The age in seconds of the oldest of those that stand first in these lists, by queue, as far as they say, and
        of what waits ``since`` then."""
        now = float(self._client.call("TIME")[0])
        told = self._client.run(scripts.FRONTS, self._keys.prefix, *lists)
        ages = {queue: now - moment for queue, moment in since.items()}
        for name, sent, due in zip(lists, told[::2], told[1::2], strict=True):
            moments = [float(sent)] if sent else []
            if due:
                moments.append(_epoch(due))
            if moments:
                queue = queue_of(name)
                ages[queue] = max(ages.get(queue, 0.0), now - max(moments))
        return ages


def _waits(found: _Found) -> Message | None:
    message = delivery_of(_NOBODY, queue_of(found.name), found.raw).message
    if message is not None:
        message.due = found.due
    return message


def _of_task(task_id: str, found: Iterable[_Found]) -> Sighting | None:
    """The message of a task among those that have its id somewhere."""
    for each in found:
        message = _waits(each)
        if message is not None and message.id == task_id:
            return Sighting(message=message, ahead=each.at if each.due is None else 0)
    return None


def _backwards(number: int) -> Iterator[tuple[int, int]]:
    """Where the steps of a look at so many begin and how many each looks at, the last first."""
    return ((first, min(_LOOKS, number - first)) for first in reversed(range(0, number, _LOOKS)))


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
