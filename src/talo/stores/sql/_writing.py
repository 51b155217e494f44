"""The writing half of the broker: what happens inside one write transaction.

Owns the steps of which send, settle, fetch, take-over and replay are made, each a function of an open transaction. When
it commits is the caller's (``broker``, ``dead``). What several transactions may want is locked in one order by all:
owners, leases, groups, results, each by name.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from talo.states import READY_STATES, SUCCESS
from talo.stores.base import Death, Delivery, Lease, ResultMeta, Settlement, Verdict
from talo.stores.history import CELLS, PERIODS, RunRecord, tally
from talo.stores.sql import _groups
from talo.stores.sql._codec import Parcel, delivery, pack, timed
from talo.stores.sql._fronts import Fronts
from talo.stores.sql.database import RESULTS, Row, Session

__all__ = ["Plan", "insert", "keep", "lease", "move", "promote", "reschedule", "settle", "store_results"]

#: Delayed messages that one turn makes ready at most.
_PROMOTED = 1000
#: Rows over which the writers of one counter are spread.
_SHARDS = 16
#: Every settlement is asked for these; to look one up through its class takes Python 3.11 long.
_AGAIN, _DEAD = Verdict.AGAIN, Verdict.DEAD

_encode_run = msgspec.msgpack.Encoder().encode


class Plan:
    """Settlements made ready to be applied: everything that can be done before the lock is taken, or can fail."""

    def __init__(self, settlements: Sequence[Settlement], limit: int | None = None) -> None:
        self.settlements = settlements
        self.follow = {index: pack(each.follow, limit) for index, each in enumerate(settlements) if each.follow}
        self.deaths = {
            index: msgspec.json.encode(each.death or Death(reason="rejected")).decode()
            for index, each in enumerate(settlements)
            if each.verdict is _DEAD
        }
        self.results = any(each.result is not None or each.also for each in settlements)
        self.runs = any(each.run is not None for each in settlements)


def insert(tx: Session, parcels: Sequence[Parcel]) -> Counter[str]:
    """Write new messages; return how many waiters of each queue should wake."""
    now = tx.now
    ready = [each for each in parcels if each.due is None or each.due <= now]
    delayed = [each for each in parcels if each.due is not None and each.due > now]
    numbers = list(tx.draw(len(parcels)))
    tx.many("add_message", [(number, *each[:6]) for number, each in zip(numbers, ready + delayed, strict=True)])
    if ready:
        made = numbers[: len(ready)]
        tx.run("add_ready", made, made[0], made[-1])
    later = zip(numbers[len(ready) :], delayed, strict=True)
    tx.many("add_delayed", [(each.due, number, each.queue, each.priority, each.task_id) for number, each in later])
    # One waiter per queue learns that something falls due earlier than it knows.
    wake = Counter(each.queue for each in ready)
    wake.update({each.queue for each in delayed})
    return wake


def settle(tx: Session, plan: Plan) -> tuple[list[Lease], Counter[str]]:
    """Apply settlements; return the refused leases and how many waiters of each queue should wake."""
    ended = _end_leases(tx, plan.settlements)
    refused = [each.lease for index, each in enumerate(plan.settlements) if index not in ended]
    # Of repeated continuations only the leases end.
    void, thens = _groups.apply(tx, {index: plan.settlements[index] for index in ended})
    gone: list[int] = []
    back: list[tuple[Settlement, int]] = []
    buried: list[tuple[int, int]] = []
    for index, message in ended.items():
        settlement = plan.settlements[index]
        if settlement.verdict is _AGAIN and index not in void:
            back.append((settlement, message))
            continue
        if settlement.verdict is _DEAD and index not in void:
            buried.append((index, message))
        gone.append(message)
    if buried:
        _bury(tx, plan, buried)
    if gone:
        tx.run("delete_messages", gone)
    wake = _give_back(tx, back) if back else Counter[str]()
    applied = [index for index in ended if index not in void] if void else ended
    if plan.results:
        store_results(tx, _results(plan, applied))
    if plan.runs:
        keep(tx, [run for index in applied if (run := plan.settlements[index].run) is not None])
    follow = [parcel for index in applied for parcel in plan.follow.get(index, ())] if plan.follow else []
    if thens:
        follow += pack(thens)
    if follow:
        wake.update(insert(tx, follow))
    return refused, wake


def _end_leases(tx: Session, settlements: Sequence[Settlement]) -> dict[int, int]:
    """Delete the leases; return the message of each settlement whose lease there was, in the order of settlements."""
    by_owner: dict[str, dict[int, int]] = {}
    for index, each in enumerate(settlements):
        by_owner.setdefault(each.lease.owner, {}).setdefault(each.lease.token, index)
    ended: dict[int, int] = {}
    for owner in sorted(by_owner):
        indexes = by_owner[owner]
        holder = tx.row("holder", owner)
        if holder is not None:
            rows = tx.rows("end_leases", holder[0], list(indexes))
            ended.update((indexes[token], message) for token, message in rows)
    return dict(sorted(ended.items()))


def _bury(tx: Session, plan: Plan, buried: Sequence[tuple[int, int]]) -> None:
    rows = []
    for number, (index, message) in zip(tx.draw(len(buried)), buried, strict=True):
        death = plan.settlements[index].death
        task_id, task, queue, expires = (
            (death.task_id, death.task, death.queue, death.expires) if death else (None,) * 4
        )
        until = None if expires is None else tx.now + expires
        rows.append((message, number, task_id, task, plan.deaths[index], tx.now, until, queue))
    tx.many("to_dead", rows)


def _give_back(tx: Session, back: Sequence[tuple[Settlement, int]]) -> Counter[str]:
    """Make the messages ready ahead of what waits, those of one batch in their order, or delayed."""
    now = tx.now
    charged = [(message, int(it.charge), int(it.suspect)) for it, message in back if it.charge or it.suspect]
    tx.many("charge", charged)
    heads = {row[0]: row[1:] for row in tx.rows("heads", [message for _, message in back])}
    least: dict[tuple[str, int], int] = {}
    ready, delayed = [], []
    # Backwards, so that what is given back together keeps its order at the head.
    for settlement, message in reversed(back):
        queue, priority, task_id, head = heads[message]
        if settlement.delay > 0:
            delayed.append((now + settlement.delay, message, queue, priority, task_id))
        else:
            place = least[queue, priority] = least.get((queue, priority), min(0, head or 0)) - 1
            ready.append((queue, priority, place, message))
    tx.many("place_ready", ready)
    tx.many("add_delayed", delayed)
    return Counter(heads[message][0] for _, message in back)


def _results(plan: Plan, ended: Iterable[int]) -> list[ResultMeta]:
    found: list[ResultMeta] = []
    for index in ended:
        settlement = plan.settlements[index]
        if settlement.result is not None:
            found.append(settlement.result)
        found.extend(settlement.also)
    return found


def store_results(tx: Session, results: Iterable[ResultMeta]) -> None:
    """Store results; a SUCCESS stays what it is."""
    last: dict[str, ResultMeta] = {}
    for each in results:
        before = last.get(each.task_id)
        if before is None or before.status != SUCCESS or each.status == SUCCESS:
            last[each.task_id] = each
    now = tx.now
    tx.many(
        "store_result",
        [
            (
                each.task_id,
                each.status,
                int(each.status in READY_STATES),
                each.payload,
                None if each.expires is None else now + each.expires,
                now,
            )
            for _, each in sorted(last.items())
        ],
    )
    if last:
        tx.tell(RESULTS)


def keep(tx: Session, runs: Sequence[RunRecord]) -> None:
    """Count these runs, and write those that are kept into the history."""
    # Writers of one row wait for each other where rows are locked: each process has rows of its own, as far as they go.
    shard = os.getpid() % _SHARDS
    counters: dict[tuple[Any, ...], list[int]] = {}
    for (minute, *names), sums in tally(runs).items():
        cells = sums.cells()
        for width, _ in PERIODS:
            key = width, int(minute) * 60 // width * width, *names, shard
            counter = counters.setdefault(key, [0] * CELLS)
            for at, more in cells.items():
                counter[at] += more
    # In one order for all, so that two of them never wait for each other.
    tx.many("add_count", [(*key, *counters[key]) for key in sorted(counters)])
    kept = [run for run in runs if run.keep is not None]
    if kept:
        numbered = list(zip(tx.draw(len(kept)), kept, strict=True))
        tx.many("add_history", [_searched(number, run) for number, run in numbered])
        tx.many("add_history_detail", [(number, _encode_run(run)) for number, run in numbered])


def _searched(number: int, run: RunRecord) -> tuple[Any, ...]:
    root = run.root if run.root != run.id else None
    place = run.name, run.queue, run.worker, run.id, run.attempt, root
    return number, run.ended, run.state, *place, run.fingerprint, run.error, run.ended + (run.keep or 0.0)


def promote(tx: Session) -> Counter[str]:
    """Make due messages ready, behind what waits, in bounded number; return how many there are now per queue."""
    rows = sorted(tx.rows("due", tx.now, _PROMOTED))
    if not rows:
        return Counter()
    places = tx.draw(len(rows))
    tx.many(
        "place_ready",
        [(queue, priority, place, message) for place, (_, message, queue, priority) in zip(places, rows, strict=True)],
    )
    tx.run("leave_delayed", rows[-1][0], rows[-1][1], [row[1] for row in rows])
    return Counter(row[2] for row in rows)


def reschedule(tx: Session, found: Mapping[str, Sequence[Row]], due: float) -> tuple[set[str], Counter[str]]:
    """Make what ``found`` names, rows of the steps of that name, wait until ``due``; return the tasks whose message was
    still there, and how many waiters of each queue should wake. A ready message that is due already stays in its
    place."""
    ready, delayed = [], []
    moved: set[str] = set()
    for step, rows in found.items():
        for first, message, queue, priority, task_id in sorted(rows):
            if not tx.run(step, first, message, queue, priority):
                continue
            moved.add(task_id)
            [(head,)] = tx.rows("head", message)
            tx.run("put_head", message, timed(queue, priority, head, due))
            if due > tx.now:
                delayed.append((due, message, queue, priority, task_id))
            else:
                # A ready one goes back to its place: it was due before.
                ready.append((queue, priority, first if step == "take_ready" else tx.draw(1)[0], message))
    tx.many("place_ready", ready)
    tx.many("add_delayed", delayed)
    return moved, Counter([row[0] for row in ready] + [row[2] for row in delayed])


def lease(
    tx: Session, holder: int, owner: str, queues: Sequence[str], limit: int, order: str, fronts: Fronts
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
            found = _take(tx, queue, share, order, fronts)
            if len(found) < share:
                dry.add(queue)
            rows += found
    if not rows:
        return []
    tokens = tx.draw(len(rows))
    tx.many("add_lease", [(holder, token, row[0]) for token, row in zip(tokens, rows, strict=True)])
    return [delivery(owner, token, row) for token, row in zip(tokens, rows, strict=True)]


def _take(tx: Session, queue: str, count: int, order: str, fronts: Fronts) -> list[Any]:
    """Take messages out of a queue, the most urgent first, of these the oldest."""
    rows: list[Any] = []
    [[level]] = tx.rows(f"most_urgent_{order}", queue)
    while level is not None:
        found = fronts.take(tx, queue, level, count - len(rows))
        if found:
            tx.run("leave_ready", queue, level, found[-1][7], found[-1][0], [row[0] for row in found])
            rows += found
        if len(rows) >= count:
            break
        [[level]] = tx.rows(f"less_urgent_{order}", queue, level)
    return rows


def move(tx: Session, source: int, target: int, by: str, limit: int) -> list[Delivery]:
    """Give up to ``limit`` leases of ``source`` to ``target`` under new tokens, oldest first."""
    rows = tx.rows("held", source, limit)
    if not rows:
        return []
    tx.run("leave_leases", source, rows[-1][7])
    tokens = tx.draw(len(rows))
    tx.many("add_lease", [(target, token, row[0]) for token, row in zip(tokens, rows, strict=True)])
    return [delivery(by, token, row, former=row[7]) for token, row in zip(tokens, rows, strict=True)]
