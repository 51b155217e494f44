"""streaq takes part in bulk sending only, where it is the fastest of the peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streaq import Worker

from bench.counter import counter
from bench.peers import Peer, url

count = counter()
#: Tasks in a pipeline; shorter and longer ones were slower.
CHUNK = 2_000
worker: Worker[None] = Worker(redis_url=url(), concurrency=100)


@worker.task
async def noop() -> int:
    count.hit()
    return 1


class StreaqPeer(Peer):
    name = "streaq"
    title = "streaq"
    distribution = "streaq"
    sizes: Mapping[str, int] = {"bulk": 20_000}

    def worker(self, measure: str) -> Sequence[Sequence[str]]:
        return [["streaq", "run", "bench.peers.streaq:worker", "--workers", "2"]]

    async def produce(self, n: int) -> None:
        async with worker:
            for _ in range(n):
                await noop.enqueue()

    async def produce_bulk(self, n: int) -> None:
        async with worker:
            for start in range(0, n, CHUNK):
                await worker.enqueue_many([noop.enqueue() for _ in range(min(CHUNK, n - start))])


peer = StreaqPeer()
