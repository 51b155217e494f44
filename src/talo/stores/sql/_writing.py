"""The writing half of the broker: what happens inside one write transaction.

Owns the steps of which send, settle, fetch, take-over and replay are made, each a function of an open transaction. When
it commits is the caller's (``broker``, ``dead``).
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from talo.states import READY_STATES
from talo.stores.base import Death, Delivery, Lease, ResultMeta, Settlement, Verdict
from talo.stores.history import PERIODS, RunRecord, tally
from talo.stores.sql import _groups
from talo.stores.sql._codec import Parcel, delivery, json_list, pack
from talo.wire.message import Message

__all__ = ["Plan", "draw", "insert", "keep", "lease", "move", "promote", "settle", "store_results"]

#: Delayed messages that one turn makes ready at most.
_PROMOTED = 1000
#: Rows over which the writers of one counter are spread.
_SHARDS = 16

_encode_run = msgspec.msgpack.Encoder().encode

Queries = Mapping[str, str]


class Plan:
    """Settlements made ready to be applied: everything that can be done before the lock is taken, or can fail."""

    def __init__(self, settlements: Sequence[Settlement]) -> None:
        self.settlements = settlements
        self.follow = {index: pack(each.follow) for index, each in enumerate(settlements) if each.follow}
        self.deaths = {
            index: msgspec.json.encode(each.death or Death(reason="rejected")).decode()
            for index, each in enumerate(settlements)
            if each.verdict is Verdict.DEAD
        }
        self.results = any(each.result is not None or each.also for each in settlements)
        self.runs = any(each.run is not None for each in settlements)


def draw(connection: sqlite3.Connection, queries: Queries, count: int) -> int:
    """Draw ``count`` numbers; return the first."""
    last: int = connection.execute(queries["draw"], (count,)).fetchone()[0]
    return last - count + 1


def insert(connection: sqlite3.Connection, queries: Queries, parcels: Sequence[Parcel], now: float) -> Counter[str]:
    """Write new messages; return how many waiters of each queue should wake."""
    ready = [each for each in parcels if each.due is None or each.due <= now]
    delayed = [each for each in parcels if each.due is not None and each.due > now]
    first = draw(connection, queries, len(parcels))
    rows = [(first + n, *each[:6]) for n, each in enumerate(ready + delayed)]
    connection.executemany(queries["add_message"], rows)
    if ready:
        connection.execute(queries["add_ready"], (first, first + len(ready) - 1))
    if delayed:
        at = first + len(ready)
        connection.executemany(
            queries["add_delayed"], [(each.due, at + n, each.queue, each.priority) for n, each in enumerate(delayed)]
        )
    # One waiter per queue learns that something falls due earlier than it knows.
    wake = Counter(each.queue for each in ready)
    wake.update({each.queue for each in delayed})
    return wake


def settle(
    connection: sqlite3.Connection, queries: Queries, plan: Plan, now: float
) -> tuple[list[Lease], Counter[str]]:
    """Apply settlements; return the refused leases and how many waiters of each queue should wake."""
    ended = _end_leases(connection, queries, plan.settlements)
    refused = [each.lease for index, each in enumerate(plan.settlements) if index not in ended]
    wake: Counter[str] = Counter()
    gone: list[int] = []
    back: list[tuple[Settlement, int]] = []
    #: Repeated continuations: only their leases end.
    void: set[int] = set()
    thens: list[Message] = []
    for index, message in ended.items():
        settlement = plan.settlements[index]
        if not _groups.apply(connection, queries, settlement, thens, now):
            void.add(index)
            gone.append(message)
            continue
        if settlement.verdict is Verdict.AGAIN:
            back.append((settlement, message))
            continue
        if settlement.verdict is Verdict.DEAD:
            _bury(connection, queries, settlement.death, plan.deaths[index], message, now)
        gone.append(message)
    if gone:
        connection.execute(queries["delete_messages"], (json_list(gone),))
    # Backwards, so that what is given back together keeps its order at the head.
    for settlement, message in reversed(back):
        wake[_give_back(connection, queries, settlement, message, now)] += 1
    applied = ended if not void else [index for index in ended if index not in void]
    if plan.results:
        store_results(connection, queries, _results(plan, applied), now)
    if plan.runs:
        keep(connection, queries, [run for index in applied if (run := plan.settlements[index].run) is not None])
    if plan.follow or thens:
        follow = [parcel for index in applied for parcel in plan.follow.get(index, ())]
        if thens:
            follow += pack(thens)
        if follow:
            wake.update(insert(connection, queries, follow, now))
    return refused, wake


def _end_leases(connection: sqlite3.Connection, queries: Queries, settlements: Sequence[Settlement]) -> dict[int, int]:
    """Delete the leases; return the message of each settlement whose lease there was, in the order of settlements."""
    by_owner: dict[str, dict[int, int]] = {}
    for index, each in enumerate(settlements):
        by_owner.setdefault(each.lease.owner, {}).setdefault(each.lease.token, index)
    ended: dict[int, int] = {}
    for owner, indexes in by_owner.items():
        holder = connection.execute(queries["holder"], (owner,)).fetchone()
        if holder is not None:
            rows = connection.execute(queries["end_leases"], (holder[0], json_list(list(indexes)))).fetchall()
            ended.update((indexes[token], message) for token, message in rows)
    return dict(sorted(ended.items()))


def _bury(
    connection: sqlite3.Connection, queries: Queries, death: Death | None, text: str, message: int, now: float
) -> None:
    task_id, task, expires = (death.task_id, death.task, death.expires) if death else (None, None, None)
    number = draw(connection, queries, 1)
    until = None if expires is None else now + expires
    connection.execute(queries["to_dead"], (message, number, task_id, task, text, now, until))


def _give_back(
    connection: sqlite3.Connection, queries: Queries, settlement: Settlement, message: int, now: float
) -> str:
    if settlement.charge or settlement.suspect:
        connection.execute(queries["charge"], (message, settlement.charge, settlement.suspect))
    if settlement.delay > 0:
        row = connection.execute(queries["to_delayed"], (message, now + settlement.delay)).fetchall()
    else:
        row = connection.execute(queries["to_head"], (message,)).fetchall()
    queue: str = row[0][0]
    return queue


def _results(plan: Plan, ended: Iterable[int]) -> list[ResultMeta]:
    found: list[ResultMeta] = []
    for index in ended:
        settlement = plan.settlements[index]
        if settlement.result is not None:
            found.append(settlement.result)
        found.extend(settlement.also)
    return found


def store_results(connection: sqlite3.Connection, queries: Queries, results: Iterable[ResultMeta], now: float) -> None:
    """Store results; a SUCCESS stays what it is."""
    connection.executemany(
        queries["store_result"],
        [
            (
                each.task_id,
                each.status,
                each.status in READY_STATES,
                each.payload,
                None if each.expires is None else now + each.expires,
                now,
            )
            for each in results
        ],
    )


def keep(connection: sqlite3.Connection, queries: Queries, runs: Sequence[RunRecord]) -> None:
    """Count these runs, and write those that are kept into the history."""
    # Writers of one shard wait for each other where rows are locked, so each process has its own, as far as they go.
    shard = os.getpid() % _SHARDS
    connection.executemany(
        queries["add_count"],
        [
            (width, int(minute) * 60 // width * width, *names, kind, bucket, shard, count, micros)
            for (minute, *names), sums in tally(runs).items()
            for kind, bucket, count, micros in sums.entries()
            for width, _ in PERIODS
        ],
    )
    kept = [run for run in runs if run.keep is not None]
    if not kept:
        return
    first = draw(connection, queries, len(kept))
    connection.executemany(queries["add_history"], [_searched(first + n, run) for n, run in enumerate(kept)])
    connection.executemany(queries["add_history_detail"], [(first + n, _encode_run(run)) for n, run in enumerate(kept)])


def _searched(seq: int, run: RunRecord) -> tuple[Any, ...]:
    root = run.root if run.root != run.id else None
    place = run.name, run.queue, run.worker, run.id, run.attempt, root
    return seq, run.ended, run.state, *place, run.fingerprint, run.error, run.ended + (run.keep or 0.0)


def promote(connection: sqlite3.Connection, queries: Queries, now: float) -> Counter[str]:
    """Make due messages ready, behind what waits, in bounded number; return how many there are now per queue."""
    rows = connection.execute(queries["due"], (now, _PROMOTED)).fetchall()
    if not rows:
        return Counter()
    place = draw(connection, queries, len(rows))
    connection.executemany(
        queries["place_ready"],
        [(queue, priority, place + n, message) for n, (_, message, queue, priority) in enumerate(rows)],
    )
    connection.execute(queries["leave_delayed"], rows[-1][:2])
    return Counter(row[2] for row in rows)


def lease(
    connection: sqlite3.Connection,
    queries: Queries,
    holder: int,
    owner: str,
    queues: Sequence[str],
    limit: int,
    order: str,
) -> list[Delivery]:
    """Lease up to ``limit`` ready messages, an even share of each queue first, then whatever there is."""
    rows: list[Any] = []
    dry: set[str] = set()
    while len(rows) < limit and len(dry) < len(queues):
        wet = [queue for queue in queues if queue not in dry]
        for at, queue in enumerate(wet):
            share = -(-(limit - len(rows)) // (len(wet) - at))
            if share <= 0:
                break
            found = _take(connection, queries, queue, share, order)
            if len(found) < share:
                dry.add(queue)
            rows += found
    if not rows:
        return []
    first = draw(connection, queries, len(rows))
    connection.executemany(queries["add_lease"], [(holder, first + n, row[0]) for n, row in enumerate(rows)])
    return [delivery(owner, first + n, row) for n, row in enumerate(rows)]


def _take(connection: sqlite3.Connection, queries: Queries, queue: str, count: int, order: str) -> list[Any]:
    """Take messages out of a queue, the most urgent first, of these the oldest."""
    rows: list[Any] = []
    level = connection.execute(queries[f"most_urgent_{order}"], (queue,)).fetchone()[0]
    while level is not None:
        found = connection.execute(queries["ready"], (queue, level, count - len(rows))).fetchall()
        if found:
            connection.execute(queries["leave_ready"], (queue, level, found[-1][7], found[-1][0]))
            rows += found
        if len(rows) >= count:
            break
        level = connection.execute(queries[f"less_urgent_{order}"], (queue, level)).fetchone()[0]
    return rows


def move(
    connection: sqlite3.Connection, queries: Queries, source: int, target: int, by: str, limit: int
) -> list[Delivery]:
    """Give up to ``limit`` leases of ``source`` to ``target`` under new tokens, oldest first."""
    rows = connection.execute(queries["held"], (source, limit)).fetchall()
    if not rows:
        return []
    connection.execute(queries["leave_leases"], (source, rows[-1][7]))
    first = draw(connection, queries, len(rows))
    connection.executemany(queries["add_lease"], [(target, first + n, row[0]) for n, row in enumerate(rows)])
    return [delivery(by, first + n, row, former=row[7]) for n, row in enumerate(rows)]
