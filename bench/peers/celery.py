"""Celery with its prefork pool and its defaults, ``-c 2``; threads for tasks that sleep."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import celery

from bench.peers import backend_url, results_wanted, transport_options, url
from bench.peers._face import FacePeer, count

app = celery.Celery("bench", broker=url(), backend=backend_url())
app.conf.task_ignore_result = not results_wanted()
app.conf.broker_connection_retry_on_startup = True
if options := transport_options():
    # On SQS it looks once a second unless it is told otherwise.
    app.conf.broker_transport_options = {**options, "polling_interval": 0.01}


@app.task
def nap() -> int:
    time.sleep(0.01)
    count.hit()
    return 1


class CeleryPeer(FacePeer):
    name = "celery"
    title = "Celery prefork"
    distribution = "celery"
    lead = 14.0
    sizes: Mapping[str, int] = {
        "drain": 4_000,
        "drain-results": 3_500,
        "enqueue": 4_000,
        "bulk": 4_000,
        "group": 4_000,
        "latency": 300,
        "sleep": 3_000,
        "footprint": 1,
        "canvas": 1_000,
        "delayed": 10_000,
        "rabbitmq": 8_000,
        "rabbitmq-results": 5_000,
        "rabbitmq-bulk": 4_000,
        "rabbitmq-group": 4_000,
        "sqs": 200,
        "sqs-bulk": 300,
    }

    def worker(self, measure: str) -> Sequence[Sequence[str]]:
        pool = ["-P", "threads", "-c", "100"] if measure == "sleep" else ["-c", "2"]
        return [["celery", "-A", "bench.peers.celery", "worker", "-l", "WARNING", *pool]]

    def produce_bulk(self, n: int) -> None:
        # Its fastest way is a group.
        self.produce_group(n)

    def produce_group(self, n: int) -> None:
        celery.group(self.noop.s() for _ in range(n)).apply_async()

    def produce_naps(self, n: int) -> None:
        for _ in range(n):
            nap.delay()


peer = CeleryPeer(app, celery)
