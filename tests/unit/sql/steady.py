"""Work that goes on: a process in which tasks come and go at a steady rate while a test looks at something else.

Owns what comes and how it ends: for each message that is taken another is there, so queues stay as long as they are. A
janitor, as each worker has one, deletes what has expired.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

from talo.stores.base import Delivery, Settlement, Verdict
from talo.stores.url import open_store
from talo.worker.janitor import Janitor
from tests.chaos.kit import SEED
from tests.unit.sql.churning import fork
from tests.unit.sql.multitude import done, sent
from tests.workers import client

__all__ = ["QUEUES", "work_beside"]

#: One in which much waits, and one that is nearly always empty.
DEEP, BRIEF = QUEUES = ["q", "brief"]
_OWNER = "beside"
#: Tasks in a second, and of one turn.
_RATE, _BATCH = 1000, 50
_URGENT = 9
#: Seconds for which results and runs are kept.
_KEPT = 600.0
#: Seconds, at most, after which something falls due.
_SOON = 5.0
#: Seconds between two looks of the janitor's whether it has to do something.
_TICK = 0.1


@contextlib.contextmanager
def work_beside(url: str) -> Iterator[Synchronized[int]]:
    """Another process works until the end of the block; yields how many tasks it has ended so far."""
    stop, count = fork.Event(), fork.Value("q", 0)
    process = fork.Process(target=_work, args=(url, stop, count), daemon=True)
    process.start()
    try:
        yield count
        assert process.is_alive(), "what should work beside has ended"
    finally:
        stop.set()
        process.join(60)
        process.kill()


def _work(url: str, stop: Event, count: Synchronized[int]) -> None:
    janitor = threading.Thread(target=_sweep, args=(url, stop))
    janitor.start()
    rng = random.Random(SEED)
    store = open_store(url, timeout=60)
    store.broker.open(_OWNER, worker="w", slots=1, lease=1e6)
    settlements: list[Settlement] = []
    began = time.monotonic()
    while not stop.wait(max(0.0, began + count.value / _RATE - time.monotonic())):
        deliveries = store.broker.turn(settlements, _OWNER, QUEUES, _BATCH).deliveries
        count.value += len(settlements)
        settlements = [_end(each, rng) for each in deliveries]
    store.broker.settle(settlements)
    store.close()
    janitor.join()


def _end(delivery: Delivery, rng: random.Random) -> Settlement:
    """Most go well, and another comes in its place: at the end of the queue, ahead of others, or soon in the other
    queue. A few come back."""
    way = rng.random()
    if way < 0.05:
        return Settlement(lease=delivery.lease, verdict=Verdict.AGAIN, charge=True)
    if way < 0.1:
        return Settlement(lease=delivery.lease, verdict=Verdict.AGAIN, delay=_SOON * rng.random())
    if way < 0.2:
        return done(delivery, keep=_KEPT, follow=[sent(BRIEF, due=time.time() + _SOON * rng.random())])
    return done(delivery, keep=_KEPT, follow=[sent(DEEP, priority=_URGENT if way < 0.25 else 0)])


def _sweep(url: str, stop: Event) -> None:
    with client(url) as app:
        janitor = Janitor(app, _OWNER)
        while not stop.wait(_TICK):
            janitor.sweep(time.monotonic())
