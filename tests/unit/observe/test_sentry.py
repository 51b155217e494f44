"""Sentry: what arrives there of tasks. A transport collects the envelopes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from talo import Talo
from talo.sentry import TaloIntegration
from tests.support import eventually
from tests.workers import Worker, client


class Collector(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[tuple[str, dict[str, Any]]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.items += [(item.type or "", item.payload.json or {}) for item in envelope.items]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [payload for type, payload in self.items if type == kind]


def init(transport: Collector, **options: Any) -> None:
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1",
        transport=transport,
        traces_sample_rate=1.0,
        default_integrations=False,
        integrations=[TaloIntegration(**options)],
    )


@pytest.fixture
def sentry() -> Iterator[Collector]:
    collector = Collector()
    init(collector)
    yield collector
    sentry_sdk.get_client().close()
    sentry_sdk.init()


def test_a_failure_arrives_with_its_task(sentry: Collector, talo_app: Talo, run_all: Callable[[], int]) -> None:
    # Given
    @talo_app.task(name="shop.pay")
    def pay(card: str) -> None:
        sentry_sdk.set_tag("step", "charge")
        raise KeyError("no such customer")

    # When
    result = pay.delay("4111")
    run_all()
    # Then
    (event,) = sentry.of("event")
    (fault,) = event["exception"]["values"]
    assert (fault["type"], fault["mechanism"]["type"], fault["mechanism"]["handled"]) == ("KeyError", "talo", False)
    assert event["transaction"] == "shop.pay"
    assert event["tags"] == {"talo.task_id": result.id, "step": "charge"}
    task = event["contexts"]["talo"]
    assert (task["id"], task["task"], task["retries"], task["queue"]) == (result.id, "shop.pay", 0, "celery")
    # And the arguments stay where they are, unless somebody asks for them
    assert "args" not in task
    assert "4111" not in json.dumps(task)


def test_arguments_are_shown_on_request_as_the_sender_shows_them(
    sentry: Collector, talo_app: Talo, run_all: Callable[[], int]
) -> None:
    init(sentry, arguments=True)

    @talo_app.task(name="pay")
    def pay(card: str, amount: int) -> None:
        raise KeyError

    pay.apply_async(("4111", 3), argsrepr="(<card>, 3)")
    run_all()
    assert sentry.of("event")[0]["contexts"]["talo"]["args"] == "(<card>, 3)"


def test_what_is_expected_and_what_is_retried_is_no_failure(
    sentry: Collector, talo_app: Talo, run_all: Callable[[], int]
) -> None:
    # Given
    @talo_app.task(name="expected", throws=(KeyError,))
    def expected() -> None:
        raise KeyError

    @talo_app.task(name="flaky", bind=True)
    def flaky(self: Any) -> None:
        if not self.request.retries:
            raise self.retry(exc=ConnectionError(), countdown=0)

    # When
    expected.delay()
    flaky.delay()
    run_all()
    # Then
    assert sentry.of("event") == []
    told = [(each["transaction"], each["contexts"]["trace"]["status"]) for each in sentry.of("transaction")]
    assert sorted(told) == [("expected", "internal_error"), ("flaky", "aborted"), ("flaky", "ok")]


def test_a_run_goes_on_with_the_trace_of_its_sender(
    sentry: Collector, talo_app: Talo, run_all: Callable[[], int]
) -> None:
    # Given
    @talo_app.task(name="last")
    def last() -> None:
        return None

    @talo_app.task(name="first")
    def first() -> None:
        return None

    # When
    with sentry_sdk.start_transaction(name="request") as request:
        first.apply_async(link=last.si())
    run_all()
    # Then the run and the one that follows from it belong to the request
    runs = {each["transaction"]: each["contexts"]["trace"] for each in sentry.of("transaction")}
    assert {runs["first"]["trace_id"], runs["last"]["trace_id"]} == {request.trace_id}
    assert runs["first"]["op"] == "queue.process"
    assert runs["last"]["parent_span_id"] == runs["first"]["span_id"]


def test_scopes_do_not_leak_into_the_next_run(sentry: Collector, talo_app: Talo, run_all: Callable[[], int]) -> None:
    # Given
    @talo_app.task(name="marks")
    def marks() -> None:
        sentry_sdk.set_tag("secret", "of the first")
        sentry_sdk.add_breadcrumb(message="crumb")

    @talo_app.task(name="fails")
    def fails() -> None:
        raise ValueError

    # When
    marks.delay()
    run_all()
    fails.delay()
    run_all()
    # Then
    (event,) = sentry.of("event")
    assert "secret" not in event["tags"]
    assert event.get("breadcrumbs", {}).get("values", []) == []


def test_baggage_of_others_stays(sentry: Collector, talo_app: Talo, run_all: Callable[[], int]) -> None:
    seen: list[Any] = []

    @talo_app.task(name="looks", bind=True)
    def looks(self: Any) -> None:
        seen.append(self.request.headers["baggage"])

    looks.apply_async(headers={"baggage": "tenant=blue,sentry-release=old"})
    run_all()
    assert seen[0].startswith("tenant=blue,sentry-")
    assert "sentry-release=old" not in seen[0]


PROJECT = """
import json, os
import sentry_sdk
from sentry_sdk.transport import Transport
from talo import Talo
from talo.sentry import TaloIntegration


