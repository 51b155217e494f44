"""Celery with its prefork pool and its defaults, ``-c 2``; threads for tasks that sleep."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from celery import Celery, chain, chord, group

from bench.counter import counter
from bench.peers import Peer, backend_url, results_wanted, url

count = counter()
app = Celery("bench", broker=url(), backend=backend_url())
app.conf.task_ignore_result = not results_wanted()
app.conf.broker_connection_retry_on_startup = True


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
def nap() -> int:
    time.sleep(0.01)
    count.hit()
    return 1


class CeleryPeer(Peer):
    name = "celery"
    title = "Celery prefork"
    distribution = "celery"
    lead = 14.0
    sizes: Mapping[str, int] = {
        "drain": 4_000,
        "drain-results": 3_500,
        "enqueue": 4_000,
        "bulk": 4_000,
        "latency": 300,
        "sleep": 3_000,
        "footprint": 1,
        "canvas": 1_000,
        "delayed": 10_000,
        "rabbitmq": 8_000,
        "rabbitmq-results": 5_000,
        "rabbitmq-bulk": 4_000,
    }

    def worker(self, measure: str) -> Sequence[Sequence[str]]:
        pool = ["-P", "threads", "-c", "100"] if measure == "sleep" else ["-c", "2"]
        return [["celery", "-A", "bench.peers.celery", "worker", "-l", "WARNING", *pool]]

    def produce(self, n: int) -> None:
        for _ in range(n):
            noop.delay()

    def produce_bulk(self, n: int) -> None:
        group(noop.s() for _ in range(n)).apply_async()

    def produce_naps(self, n: int) -> None:
        for _ in range(n):
            nap.delay()

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

    def call(self, index: int) -> None:
        mark.delay(index).get(timeout=10)


peer = CeleryPeer()
