"""Spans: each send and each run has one, linked through the message, whatever the pool."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from talo import Talo, chain, chord, signals
from talo.errors import PublishTimeout
from talo.execution.request import Context, carried_by
from talo.otel import instrument
from tests.support import eventually
from tests.workers import Worker, client


class Spans:
    """What this process has exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    instrumentation = instrument()
    # Not through the global provider, which can be set once in a process.
    instrumentation._tracer = made.provider.get_tracer("talo")
    yield made
    instrumentation.stop()


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def test_a_run_is_the_child_of_its_send(spans: Spans, talo_app: Talo, run_all: Callable[[], int]) -> None:
    # Given
    @talo_app.task(name="shop.add")
    def add(x: int, y: int) -> int:
        return x + y

    # When
    result = add.apply_async((1, 2))
    run_all()
    # Then
    sent, ran = spans.one("send shop.add"), spans.one("process shop.add")
    assert (sent.kind, ran.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert (trace_of(ran), parent_of(ran)) == (trace_of(sent), id_of(sent))
    assert dict(sent.attributes or {}) == {
        "messaging.system": "talo",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "celery",
        "messaging.message.id": result.id,
        "messaging.message.conversation_id": result.id,
        "talo.task.name": "shop.add",
    }
    told = dict(ran.attributes or {})
    assert told["messaging.operation.name"] == "process"
    assert (told["talo.task.state"], told["talo.task.retries"]) == ("SUCCESS", 0)
    assert ran.status.status_code is StatusCode.UNSET


def test_a_failure_is_an_error_with_its_exception_and_an_expected_one_is_not(
    spans: Spans, talo_app: Talo, run_all: Callable[[], int]
) -> None:
    # Given
    @talo_app.task(name="bad")
    def bad() -> None:
        raise KeyError("x")

    @talo_app.task(name="expected", throws=(KeyError,))
    def expected() -> None:
        raise KeyError("x")

    # When
    bad.delay()
    expected.delay()
    run_all()
    # Then
    failed, awaited = spans.one("process bad"), spans.one("process expected")
    assert failed.status.status_code is StatusCode.ERROR
    assert (failed.attributes or {})["error.type"] == "builtins.KeyError"
    assert [event.name for event in failed.events] == ["exception"]
    assert awaited.status.status_code is StatusCode.UNSET
    assert (awaited.attributes or {})["talo.task.state"] == "FAILURE"


def test_each_attempt_is_a_child_of_the_one_send(spans: Spans, talo_app: Talo, run_all: Callable[[], int]) -> None:
    # Given
    @talo_app.task(name="flaky", bind=True, max_retries=3)
    def flaky(self: Any) -> int:
        if self.request.retries < 2:
            raise self.retry(exc=ConnectionError("away"), countdown=0)
        return int(self.request.retries)

    # When
    result = flaky.delay()
    run_all()
    # Then
    assert result.get(timeout=5) == 2
    sent = spans.one("send flaky")
    runs = spans.named("process flaky")
    assert [parent_of(run) for run in runs] == [id_of(sent)] * 3
    told = [((run.attributes or {})["talo.task.retries"], (run.attributes or {})["talo.task.state"]) for run in runs]
    assert told == [(0, "RETRY"), (1, "RETRY"), (2, "SUCCESS")]
    assert runs[0].status.status_code is StatusCode.UNSET
    assert (runs[0].events[0].attributes or {})["exception.type"] == "ConnectionError"


def test_a_workflow_is_one_trace(spans: Spans, talo_app: Talo, run_all: Callable[[], int]) -> None:
    # Given
    @talo_app.task(name="one")
    def one(x: int = 0) -> int:
        return x + 1

    @talo_app.task(name="total")
    def total(xs: list[int]) -> int:
        return sum(xs)

    # When
    with spans.provider.get_tracer("web").start_as_current_span("request") as around:
        result = chain(one.si(1), one.s(), chord([one.s(), one.s()], total.s()))()
    run_all()
    # Then
    assert result.get(timeout=5) == 8
    first, *_ = runs = spans.named("process one")
    assert len(runs) == 4
    assert {trace_of(run) for run in (*runs, spans.one("process total"))} == {around.get_span_context().trace_id}
    # And the second step is the child of the first
    assert parent_of(runs[1]) == id_of(first)


def test_what_a_task_sends_is_its_child(spans: Spans, talo_app: Talo, run_all: Callable[[], int]) -> None:
    @talo_app.task(name="inner")
    def inner() -> None:
        return None

    @talo_app.task(name="outer")
    def outer() -> None:
        inner.delay()

    outer.delay()
    run_all()
    assert parent_of(spans.one("send inner")) == id_of(spans.one("process outer"))
    assert parent_of(spans.one("process inner")) == id_of(spans.one("send inner"))


def test_headers_of_strangers_break_nothing(
    spans: Spans, talo_app: Talo, run_all: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given headers that are no trace, and one with the name of a field of ours
    @talo_app.task(name="plain")
    def plain() -> int:
        return 1

    hostile: dict[str, Any] = {"traceparent": 7, "tracestate": ["x"], "baggage": {"a": 1}, "carried": {"id": "stolen"}}
    # When one of them is sent untraced and goes on to a next step
    monkeypatch.setattr(signals.before_task_publish, "receivers", ())
    result = plain.apply_async(headers=hostile, link=plain.si())
    monkeypatch.undo()
    run_all()
    # Then both have run, the second under an id of its own and in the trace of the first
    assert result.get(timeout=5) == 1
    first, second = spans.named("process plain")
    assert parent_of(first) is None
    assert parent_of(second) == id_of(first)
    assert carried_by(Context(carried={"id": "stolen"})) == {}


def test_a_send_that_fails_keeps_no_span_for_ever(
    spans: Spans, talo_app: Talo, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a broker that takes nothing
    @talo_app.task(name="lost")
    def lost() -> None:
        return None

    def refuse(*_: Any, **__: Any) -> None:
        raise PublishTimeout("away")

    monkeypatch.setattr(talo_app.store.broker, "send", refuse)
    monkeypatch.setattr("talo.otel._MOST_OPEN", 3)
    # When
    for _ in range(5):
        with pytest.raises(PublishTimeout):
            lost.delay()
    # Then
    assert len(spans.named("send lost")) == 2


def test_only_the_tasks_of_one_app_if_one_is_named(talo_app: Talo, run_all: Callable[[], int]) -> None:
    # Given
    made = Spans()

    @talo_app.task(name="mine")
    def mine() -> None:
        return None

    other = Talo("other", broker="memory://other", set_as_current=False)
    instrumentation = instrument(other)
    instrumentation._tracer = made.provider.get_tracer("talo")
    # When
    mine.delay()
    run_all()
    instrumentation.stop()
    # Then
    assert made.exporter.get_finished_spans() == ()


def test_it_is_switched_on_once_and_off_as_often_as_one_likes() -> None:
    others = signals.task_prepared.receivers
    first = instrument()
    assert instrument() is first
    first.stop()
    first.stop()
    assert signals.task_prepared.receivers == others
    second = instrument()
    assert second is not first
    second.stop()


POOLS = [
    pytest.param(("-c", "2"), id="fork"),
    pytest.param(("-c", "2", "--start-method", "spawn"), id="spawn"),
    pytest.param(("-P", "threads", "-c", "4"), id="threads"),
    pytest.param(("-P", "asyncio", "-c", "4"), id="asyncio"),
    pytest.param(("-P", "solo"), id="solo"),
]


@pytest.mark.promise("M09")
@pytest.mark.parametrize("arguments", POOLS)
def test_every_pool_exports_its_spans(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    # Given a worker whose flag for spans is up, and a caller with a trace
    file = tmp_path / "spans"
    file.touch()
    env = {"SPANS": str(file), "TALO_TRACING": "1"}
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    with client(broker) as app, Worker(broker, tmp_path, *arguments, app="tests.apps.spanned", env=env) as worker:
        parent = {"traceparent": f"00-{7:032x}-{9:016x}-01"}
        names = ("add", "aadd")
        sent = [app.send_task(f"tests.apps.spanned.{name}", (n, 1), headers=parent) for name in names for n in range(5)]
        failed = app.send_task("tests.apps.spanned.fail", headers=parent)
        assert [result.get(timeout=30) for result in sent] == [1, 2, 3, 4, 5] * 2
        eventually(lambda: _assert(failed.state == "FAILURE"))
        assert worker.stop() == 0
    # When it has stopped
    found = [json.loads(line) for line in file.read_text().splitlines()]
    runs = [span for span in found if span["name"].startswith("process ")]
    # Then every run has its span, in the caller's trace, and what it did is inside of it
    assert {span["context"]["trace_id"] for span in runs} == {f"0x{7:032x}"}
    assert {span["parent_id"] for span in runs} == {f"0x{9:016x}"}
    assert sorted(span["attributes"]["messaging.message.id"] for span in runs) == sorted(
        result.id for result in (*sent, failed)
    )
    inside = {span["parent_id"] for span in found if span["name"] == "adding"}
    assert inside == {span["context"]["span_id"] for span in runs if not span["name"].endswith(".fail")}
    assert [span["status"]["status_code"] for span in runs if span["name"].endswith(".fail")] == ["ERROR"]


@pytest.mark.promise("M09")
def test_a_task_whose_process_died_has_its_span_all_the_same(tmp_path: Path) -> None:
    # Given
    file = tmp_path / "spans"
    file.touch()
    env = {"SPANS": str(file), "TALO_TRACING": "1"}
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    with client(broker) as app, Worker(broker, tmp_path, "-c", "1", app="tests.apps.spanned", env=env):
        # When the process is killed in which it runs
        lost = app.send_task("tests.apps.spanned.die", headers={"traceparent": f"00-{7:032x}-{9:016x}-01"})
        eventually(lambda: _assert(lost.state == "FAILURE"), timeout=30)
        # Then the agent tells of it, in the trace of the caller, without waiting for the worker's end
        eventually(lambda: _assert("process tests.apps.spanned.die" in file.read_text()), timeout=30)
    [span] = [json.loads(line) for line in file.read_text().splitlines() if ".die" in line]
    assert (span["context"]["trace_id"], span["parent_id"]) == (f"0x{7:032x}", f"0x{9:016x}")
    assert span["attributes"]["messaging.message.id"] == lost.id
    assert span["attributes"]["error.type"] == "talo.errors.WorkerLostError"
    assert span["status"]["status_code"] == "ERROR"
    assert span["start_time"] <= span["end_time"]


def _assert(fact: bool) -> None:
    assert fact
