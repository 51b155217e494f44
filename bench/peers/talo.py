"""Talo: ``worker -c 2``, defaults; a hundred slots of asyncio for tasks that sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import talo
from bench.peers import backend_url, results_wanted, sqlite_path, transport_options, url
from bench.peers._face import FacePeer, count

embedded = f"sqlite:///{sqlite_path()}" if sqlite_path() else None
app = talo.Talo("bench", broker=embedded or url(), backend=embedded or backend_url())
app.conf.task_ignore_result = not results_wanted()
app.conf.broker_transport_options = transport_options()


@app.task
async def nap() -> int:
    await asyncio.sleep(0.01)
    count.hit()
    return 1


class TaloPeer(FacePeer):
    name = "talo"
    title = "Talo"
    distribution = "talo"
    lead = 4.0
    sizes: Mapping[str, int] = {
        "drain": 200_000,
        "drain-results": 100_000,
        "enqueue": 10_000,
        "bulk": 100_000,
        "group": 100_000,
        "latency": 300,
        "sleep": 20_000,
        "footprint": 1,
        "canvas": 1_000,
        "delayed": 10_000,
        "sqlite": 60_000,
        "sqlite-wake": 200,
        "postgres": 60_000,
        "postgres-bulk": 100_000,
        "postgres-group": 100_000,
        "postgres-wake": 200,
        "history": 100_000,
        "history-sqlite": 60_000,
        "history-postgres": 40_000,
        "rabbitmq": 60_000,
        "rabbitmq-results": 40_000,
        "rabbitmq-bulk": 100_000,
        "rabbitmq-group": 100_000,
        "sqs": 20_000,
        "sqs-bulk": 10_000,
    }

    def worker(self, measure: str) -> Sequence[Sequence[str]]:
        command = ["talo", "-A", "bench.peers.talo", "worker", "-l", "WARNING"]
        pool = ["-P", "asyncio", "-c", "100", "--children", "2"] if measure == "sleep" else ["-c", "2"]
        return [[*command, *pool]]

    def environment(self, measure: str) -> Mapping[str, str]:
        if measure == "sqs":
            return {"TALO_TASK_DEAD_LETTERS": "0"}  # they would take a store beside SQS, as results do
        return {"TALO_HISTORY": "off"} if measure.endswith("-off") else {}

    def produce_bulk(self, n: int) -> None:
        app.send_many((self.noop, (), {}, {}) for _ in range(n))

    def produce_group(self, n: int) -> None:
        talo.group(self.noop.s() for _ in range(n)).apply_async()

    def produce_naps(self, n: int) -> None:
        app.send_many((nap, (), {}, {}) for _ in range(n))

    def send_mark(self, index: int) -> None:
        self.mark.delay(index)


peer = TaloPeer(app, talo)
