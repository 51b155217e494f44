"""dramatiq on Redis, tuned: one thread a process, a prefetch of 200, only the retries middleware; more to wait."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Retries
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from bench.counter import counter
from bench.peers import Peer, results_wanted, url

count = counter()
#: It logs a warning for each value that nobody stores.
ANSWER = 1 if results_wanted() else None
broker = RedisBroker(url=url(), middleware=[Retries()])
if results_wanted():
    broker.add_middleware(Results(backend=RedisBackend(url=url()), store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop() -> int | None:
    count.hit()
    return ANSWER


@dramatiq.actor
def mark(index: int) -> int | None:
    count.mark(index)
    return ANSWER


@dramatiq.actor
def nap() -> None:
    time.sleep(0.01)
    count.hit()


class DramatiqPeer(Peer):
    name = "dramatiq"
    title = "dramatiq"
    distribution = "dramatiq"
    sizes: Mapping[str, int] = {
        "drain": 25_000,
        "drain-results": 12_000,
        "enqueue": 8_000,
        "bulk": 8_000,
        "latency": 300,
        "sleep": 10_000,
        "footprint": 1,
        "delayed": 10_000,
    }
    threads: Mapping[str, str] = {"drain": "1", "drain-results": "1", "sleep": "50"}

    def worker(self, measure: str) -> Sequence[Sequence[str]]:
        return [["dramatiq", "bench.peers.dramatiq", "-p", "2", "-t", self.threads.get(measure, "8"), "--skip-logging"]]

    def environment(self, measure: str) -> Mapping[str, str]:
        return {"dramatiq_queue_prefetch": "200"} if measure.startswith("drain") else {}

    def produce(self, n: int) -> None:
        for _ in range(n):
            noop.send()

    def produce_bulk(self, n: int) -> None:
        dramatiq.group([noop.message() for _ in range(n)]).run()

    def produce_naps(self, n: int) -> None:
        for _ in range(n):
            nap.send()

    def produce_due(self, dues: Sequence[float]) -> None:
        for index, due in enumerate(dues):
            mark.send_with_options(args=(index,), delay=int((due - time.time()) * 1000))

    def call(self, index: int) -> None:
        mark.send(index).get_result(block=True, timeout=10_000)


peer = DramatiqPeer()