class Writer(Transport):
    def capture_envelope(self, envelope):
        with open(os.environ["ENVELOPES"], "a") as file:
            for item in envelope.items:
                file.write(json.dumps([item.type, item.payload.json]) + "\\n")


sentry_sdk.init(dsn="http://key@127.0.0.1:1/1", transport=Writer, traces_sample_rate=1.0,
                integrations=[TaloIntegration(monitor_beat_tasks=True)])
app = Talo("reports")


@app.task
def fail(name):
    sentry_sdk.set_tag("who", name)
    raise KeyError(name)


@app.task(max_deliveries=1)
def dies():
    os._exit(7)
"""


@pytest.mark.parametrize("arguments", [("-c", "1"), ("-P", "threads", "-c", "4")], ids=["fork", "threads"])
def test_a_worker_reports_each_failure_once(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    # Given a worker with Sentry's usual integrations beside ours: its logging would report log lines of failures
    (tmp_path / "reports.py").write_text(PROJECT)
    file = tmp_path / "envelopes"
    file.touch()
    env = {"ENVELOPES": str(file), "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3] / 'src'}"}
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    # When tasks fail, and one takes its process with it
    with client(broker) as app, Worker(broker, tmp_path, *arguments, app="reports", env=env) as worker:
        sent = [app.send_task("reports.fail", (name,)) for name in ("ann", "bob", "cy")]
        eventually(lambda: _ended([result.state for result in sent], "FAILURE"), timeout=30)
        awaited = {"sentry-monitor-slug": "nightly", "sentry-monitor-check-in-id": "c" * 32}
        sent.append(dead := app.send_task("reports.dies", headers=awaited))
        eventually(lambda: _ended([dead.state], "FAILURE"), timeout=30)
        assert worker.stop() == 0
    # Then each is there once, with its own tags
    items = [json.loads(line) for line in file.read_text().splitlines()]
    events = [payload for type, payload in items if type == "event"]
    told = [(event["tags"]["talo.task_id"], event["tags"].get("who")) for event in events if "exception" in event]
    assert sorted(told, key=str) == sorted(
        zip((result.id for result in sent), ("ann", "bob", "cy", None), strict=True), key=str
    )
    assert {event["exception"]["values"][-1]["type"] for event in events if "exception" in event} == {
        "KeyError",
        "WorkerLostError",
    }
    # And the monitor that awaited the dead one knows
    closed = [(each["monitor_slug"], each["check_in_id"], each["status"]) for type, each in items if type == "check_in"]
    assert closed == [("nightly", "c" * 32, "error")]


def _ended(found: list[str], wanted: str) -> None:
    assert set(found) == {wanted}
