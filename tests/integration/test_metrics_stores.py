"""Metrics and traces on every store: both flags up, a real worker, the numbers and spans of what it ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import eventually
from tests.unit.observe.scrape import Scrape, ask
from tests.workers import Worker, client


@pytest.mark.promise("M09")
@pytest.mark.parametrize("store", ["redis_url", "postgres_url", "rabbit_url", "sqs_endpoint"])
def test_both_flags_work_on_this_store(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    broker: str = request.getfixturevalue(store)
    file = tmp_path / "spans"
    file.touch()
    env = {"SPANS": str(file), "TALO_TRACING": "1"}
    # Given results elsewhere where the broker keeps none
    results = f"sqlite:///{tmp_path}/results.sqlite3" if store in ("rabbit_url", "sqs_endpoint") else None
    settings: dict[str, Any] = {}
    if store == "sqs_endpoint":
        place = {"endpoint_url": broker, "ledger": str(tmp_path / "ledger"), "queue_name_prefix": "metrics-"}
        broker, settings = "sqs://key:secret@", {"broker_transport_options": {"region": "us-east-1", **place}}
        env["TALO_BROKER_TRANSPORT_OPTIONS"] = json.dumps(settings["broker_transport_options"])
    options = ("-c", "2", "--http", "0")
    with (
        client(broker, results, **settings) as app,
        Worker(broker, tmp_path, *options, results=results, app="tests.apps.spanned", env=env) as worker,
    ):
        eventually(lambda: _is(ask(worker, "/readyz")[0], 200), timeout=30)
        # When tasks run, fail and wait
        headers = {"traceparent": f"00-{7:032x}-{9:016x}-01"}
        for number in range(10):
            app.send_task("tests.apps.spanned.add", (number, 1), headers=headers)
        app.send_task("tests.apps.spanned.fail", headers=headers)
        app.send_task("tests.apps.spanned.add", (1, 1), countdown=600)
        eventually(lambda: _is(Scrape(worker).sum("talo_tasks_total"), 11), timeout=60)
        # Then the worker's own numbers and the store's are there
        found = Scrape(worker)
        assert found.sum("talo_tasks_total", task="tests.apps.spanned.add", state="SUCCESS", queue="celery") == 10
        assert found.sum("talo_tasks_total", task="tests.apps.spanned.fail", state="FAILURE") == 1
        assert found.sum("talo_dead_letters_total", reason="failed") == 1
        assert found.sum("talo_task_wait_seconds_count", queue="celery") == 11
        assert found.sum("talo_broker_up") == 1
        assert found.labels("queue") == {"celery"}
        assert worker.stop() == 0
    # And every run has a span in the trace of its sender
    spans = [json.loads(line) for line in file.read_text().splitlines()]
    runs = [span for span in spans if span["name"].startswith("process ")]
    assert len(runs) == 11
    assert {(span["context"]["trace_id"], span["parent_id"]) for span in runs} == {(f"0x{7:032x}", f"0x{9:016x}")}


def _is(found: object, wanted: object) -> None:
    assert found == wanted
