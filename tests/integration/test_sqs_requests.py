"""What a worker asks of SQS for its tasks: it is billed by the request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.servers.sqs import SqsServer
from tests.support import eventually
from tests.workers import Worker, client

COUNT = 2000
#: Batches that are not full: of each turn the last one; of the first turns all, for the worker does not know yet how
#: short the tasks are; and those of a machine that is so busy that tasks seem long.
PARTS = COUNT / 10


@pytest.mark.parametrize("results", [True, False], ids=["results", "no results"])
def test_a_task_costs_a_tenth_of_a_request_each_time(
    own_sqs: SqsServer,
    tmp_path: Path,
    results: bool,
) -> None:
    options = {"region": "us-east-1", "endpoint_url": own_sqs.endpoint, "ledger": str(tmp_path / "ledger")}
    beside, url = f"sqlite:///{tmp_path}/results.sqlite3", "sqs://key:secret@"
    env = {
        "TALO_BROKER_TRANSPORT_OPTIONS": json.dumps(options),
        "TALO_TASK_IGNORE_RESULT": str(int(not results)),
        "TALO_WORKER_LEASE": "60",
    }
    with client(url, beside, broker_transport_options=options, task_ignore_result=not results) as app:
        # When two thousand tasks are sent at once
        app.send_many([("tests.apps.traced.burn", (0.0,))] * COUNT, timeout=60)
        assert own_sqs.requests()["SendMessageBatch"] == COUNT / 10
        # And a worker runs them
        with Worker(url, tmp_path, "-c", "2", results=beside, env=env) as worker:

            def all_are_done() -> None:
                [numbers] = app.store.broker.stats(["celery"])
                assert (numbers.ready, numbers.leased) == (0, 0)

            eventually(all_are_done, 60, 0.1)
            assert len(worker.trace.count("end")) == COUNT
    asked = own_sqs.requests()
    # Then that took as many requests as there are batches of ten, and some that were not full
    assert COUNT / 10 <= asked["SendMessageBatch"] <= COUNT / 10 + PARTS / 10, asked
    assert COUNT / 10 <= asked["ReceiveMessage"] <= COUNT / 10 + PARTS, asked
    assert COUNT / 10 <= asked["DeleteMessageBatch"] <= COUNT / 10 + PARTS, asked
    # And none to keep what is over in no time
    assert asked["ChangeMessageVisibilityBatch"] == 0
