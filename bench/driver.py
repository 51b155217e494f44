"""The producing side of a measurement, in a process of its own; it prints one line of JSON.

Started by the lab only: ``python -m bench.driver PEER VERB NUMBER...``. All of a verb runs in one event loop, so that
a peer with an asynchronous client pays for no loop that it would not have.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from bench.counter import counter
from bench.peers import Peer, load

WARM_UP = 50
#: Seconds between two calls, so that the worker is idle again.
GAP = 0.005

Report = dict[str, Any]


async def _finish(outcome: Awaitable[None] | None) -> None:
    if outcome is not None:
        await outcome


async def prepare(peer: Peer) -> Report:
    """Make the tables that a peer needs before its workers start."""
    await _finish(peer.prepare())
    return {}


async def produce(peer: Peer, n: float) -> Report:
    """Send one by one, after a warm-up that opens the connection."""
    return await _timed(peer.produce, int(n))


async def bulk(peer: Peer, n: float) -> Report:
    """Send in bulk."""
    return await _timed(peer.produce_bulk, int(n))


async def group(peer: Peer, n: float) -> Report:
    """Send one group."""
    return await _timed(peer.produce_group, int(n))


async def _timed(send: Callable[[int], Awaitable[None] | None], n: int) -> Report:
    await _finish(send(WARM_UP))
    began = time.perf_counter()
    await _finish(send(n))
    return {"sent": n + WARM_UP, "rate": n / (time.perf_counter() - began)}


async def fill(peer: Peer, n: float) -> Report:
    """Queue ``n`` no-op tasks, untimed."""
    await _finish(peer.produce_bulk(int(n)))
    return {}


async def naps(peer: Peer, n: float) -> Report:
    """Queue ``n`` tasks that sleep, untimed."""
    await _finish(peer.produce_naps(int(n)))
    return {}


async def due(peer: Peer, n: float, start: float, span: float) -> Report:
    """Send ``n`` tasks due evenly over ``span`` seconds from ``start`` on; say how long before that it was ready."""
    await _finish(peer.produce_due([start + span * index / n for index in range(int(n))]))
    return {"spare": start - time.time()}


async def latency(peer: Peer, n: float, limit: float) -> Report:
    """Call and wait, ``n`` times in at most ``limit`` seconds; microseconds to the first line and to the result."""
    count = counter()
    starts, results = [], []
    for index in range(WARM_UP):
        await _finish(peer.call(index))
    deadline = time.monotonic() + limit
    for index in range(1000, 1000 + int(n)):
        began = time.time()
        outcome = peer.call(index)
        if outcome is not None:
            await outcome
        ended = time.time()
        starts.append((count.moment(index) - began) * 1e6)
        results.append((ended - began) * 1e6)
        if time.monotonic() > deadline:
            break
        time.sleep(GAP)
    return {"starts": starts, "results": results}


async def wake(peer: Peer, n: float, limit: float) -> Report:
    """Send a task to idle workers, ``n`` times in at most ``limit`` seconds; microseconds to its first line."""
    count, starts = counter(), []
    deadline = time.monotonic() + limit
    for index in range(WARM_UP + int(n)):
        began = time.time()
        await _finish(peer.send_mark(index))
        while not count.moment(index):
            await asyncio.sleep(0.0005)
            if time.monotonic() > deadline + 10:
                raise TimeoutError(f"task {index} did not start")
        if index >= WARM_UP:
            starts.append((count.moment(index) - began) * 1e6)
        if time.monotonic() > deadline and len(starts) > 1:
            break
        await asyncio.sleep(GAP)
    return {"starts": starts}


async def canvas(peer: Peer, n: float) -> Report:
    """Seconds from sending a workflow to having its result: median of three, the first one not counted."""
    report: Report = {}
    for name, size in (("chord", n), ("group", n), ("chain", n / 5)):
        spans = []
        for _ in range(4):
            began = time.perf_counter()
            await _finish(peer.workflow(name, int(size)))
            spans.append(time.perf_counter() - began)
        report[name] = sorted(spans[1:])[1]
    return report


VERBS = {verb.__name__: verb for verb in (prepare, produce, bulk, group, fill, naps, due, latency, wake, canvas)}


def main(name: str, verb: str, *numbers: str) -> None:
    report = uvloop.run(VERBS[verb](load(name), *map(float, numbers)))
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
