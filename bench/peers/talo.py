"""Talo: ``worker -c 2``, defaults; a hundred slots of asyncio for tasks that sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from bench.counter import counter
from bench.peers import Peer, backend_url, results_wanted, sqlite_path, url
from talo import Talo, chain, chord, group

count = counter()
embedded = f"sqlite:///{sqlite_path()}" if sqlite_path() else None
app = Talo("bench", broker=embedded or url(), backend=embedded or backend_url())
app.conf.task_ignore_result = not results_wanted()


@app.task
def noop() -> int:
    count.hit()
    return 1


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
def mark(index: int) -> int:
    count.mark(index)
    return 1


@app.task
async def nap() -> int:
    await asyncio.sleep(0.01)
    count.hit()
    return 1


class TaloPeer(Peer):
    name = "talo"
    title = "Talo"
    distribution = "talo"
    lead = 4.0
    sizes: Mapping[str, int] = {
        "drain": 200_000,
        "drain-results": 100_000,
        "enqueue": 10_000,
        "bulk": 100_000,
        "latency": 300,
        "sleep": 20_000,
        "footprint": 1,
        "canvas": 1_000,
        "delayed": 10_000,
        "sqlite": 60_000,
        "postgres": 60_000,
        "postgres-bulk": 100_000,
        "postgres-wake": 200,
        "history": 100_000,
        "history-sqlite": 60_000,
        "history-postgres": 40_000,
        "rabbitmq": 60_000,
        "rabbitmq-results": 40_000,
        "rabbitmq-bulk": 100_000,
    }

    def worker(self, measure: str) -> Sequence[Sequence[str]]:
        command = ["talo", "-A", "bench.peers.talo", "worker", "-l", "WARNING"]
        pool = ["-P", "asyncio", "-c", "100", "--children", "2"] if measure == "sleep" else ["-c", "2"]
        return [[*command, *pool]]

    def environment(self, measure: str) -> Mapping[str, str]:
        return {"TALO_HISTORY": "off"} if measure.endswith("-off") else {}

    def produce(self, n: int) -> None:
        for _ in range(n):
            noop.delay()

    def produce_bulk(self, n: int) -> None:
        app.send_many((noop, (), {}, {}) for _ in range(n))

    def produce_naps(self, n: int) -> None:
        app.send_many((nap, (), {}, {}) for _ in range(n))

    def produce_due(self, dues: Sequence[float]) -> None:
        for index, due in enumerate(dues):
            mark.apply_async((index,), countdown=due - time.time())

    def workflow(self, name: str, n: int) -> None:
        if name == "chord":
            assert chord([add.s(i, i) for i in range(n)], total.s()).apply_async().get(timeout=60) == n * (n - 1)
        elif name == "group":
            assert len(group(add.s(i, i) for i in range(n)).apply_async().get(timeout=60)) == n
        else:
            steps = [add.s(0, 1), *(add.s(1) for _ in range(n - 1))]
            assert chain(*steps).apply_async().get(timeout=60) == n

    def send_mark(self, index: int) -> None:
        mark.delay(index)

    def call(self, index: int) -> None:
        mark.delay(index).get(timeout=10)


peer = TaloPeer()
