"""huey on Redis with two worker processes and result notification, and on SQLite; threads for tasks that sleep."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence

from huey import RedisHuey, SqliteHuey

from bench.counter import counter
from bench.peers import Peer, results_wanted, sqlite_path, url

count = counter()
if sqlite_path():
    huey = SqliteHuey("bench", filename=sqlite_path(), results=results_wanted())
else:
    huey = RedisHuey("bench", url=url(), results=results_wanted(), notify_result=results_wanted())


@huey.task()
def noop() -> int:
    count.hit()
    return 1


@huey.task()
def mark(index: int) -> int:
    count.mark(index)
    return 1


@huey.task()
def nap() -> int:
    time.sleep(0.01)
    count.hit()
    return 1


class HueyPeer(Peer):
    name = "huey"
    title = "huey"
    distribution = "huey"
    sizes: Mapping[str, int] = {
        "drain": 15_000,
        "drain-results": 10_000,
        "enqueue": 10_000,
        "bulk": 10_000,
        "latency": 300,
        "sleep": 6_000,
        "footprint": 1,
        "delayed": 10_000,
        "sqlite": 12_000,
        "sqlite-wake": 200,
    }

    def worker(self, measure: str) -> Sequence[Sequence[str]]:
        pool = ["-w", "100", "-k", "thread"] if measure == "sleep" else ["-w", "2", "-k", "process"]
        return [["huey_consumer", "bench.peers.huey.huey", "-q", *pool]]

    def produce(self, n: int) -> None:
        for _ in range(n):
            noop()

    def produce_bulk(self, n: int) -> None:
        # It has no bulk send: its map sends one by one.
        noop.map([()] * n)

    def produce_naps(self, n: int) -> None:
        for _ in range(n):
            nap()

    def produce_due(self, dues: Sequence[float]) -> None:
        for index, due in enumerate(dues):
            mark.schedule((index,), eta=dt.datetime.fromtimestamp(due))

    def send_mark(self, index: int) -> None:
        mark(index)

    def call(self, index: int) -> None:
        mark(index).get(blocking=True, timeout=10)


peer = HueyPeer()
