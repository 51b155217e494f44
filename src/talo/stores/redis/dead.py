"""Dead letters: kept with their reason until somebody replays or drops them, or their time is over.

Owns the calls of the scripts and reading their answers. The keys are described in ``lua/_dead.lua``. Called by
``broker``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from talo.stores.base import DeadLetter, Death
from talo.stores.redis import scripts
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Part, pack
from talo.stores.redis.deliveries import decoded
from talo.stores.redis.keys import queue_of
from talo.wire.message import Message

__all__ = ["DeadLetters"]

#: Dead letters read at a time.
_PAGE = 200

_decode = msgspec.json.Decoder(Death).decode


class DeadLetters:
    """The dead letter verbs of the broker."""

    def __init__(self, client: Client, sendable: Callable[[Sequence[Message]], list[Part]]) -> None:
        self._client = client
        self._prefix = client.keys.prefix
        self._sendable = sendable

    def page(self, limit: int, offset: int, task: str | None, queue: str | None) -> list[DeadLetter]:
        """See ``Broker.dead``."""
        found: list[DeadLetter] = []
        for letter in self._all():
            if len(found) >= limit:
                break
            if task is not None and _task_of(letter) != task:
                continue
            if queue is not None and letter.queue != queue:
                continue
            if offset:
                offset -= 1
                continue
            found.append(letter)
        return found

    def count(self, most: int, task: str | None, queue: str | None) -> int:
        """See ``Broker.dead_count``."""
        if task is not None or queue is not None:
            return len(self.page(most, 0, task, queue))
        seconds, _ = self._client.call("TIME")
        keys = self._client.keys
        commands = [pack("ZCARD", keys.own("dead")), pack("ZCOUNT", keys.own("dead:ends"), "-inf", seconds)]
        kept, over = self._client.pipeline(commands, self._client.deadline())
        return min(most, max(0, int(kept) - int(over)))

    def _all(self) -> Iterator[DeadLetter]:
        rank = 0
        while True:
            looked_at, *found = self._client.run(scripts.DEAD_LIST, self._prefix, rank, _PAGE)
            yield from _letters(found)
            if looked_at < _PAGE:
                return
            rank += _PAGE

    def get(self, ids: Sequence[str]) -> list[DeadLetter]:
        """See ``Broker.dead_get``."""
        return [*_letters(self._client.run(scripts.DEAD_GET, self._prefix, *ids))] if ids else []

    def replace(self, ids: Sequence[str], messages: Sequence[Message]) -> int:
        """See ``Broker.dead_replace``."""
        names = list(dict.fromkeys(ids))
        parts = self._sendable(messages)
        return int(self._client.run(scripts.DEAD_REPLACE, self._prefix, len(names), *names, *parts))

    def cleanup(self, limit: int) -> int:
        """Delete up to ``limit`` of those whose time is over; return how many."""
        return int(self._client.run(scripts.CLEANUP, self._prefix, limit))


def _task_of(letter: DeadLetter) -> str | None:
    if letter.death.task is not None:
        return letter.death.task
    return letter.message.task if letter.message is not None else None


def _letters(found: Sequence[bytes]) -> Iterator[DeadLetter]:
    for name, item in zip(found[::2], found[1::2], strict=True):
        head, _, rest = item.partition(b"\n")
        died, deliveries, _, *lengths = head.split(b" ")
        parts = []
        for length in lengths:
            cut = int(length)
            parts.append(rest[:cut])
            rest = rest[cut:]
        _, written, list_name = parts
        death = _decode(written)
        queue = death.queue or queue_of(list_name)
        message = decoded(rest, queue)
        yield DeadLetter(
            id=name.decode(),
            queue=queue,
            death=death,
            died=float(died),
            deliveries=int(deliveries),
            message=message,
            raw=rest if message is None else None,
        )
