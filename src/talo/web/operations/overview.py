"""The overview: is it well? Backlog and its age, rates, latencies, workers, schedules that are late.

Owns putting the numbers together; all of them are durable facts."""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec

from talo.control.queues import queue_stats
from talo.errors import NotSupported
from talo.stores.base import QueueStats, delayed_in
from talo.web.desk import Desk
from talo.web.operation import Nothing, reads
from talo.web.operations._counting import Total, series, window
from talo.web.operations.workers import durable

__all__ = ["Asked", "overview", "pulse"]

#: Seconds after which a schedule that should have run is late: another beat has taken over by then.
LATE = 30.0
#: Dead letters are counted up to this.
MOST_DEAD = 1000
#: Minutes over which "now" rates are taken.
RECENT = 5

Window = Literal["1h", "6h", "24h", "7d"]


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """``window``: how far back."""

    window: Window = "1h"


@reads("/overview", Asked)
def overview(desk: Desk, asked: Asked) -> dict[str, Any]:
    """Is it well: backlog, rates, failures, latencies, workers, schedules."""
    now = time.time()
    stats = queue_stats(desk.app)
    nodes = durable(desk)
    queues, tasks = desk.paused()
    facts: dict[str, Any] = {
        "now": now,
        "window": asked.window,
        "backlog": _backlog(stats),
        "queues": sorted((msgspec.to_builtins(each) for each in stats), key=lambda each: -each["ready"])[:8],
        "workers": {
            "alive": sum(node["alive"] for node in nodes),
            "silent": sum(not node["alive"] for node in nodes),
            "slots": sum(node["slots"] for node in nodes if node["alive"]),
            "held": sum(node["held"] for node in nodes),
        },
        "paused": {"queues": sorted(queues), "tasks": sorted(tasks)},
        "dead": desk.broker.dead_count(MOST_DEAD),
        "dead_most": MOST_DEAD,
        "schedules": _schedules(desk, now),
        "history": desk.has_history,
    }
    if desk.has_history:
        facts |= _counted(desk, asked.window, now)
        growth = desk.growth(_all(facts["backlog"]), now)
        facts["rate_in"] = None if growth is None else max(0.0, facts["rate_out"] + growth)
    return facts


def _backlog(stats: list[QueueStats]) -> dict[str, Any]:
    ages = [each.oldest for each in stats if each.oldest is not None]
    return {
        "ready": sum(each.ready for each in stats),
        "delayed": delayed_in(stats),
        "leased": sum(each.leased for each in stats),
        "oldest": max(ages, default=None),
    }


def _all(backlog: dict[str, Any]) -> int:
    return int(backlog["ready"] + (backlog["delayed"] or 0) + backlog["leased"])


def _counted(desk: Desk, name: str, now: float) -> dict[str, Any]:
    since, step, bars = window(name, now)
    counts = desk.counters(since, step, now)
    total = Total()
    for count in counts:
        total.add(count)
    recent = Total()
    for count in desk.counters(now - 60 * RECENT, 60, now):
        recent.add(count)
    # The first of these minutes may be cut, the last one is going on.
    rate = recent.ended / (60 * RECENT + now % 60)
    kinds = desk.history.failures(since, 5)
    return {
        "total": total.facts(),
        "rate_out": rate,
        "series": series(counts, since, step, bars),
        "step": step,
        "failures": [
            {
                "fingerprint": each.fingerprint,
                "name": each.name,
                "error": each.example.error,
                "count": each.count,
                "last": each.last,
            }
            for each in kinds
        ],
    }


def _schedules(desk: Desk, now: float) -> dict[str, Any] | None:
    try:
        plans = desk.schedules.list()
    except NotSupported:
        return None
    late = [each.name for each in plans if each.next_run is not None and each.next_run < now - LATE]
    return {"number": len(plans), "late": late}


@reads("/pulse", Nothing)
def pulse(desk: Desk, _: Nothing) -> dict[str, Any]:
    """The few numbers that change all the time; what the live stream sends."""
    now = time.time()
    backlog = _backlog(queue_stats(desk.app))
    ended = sum(count.count for count in desk.counters(now - 120, 60, now))
    desk.growth(_all(backlog), now)
    alive = sum(node["alive"] for node in durable(desk))
    return {**backlog, "workers": alive, "ended": ended, "now": now}
