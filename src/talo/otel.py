"""OpenTelemetry: a span for each send and for each run, the one linked to the other through the message.

Owns names and attributes of the spans (OpenTelemetry's semantic conventions for messaging) and the two headers that
carry a context (W3C Trace Context). Provider and exporters are the application's. Works from Talo's own signals, so
that it costs nothing when off. Called by applications, and by ``app.app`` where the setting ``tracing`` is on. The one
file that knows opentelemetry-api."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from talo import signals, states
from talo.execution.request import carry
from talo.util.optional import load

__all__ = ["Instrumentation", "instrument"]

#: Sends that have begun and of whose end nobody was told, at most: one that failed never is.
_MOST_OPEN = 50_000
#: Milliseconds that an ending process gives its exporter.
_FLUSH = 5_000
_PACKAGE, _EXTRA = "opentelemetry-api", "otel"


class Instrumentation:
    """Makes spans until it is stopped; one at a time in a process."""

    def __init__(self, app: Any = None) -> None:
        self.app = app
        self.running = False
        self._trace = load("opentelemetry.trace", _PACKAGE, _EXTRA)
        self._context = load("opentelemetry.context", _PACKAGE, _EXTRA)
        self._propagate = load("opentelemetry.propagate", _PACKAGE, _EXTRA)
        #: It follows the provider that is set later.
        self._tracer = self._trace.get_tracer("talo")
        self._lock = threading.Lock()
        #: (task id, queue) -> the span of its sending.
        self._sends: OrderedDict[tuple[Any, Any], Any] = OrderedDict()
        #: Request -> the span of its run and what gives its context back. A run that is handed back has no end.
        self._runs: WeakKeyDictionary[Any, tuple[Any, Any]] = WeakKeyDictionary()
        self._receivers = (
            (signals.before_task_publish, self._sending),
            (signals.after_task_publish, self._sent),
            (signals.task_prepared, self._prepared),
            (signals.task_prerun, self._started),
            (signals.task_postrun, self._ended),
            (signals.task_lost, self._lost),
            (signals.worker_process_shutdown, self._flush),
        )

    def start(self) -> None:
        """Make spans from now on."""
        self.running = True
        for signal, receiver in self._receivers:
            signal.connect(receiver, weak=False)

    def stop(self) -> None:
        """Make no more. Idempotent."""
        self.running = False
        for signal, receiver in self._receivers:
            signal.disconnect(receiver)

    def _concerns(self, name: str) -> bool:
        return self.app is None or self.app.registered(name) is not None

    # -- sending -----------------------------------------------------------------------------------------------------

    def _sending(self, sender: str, headers: dict[str, Any], declare: list[Any], **_: Any) -> None:
        task_id = headers.get("id")
        if task_id is None or not self._concerns(sender):
            # Messages of protocol 1 have no headers that a context could travel in.
            return
        queue = declare[0].name
        span = self._tracer.start_span(
            f"send {sender}",
            kind=self._trace.SpanKind.PRODUCER,
            attributes=_attributes("send", sender, queue, headers),
        )
        self._propagate.inject(headers, context=self._trace.set_span_in_context(span))
        late = None
        with self._lock:
            self._sends[task_id, headers.get("traceparent")] = span
            if len(self._sends) > _MOST_OPEN:
                late = self._sends.popitem(last=False)[1]
        if late is not None:
            late.end()

    def _sent(self, headers: dict[str, Any], **_: Any) -> None:
        with self._lock:
            span = self._sends.pop((headers.get("id"), headers.get("traceparent")), None)
        if span is not None:
            span.end()

    def _prepared(self, sender: str, headers: dict[str, Any], **_: Any) -> None:
        """A message that others send: the span around its making is the one to link to."""
        if self._concerns(sender) and self._trace.get_current_span().get_span_context().is_valid:
            self._propagate.inject(headers)

    # -- running -----------------------------------------------------------------------------------------------------

    def _started(self, sender: Any, task_id: str, **_: Any) -> None:
        if not self._concerns(sender.name):
            return
        request = sender.request
        span, parent = self._process(sender.name, str(task_id), request)
        context = self._trace.set_span_in_context(span, parent)
        self._runs[request] = span, self._context.attach(context)
        carried: dict[str, str] = {}
        self._propagate.inject(carried, context=context)
        carry(request, carried)

    def _process(self, name: str, task_id: str, request: Any, began: float | None = None) -> tuple[Any, Any]:
        """A span for a run, begun now or then (epoch seconds), and the context that it is in."""
        headers = {name: value for name, value in (request.message_headers or {}).items() if isinstance(value, str)}
        # Nothing of the run before it, in this thread, is its parent; of an eager run the caller is.
        parent = None if request.is_eager else self._propagate.extract(headers, context=self._context.Context())
        queue = (request.delivery_info or {}).get("routing_key") or ""
        attributes = {**_attributes("process", name, queue, headers), "talo.task.retries": request.retries}
        if request.hostname:
            attributes["messaging.client.id"] = request.hostname
        span = self._tracer.start_span(
            f"process {name}",
            context=parent,
            kind=self._trace.SpanKind.CONSUMER,
            attributes=attributes,
            start_time=None if began is None else int(began * 1e9),
        )
        span.set_attribute("messaging.message.id", task_id)
        return span, parent

    def _ended(self, sender: Any, retval: Any, state: str, **_: Any) -> None:
        found = self._runs.pop(sender.request, None)
        if found is None:
            return
        span, token = found
        span.set_attribute("talo.task.state", state)
        if isinstance(retval, BaseException) and state in (states.FAILURE, states.RETRY):
            cause = getattr(retval, "exc", None) if state == states.RETRY else retval
            cause = cause if isinstance(cause, BaseException) else retval
            span.record_exception(cause)
            if state == states.FAILURE and not isinstance(cause, tuple(sender.throws or ())):
                self._blame(span, cause)
        span.end()
        self._context.detach(token)

    def _lost(self, sender: Any, request: Any, exception: BaseException, began: float | None, **_: Any) -> None:
        """The process that had the span of this run is dead: another one stands for it."""
        if self._concerns(sender.name):
            span, _ = self._process(sender.name, str(request.id), request, began)
            self._blame(span, exception)
            span.end()
            # Seldom, and in a process that has more to do than to wait for an exporter.
            threading.Thread(target=self._flush, name="talo-otel-flush", daemon=True).start()

    def _blame(self, span: Any, cause: BaseException) -> None:
        span.set_attribute("error.type", f"{type(cause).__module__}.{type(cause).__qualname__}")
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, f"{type(cause).__name__}: {cause}"))

    def _flush(self, **_: Any) -> None:
        """Processes of a worker end at once: what was gathered has to go now."""
        flush = getattr(self._trace.get_tracer_provider(), "force_flush", None)
        if flush is not None:
            flush(_FLUSH)


_active: Instrumentation | None = None


def instrument(app: Any = None) -> Instrumentation:
    """Make a span for each send and each run in this process, of all apps or of the tasks that ``app`` knows.

    Returns what can ``stop`` it. Calling it again changes nothing; for another app it replaces the one before.
    ``MissingExtra`` without opentelemetry-api.
    """
    global _active
    if _active is not None and _active.running:
        if _active.app is app:
            return _active
        _active.stop()
    made = Instrumentation(app)
    _active = made
    made.start()
    return made


def _attributes(operation: str, task: str, queue: str, headers: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "messaging.system": "talo",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        "messaging.message.id": headers.get("id"),
        "messaging.message.conversation_id": headers.get("root_id"),
        "talo.task.name": task,
    }
    return {name: value for name, value in found.items() if isinstance(value, str) and value}
