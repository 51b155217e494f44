"""What a worker asks of SQS for its tasks: it is billed by the request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos.kit import check
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


def test_one_of_a_workers_idle_processes_polls_for_all(own_sqs: SqsServer, tmp_path: Path) -> None:
    # Given an idle worker with several processes, and short polls
    options = {
        "region": "us-east-1",
        "endpoint_url": own_sqs.endpoint,
        "ledger": str(tmp_path / "ledger"),
        "wait_time_seconds": 1,
    }
    env = {"TALO_BROKER_TRANSPORT_OPTIONS": json.dumps(options)}
    results = f"sqlite:///{tmp_path}/results.sqlite3"
    with Worker("sqs://key:secret@", tmp_path, "-c", "6", results=results, env=env):
        # When each has looked for work once, and several polls have ended
        eventually(lambda: check(own_sqs.requests()["ReceiveMessage"] >= 6 + 5), 60)
        # Then there was never more than one at a time
        asked = own_sqs.requests()
    assert asked["most polls"] == 1, asked


def test_a_worker_finds_its_keys_and_queues_where_a_user_has_put_them(own_sqs: SqsServer, tmp_path: Path) -> None:
    # Given keys in a profile, and all else as a user writes it, with queues of both kinds
    keys = tmp_path / "keys"
    keys.write_text("[shop]\naws_access_key_id = KEY\naws_secret_access_key = SECRET\n")
    options = {"region": "us-east-1", "queue_name_prefix": "shop-", "ledger": str(tmp_path / "ledger")}
    env = {
        "AWS_SHARED_CREDENTIALS_FILE": str(keys),
        "AWS_PROFILE": "shop",
        "AWS_ENDPOINT_URL_SQS": own_sqs.endpoint,
        "TALO_BROKER_TRANSPORT_OPTIONS": json.dumps(options),
    }
    results = f"sqlite:///{tmp_path}/results.sqlite3"
    sender = {**options, "endpoint_url": own_sqs.endpoint}
    add = "tests.apps.traced.add"
    with (
        Worker("sqs://", tmp_path, "-c", "2", "-Q", "celery,orders.fifo", results=results, env=env),
        client("sqs://key:secret@", results, broker_transport_options=sender) as app,
    ):
        # Then tasks run
        sent = [app.send_task(add, (n, 1), queue=queue) for n in range(3) for queue in ("celery", "orders.fifo")]
        assert [each.get(timeout=60) for each in sent] == [1, 1, 2, 2, 3, 3]
        # What is due later than SQS can wait stands beside it, until it is given another time
        later = app.send_task(add, (1, 1), queue="orders.fifo", countdown=3600)
        later.reschedule(countdown=0)
        assert later.get(timeout=60) == 2
        # And no queue was made but these two, with the prefix
        urls = app.store._connection.client().list_queues()["QueueUrls"]  # type: ignore[attr-defined]
    assert {url.rpartition("/")[2] for url in urls} == {"shop-celery", "shop-orders.fifo"}
