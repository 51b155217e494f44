"""taskiq on Redis lists with two worker processes; results are asked for every millisecond (its default is 200 ms)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from bench.counter import counter
from bench.peers import Peer, results_wanted, url

count = counter()
broker = ListQueueBroker(url())
if results_wanted():
    broker = broker.with_result_backend(RedisAsyncResultBackend(url()))
#: Sends that are under way at a time in a bulk; more do not make it faster.
CROWD = 500


@broker.task
async def noop() -> int:
    count.hit()
    return 1


@broker.task
async def mark(index: int) -> int:
    count.mark(index)
    return 1


@broker.task
async def nap() -> int:
    await asyncio.sleep(0.01)
    count.hit()
    return 1


class TaskiqPeer(Peer):
    name = "taskiq"
    title = "taskiq"
    distribution = "taskiq"
    sizes: Mapping[str, int] = {
        "drain": 15_000,
        "drain-results": 10_000,
        "enqueue": 6_000,
        "bulk": 8_000,
        "latency": 300,
        "sleep": 12_000,
        "footprint": 1,
    }

    def worker(self, measure: str) -> Sequence[Sequence[str]]:
        slots = ["--max-async-tasks", "50"] if measure == "sleep" else []
        return [["taskiq", "worker", "bench.peers.taskiq:broker", "--workers", "2", "--log-level", "WARNING", *slots]]

    async def produce(self, n: int) -> None:
        for _ in range(n):
            await noop.kiq()

    async def produce_bulk(self, n: int) -> None:
        for start in range(0, n, CROWD):
            await asyncio.gather(*(noop.kiq() for _ in range(min(CROWD, n - start))))

    async def produce_naps(self, n: int) -> None:
        for start in range(0, n, CROWD):
            await asyncio.gather(*(nap.kiq() for _ in range(min(CROWD, n - start))))

    async def call(self, index: int) -> None:
        task = await mark.kiq(index)
        await task.wait_result(check_interval=0.001, timeout=10)


peer = TaskiqPeer()
