"""The ledger on Redis: what waits on another broker, and who has what from there.

Owns the calls of its scripts and reading their answers; the keys are described in ``lua/_ledger.lua``. Called by
``stores.noted``, and by the store's cleanup.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from talo.stores.ledger import KEPT, Count, Entry, Holder, Ledger, Note
from talo.stores.records import Lease
from talo.stores.redis import scripts
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Part

__all__ = ["RedisLedger"]

#: Entries of one script, which Redis runs while everybody waits.
_STEP = 500

_encode = msgspec.msgpack.Encoder().encode
_value: Callable[[bytes], tuple[str, str, float, float]] = msgspec.msgpack.Decoder(tuple[str, str, float, float]).decode


class RedisLedger(Ledger):
    """The ledger role of ``RedisStore``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._prefix = client.keys.prefix

    def enter(self, entries: Sequence[Entry], timeout: float | None = None) -> None:
        deadline = self._client.deadline(timeout)
        for batch in _steps(entries):
            parts: list[Part] = [self._prefix, KEPT]
            for each in batch:
                parts += (each.queue, _field(each), _packed(each), repr(each.since))
            self._client.run(scripts.LEDGER_ENTER, *parts, deadline=deadline)

    def mark(self, ended: Sequence[Lease], held: Sequence[tuple[Entry, Holder]]) -> None:
        leases = [_lease(each) for each in ended]
        latest = {each[0][:2]: each for each in held}.values()
        for over, fetched in _both(leases, latest):
            parts: list[Part] = [self._prefix, KEPT, len(over), *over]
            for entry, holder in fetched:
                parts += (
                    entry.queue,
                    _field(entry),
                    _packed(entry),
                    _lease(holder.lease),
                    repr(holder.at),
                    holder.worker,
                )
            self._client.run(scripts.LEDGER_MARK, *parts)

    def free(self, back: Sequence[tuple[Lease, float | None]]) -> None:
        for batch in _steps(back):
            parts: list[Part] = [self._prefix, KEPT]
            for lease, since in batch:
                parts += (_lease(lease), "" if since is None else repr(since))
            self._client.run(scripts.LEDGER_FREE, *parts)

    def drop(self, entries: Sequence[Entry]) -> None:
        for batch in _steps(entries):
            self._client.run(scripts.LEDGER_DROP, self._prefix, *map(_field, batch))

    def clear(self, queue: str, after: float, until: float) -> None:
        ends = f"({after!r}", repr(until)
        while self._client.run(scripts.LEDGER_CLEAR, self._prefix, queue, *ends, _STEP) == _STEP:
            continue

    def find(self, task_ids: Sequence[str]) -> list[Note]:
        found: list[Note] = []
        for batch in _steps(task_ids):
            told = self._client.run(scripts.LEDGER_FIND, self._prefix, *batch)
            found += map(_note, told[::3], told[1::3], told[2::3])
        return found

    def waiting(self, queue: str, limit: int, offset: int, *, delayed: bool) -> list[Entry]:
        now = repr(time.time())
        ends = (f"({now}", "+inf") if delayed else ("-inf", now)
        fields = self._client.call("ZRANGE", self._wait(queue), *ends, "BYSCORE", "LIMIT", offset, limit)
        # What was struck out meanwhile is none any more.
        return [_entry(field, value) for field, value in self._values("entries", fields) if value is not None]

    def counts(self, queues: Sequence[str]) -> dict[str, Count]:
        if not queues:
            return {}
        told = self._client.run(scripts.LEDGER_COUNT, self._prefix, *queues)
        return {
            queue: Count(ready, both - ready)
            for queue, ready, both in zip(queues, told[::2], told[1::2], strict=True)
            if both
        }

    def since(self, queue: str, rank: int) -> float | None:
        fields = self._client.call("ZRANGE", self._wait(queue), rank, rank)
        # What was struck out meanwhile has none.
        score = self._client.call("ZSCORE", self._wait(queue), *fields) if fields else None
        return None if score is None else float(score)

    def ahead(self, entry: Entry) -> int:
        return int(self._client.call("ZCOUNT", self._wait(entry.queue), "-inf", f"({entry.since!r}"))

    def held(self, limit: int) -> list[Note]:
        fields = self._client.call("ZRANGE", self._client.keys.own("ledger:held"), 0, limit - 1)
        holders = dict(self._values("holders", fields))
        return [
            _note(field, value, holder)
            for field, value in self._values("entries", fields)
            if value is not None and (holder := holders[field]) is not None
        ]

    def cleanup(self, limit: int) -> int:
        """Delete up to ``limit`` entries that nobody has struck out in time; return how many."""
        return int(self._client.run(scripts.LEDGER_CLEANUP, self._prefix, KEPT, min(limit, 2 * _STEP)))

    def _wait(self, queue: str) -> bytes:
        return self._client.keys.own(f"ledger:wait:{queue}")

    def _values(self, name: str, fields: Sequence[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        for batch in _steps(fields):
            yield from zip(
                batch, self._client.call("HMGET", self._client.keys.own(f"ledger:{name}"), *batch), strict=True
            )


def _steps(things: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(things)
    while batch := list(islice(rest, _STEP)):
        yield batch


def _both(some: Iterable[Any], others: Iterable[Any]) -> Iterator[tuple[list[Any], list[Any]]]:
    """Steps of both, in which none of the others comes before the last of the first."""
    first, second = iter(some), iter(others)
    while True:
        batch = list(islice(first, _STEP))
        pair = batch, list(islice(second, _STEP - len(batch)))
        if not any(pair):
            return
        yield pair


def _field(entry: Entry) -> bytes:
    queue = entry.queue.encode()
    return b"%d:%s%s" % (len(queue), queue, entry.id.encode())


def _packed(entry: Entry) -> bytes:
    return _encode(entry[2:])


def _lease(lease: Lease) -> str:
    return f"{lease.token} {lease.owner}"


def _entry(field: bytes, value: bytes) -> Entry:
    length, _, rest = field.partition(b":")
    queue, task_id = rest[: int(length)], rest[int(length) :]
    return Entry(task_id.decode(), queue.decode(), *_value(value))


def _note(field: bytes, value: bytes, holder: bytes) -> Note:
    if not holder:
        return Note(_entry(field, value), None)
    lease, at, worker = holder.decode().split("\n", 2)
    token, owner = lease.split(" ", 1)
    return Note(_entry(field, value), Holder(Lease(owner, int(token)), worker, float(at)))
