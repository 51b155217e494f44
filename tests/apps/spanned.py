"""An app whose runs leave spans in a file, one JSON object a line: ``SPANS`` names it. Each process exports for
itself."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from talo import Talo


class FileExporter(SpanExporter):
    """Appends spans to a file; several processes do."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with open(os.environ["SPANS"], "a", encoding="utf-8") as file:
            file.write("".join(json.dumps({**json.loads(span.to_json(indent=None)), "pid": os.getpid()}) + "\n"
                               for span in spans))  # fmt: skip
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(FileExporter()))
trace.set_tracer_provider(provider)

app = Talo("spanned")


class Expected(Exception):
    """A failure that the task announces."""


@app.task
def add(x: int, y: int) -> int:
    with trace.get_tracer("shop").start_as_current_span("adding"):
        return x + y


@app.task
async def aadd(x: int, y: int) -> int:
    with trace.get_tracer("shop").start_as_current_span("adding"):
        return x + y


@app.task
def fail() -> None:
    raise KeyError("no")


@app.task(max_deliveries=1)
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(throws=(Expected,))
def expected() -> None:
    raise Expected("as said")


@app.task(autoretry_for=(ConnectionError,), max_retries=2, default_retry_delay=0)
def flaky(ends: int = 1) -> int:
    if flaky.request.retries < ends:
        raise ConnectionError("away")
    return flaky.request.retries


@app.task
def sends() -> str:
    return str(add.delay(1, 2).id)
