"""Giving waiting messages another time.

Owns finding them by their task: among the delayed ones by the index, else by a look at all that waits; moving is one
script. Called by ``broker``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from talo.stores.base import Lease
from talo.stores.redis import scripts
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Part
from talo.stores.redis.deliveries import delivery_of
from talo.stores.redis.keys import queue_of
from talo.wire.envelope import pack

__all__ = ["Rescheduling"]

#: Tasks of one step, messages that one script looks at, and how often it is looked where a task is.
_STEP, _SEEN, _LOOKS = 100, 1000, 3
_NOBODY = Lease("", 0)

#: Task id, member of ``talo:delayed`` (empty: it is ready), list, raw.
_Found = tuple[str, bytes, bytes, bytes]


class Rescheduling:
    """The rescheduling half of the broker."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._keys = client.keys

    def reschedule(self, task_ids: Sequence[str], due: float, prefix: str) -> set[str]:
        """See ``Broker.reschedule``."""
        moved: set[str] = set()
        for at in range(0, len(task_ids), _STEP):
            wanted = set(task_ids[at : at + _STEP])
            # What was seen delayed may be ready by now, and be seen there.
            for _ in range(_LOOKS):
                found = [each for each in self._find(wanted) if queue_of(each[2]).startswith(prefix)]
                done = self._move(found, due)
                moved |= done
                wanted = {task for task, *_ in found} - done
                if not wanted:
                    break
        return moved

    def _find(self, wanted: set[str]) -> list[_Found]:
        found = list(self._indexed(sorted(wanted)))
        missing = wanted - {task for task, *_ in found}
        if missing and self._has_unindexed():
            found += self._seen(b"", missing)
            missing -= {task for task, *_ in found}
        if missing:
            for queue in self._client.call("SMEMBERS", self._keys.own("queues")):
                for name in self._keys.lists(queue.decode()):
                    found += self._seen(name, missing)
        return found

    def _indexed(self, task_ids: Sequence[str]) -> Iterator[_Found]:
        members = self._client.call("HMGET", self._keys.own("delayed:tasks"), *task_ids)
        known = [member for member in members if member]
        raws = self._client.call("HMGET", self._keys.own("delayed:raw"), *known) if known else []
        yield from self._fitting(zip(known, raws, strict=True), b"", set(task_ids))

    def _has_unindexed(self) -> bool:
        """Whether something is delayed that the index does not lead to: by an older release, or twice for one task."""
        indexed = self._client.call("HLEN", self._keys.own("delayed:tasks"))
        return int(self._client.call("ZCARD", self._keys.own("delayed"))) > int(indexed)

    def _seen(self, name: bytes, wanted: set[str]) -> Iterator[_Found]:
        """Those among the delayed ones, or in the list ``name``."""
        at = 0
        while True:
            told = self._client.run(scripts.FIND_WAITING, self._keys.prefix, name, at, _SEEN, *sorted(wanted))
            yield from self._fitting(zip(told[1::2], told[2::2], strict=True), name, wanted)
            at += told[0]
            if told[0] < _SEEN:
                return

    def _fitting(self, items: Iterable[tuple[bytes, bytes | None]], name: bytes, wanted: set[str]) -> Iterator[_Found]:
        for member, raw in items:
            stands = name or member[17:]
            message = delivery_of(_NOBODY, queue_of(stands), raw).message if raw else None
            if raw and message is not None and message.id in wanted:
                yield message.id, member, stands, raw

    def _move(self, found: Sequence[_Found], due: float) -> set[str]:
        """The tasks of those that were still there."""
        if not found:
            return set()
        parts: list[Part] = [self._keys.prefix, repr(due)]
        for _, member, name, raw in found:
            message = delivery_of(_NOBODY, queue_of(name), raw).message
            assert message is not None
            parts += (member, name, b"" if member else raw, pack(message.timed(due)))
        moved = self._client.run(scripts.RESCHEDULE, *parts)
        return {task for (task, *_), done in zip(found, moved, strict=True) if done}
