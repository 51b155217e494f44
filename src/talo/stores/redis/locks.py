"""Locks and marks on Redis.

Owns the calls of their scripts. Keys: ``talo:lock:<name>``, a string that expires, and ``talo:marks:<kind>``, a zset
whose scores are the ends. Called by ``control``, ``beat`` and the worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from talo.stores.base import Locks
from talo.stores.redis import scripts
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Part

__all__ = ["RedisLocks"]

#: Marks per script.
_STEP = 1000


class RedisLocks(Locks):
    """The locks role of ``RedisStore``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def acquire(self, name: str, holder: str, ttl: float) -> bool:
        ends = max(1, round(ttl * 1000))
        return bool(self._client.run(scripts.ACQUIRE, holder, ends, keys=[self._lock(name)]))

    def release(self, name: str, holder: str) -> bool:
        return bool(self._client.run(scripts.RELEASE, holder, keys=[self._lock(name)]))

    def mark(self, kind: str, marks: Mapping[str, float]) -> None:
        pairs = list(marks.items())
        for at in range(0, len(pairs), _STEP):
            parts: list[Part] = []
            for member, ttl in pairs[at : at + _STEP]:
                parts += (repr(float(ttl)), member)
            self._client.run(scripts.MARK, *parts, keys=[self._marks(kind)])

    def marked(self, kind: str, members: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for at in range(0, len(members), _STEP):
            marked = self._client.run(scripts.MARKED, *members[at : at + _STEP], keys=[self._marks(kind)])
            found.update(member.decode() for member in marked)
        return found

    def all_marked(self, kind: str) -> set[str]:
        return {member.decode() for member in self._client.run(scripts.MARKED, keys=[self._marks(kind)])}

    def unmark(self, kind: str, members: Sequence[str]) -> None:
        if members:
            self._client.call("ZREM", self._marks(kind), *members)

    def _lock(self, name: str) -> bytes:
        return self._client.keys.own(f"lock:{name}")

    def _marks(self, kind: str) -> bytes:
        return self._client.keys.own(f"marks:{kind}")
