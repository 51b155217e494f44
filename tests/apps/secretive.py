"""An app with secret arguments, watched by everything that can watch: ``SINKS`` is the folder where it all ends up."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentry_sdk
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from talo import Secret, Talo
from talo.sentry import TaloIntegration

SINKS = Path(os.environ.get("SINKS", "."))


def _append(name: str, text: str) -> None:
    with open(SINKS / name, "a", encoding="utf-8") as file:
        file.write(text + "\n")


class Spans(SpanExporter):
    """Spans in a file."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            _append("spans", span.to_json(indent=None))
        return SpanExportResult.SUCCESS


class Faults(Transport):
    """Sentry's events in a file."""

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            _append("sentry", json.dumps(item.payload.json or {}))


if "SINKS" in os.environ:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Spans()))
    trace.set_tracer_provider(provider)
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1",
        transport=Faults,
        traces_sample_rate=1.0,
        send_default_pii=True,
        max_value_length=10_000,
        integrations=[TaloIntegration(arguments=True)],
    )

app = Talo(
    "secretive",
    secret_keys=["a key of sixteen characters at least"],
    result_extended=True,
    tracing=True,
    history="all",
    task_send_sent_event=True,
    worker_send_task_events=True,
    beat_schedule={"daily": {"task": "login", "schedule": 3600.0, "args": ["daily", os.environ.get("CANARY", "")]}},
)


def proof(password: str) -> str:
    """What shows that a task was given the plain text."""
    return hashlib.sha256(password.encode()).hexdigest()[:12]


@app.task(shared=False, name="login")
def login(user: str, password: Secret[str], *, pin: Secret[str] | None = None) -> str:
    del pin
    return f"{user} {proof(password)}"


@app.task(shared=False, name="alogin")
async def alogin(user: str, password: Secret[str]) -> str:
    return f"{user} {proof(password)}"


@app.task(shared=False, name="finish")
def finish(results: list[str], password: Secret[str]) -> list[str]:
    return [*results, proof(password)]


@app.task(shared=False, name="again", bind=True, max_retries=2)
def again(self: Any, password: Secret[str]) -> str:
    if self.request.retries == 0:
        raise self.retry(exc=ValueError(f"not with {password}"), countdown=0)
    if self.request.retries == 1:
        raise self.retry(kwargs={"password": password}, args=(), countdown=0)
    return proof(password)


@app.task(shared=False, name="refuse", secret="password")
def refuse(user: str, password: str) -> None:
    copy = {"of": password}
    try:
        raise LookupError(password)
    except LookupError as exc:
        raise ValueError(f"{user} may not enter with {copy['of']!r}: {proof(password)}") from exc


@app.task(shared=False, name="forward")
def forward(user: str, password: Secret[str]) -> None:
    login.delay(user, password=password)


@app.task(shared=False, name="replaced", bind=True)
def replaced(self: Any, password: Secret[str]) -> Any:
    return self.replace(login.s("replaced", password))


@app.task(shared=False, name="hold")
def hold(password: Secret[str], until: str) -> str:
    while not Path(until).exists():
        time.sleep(0.02)
    return proof(password)


@app.task(shared=False, name="open")
def spread(text: str) -> str:
    """Its argument is not secret: what the search has to find."""
    raise ValueError(text)
