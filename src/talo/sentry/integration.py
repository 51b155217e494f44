"""The integration: errors of tasks with what is known of the task, and a transaction for each run, linked to its send.

``sentry_sdk.init(integrations=[TaloIntegration()])`` switches it on. Works from Talo's own signals, in every pool: each
run has an isolation scope of its own. What becomes of check-ins is ``monitors``'s."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from talo import signals, states
from talo.errors import MissingExtra
from talo.execution.request import carried_by, carry

try:
    import sentry_sdk
    from sentry_sdk.consts import OP, SPANSTATUS
    from sentry_sdk.integrations import Integration
    from sentry_sdk.integrations.logging import ignore_logger
    from sentry_sdk.utils import event_from_exception
except ImportError as exc:
    raise MissingExtra("sentry-sdk", "sentry") from exc

# Not before it is known that there is an SDK.
from talo.sentry.monitors import Monitors, close_check_in, open_check_in

__all__ = ["TaloIntegration"]

#: Where the name of a transaction comes from.
_SOURCE = "task"
_ORIGIN = "auto.queue.talo"
#: Seconds that an ending process gives what it has not sent yet.
_FLUSH = 2.0
_STATUS = {states.SUCCESS: SPANSTATUS.OK, states.FAILURE: SPANSTATUS.INTERNAL_ERROR}


class TaloIntegration(Integration):
    """Reports failures of tasks. What a task expects (``throws``) and retries are none.

    ``propagate_traces``: sends carry the trace of the sender. ``arguments``: events show the arguments of the task, as
    its sender shows them, even where ``send_default_pii`` is off. ``monitor_beat_tasks``: each periodic task is a
    monitor, but those whose name matches one of the patterns ``exclude_beat_tasks``.
    """

    identifier = "talo"
    origin = _ORIGIN

    def __init__(
        self,
        propagate_traces: bool = True,
        arguments: bool = False,
        monitor_beat_tasks: bool = False,
        exclude_beat_tasks: Sequence[str] = (),
    ) -> None:
        self.propagate_traces = propagate_traces
        self.arguments = arguments
        self.monitors = Monitors(exclude_beat_tasks) if monitor_beat_tasks else None

    @staticmethod
    def setup_once() -> None:
        """Connect to Talo's signals; called by the SDK, once in a process."""
        # The worker logs each failure; as an event it would be there twice.
        ignore_logger("talo.task")
        for signal, receiver in (
            (signals.periodic_task_prepared, _due),
            (signals.before_task_publish, _sending),
            (signals.after_task_publish, _sent),
            (signals.task_prepared, _sending),
            (signals.task_prerun, _started),
            (signals.task_failure, _failed),
            (signals.task_postrun, _ended),
            (signals.task_revoked, _revoked),
            (signals.worker_process_shutdown, _flush),
        ):
            signal.connect(receiver, weak=False)


#: Request -> what leaves its scope and its transaction.
_runs: WeakKeyDictionary[Any, tuple[contextlib.ExitStack, Any]] = WeakKeyDictionary()


def _integration() -> TaloIntegration | None:
    """The integration of the client that is active here: another ``init`` may have left it out."""
    return sentry_sdk.get_client().get_integration(TaloIntegration)


def _due(entry: Any, headers: dict[str, Any], **_: Any) -> None:
    integration = _integration()
    if integration is None:
        return
    # Without this all that a beat ever sends would be one trace.
    sentry_sdk.get_isolation_scope().set_new_propagation_context()
    if integration.monitors is not None:
        integration.monitors.mark(entry.name, entry.schedule, headers)


def _sent(headers: dict[str, Any], **_: Any) -> None:
    if _monitors():
        open_check_in(headers)


def _monitors() -> bool:
    integration = _integration()
    return integration is not None and integration.monitors is not None


def _sending(headers: dict[str, Any], **_: Any) -> None:
    integration = _integration()
    if integration is not None and integration.propagate_traces:
        _carry(headers)


def _carry(headers: dict[str, Any]) -> None:
    """Write the trace that goes on here into headers, beside the baggage of others."""
    for name, value in sentry_sdk.get_current_scope().iter_trace_propagation_headers():
        if name == "baggage" and isinstance(known := headers.get(name), str):
            others = (part for part in known.split(",") if part.strip() and not part.strip().startswith("sentry-"))
            value = ",".join([*others, value])
        headers[name] = value


def _started(sender: Any, task_id: str, **_: Any) -> None:
    integration = _integration()
    if integration is None:
        return
    request = sender.request
    stack = contextlib.ExitStack()
    scope = stack.enter_context(sentry_sdk.isolation_scope())
    scope.clear_breadcrumbs()
    scope.set_tag("talo.task_id", task_id)
    scope.set_transaction_name(sender.name, source=_SOURCE)
    scope.set_context("talo", _facts(integration, request))
    headers = {name: value for name, value in (request.message_headers or {}).items() if isinstance(value, str)}
    transaction = sentry_sdk.continue_trace(
        headers, op=OP.QUEUE_PROCESS, name=sender.name, source=_SOURCE, origin=_ORIGIN
    )
    span = stack.enter_context(sentry_sdk.start_transaction(transaction))
    span.set_data("messaging.message.id", task_id)
    span.set_data("messaging.message.retry.count", request.retries)
    if queue := (request.delivery_info or {}).get("routing_key"):
        span.set_data("messaging.destination.name", queue)
    _runs[request] = stack, span
    if integration.propagate_traces:
        carried = dict(carried_by(request))
        _carry(carried)
        carry(request, carried)


def _facts(integration: TaloIntegration, request: Any) -> dict[str, Any]:
    facts = {
        "id": request.id,
        "task": request.task,
        "retries": request.retries,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "queue": (request.delivery_info or {}).get("routing_key"),
        "worker": request.hostname,
    }
    if integration.arguments or sentry_sdk.get_client().should_send_default_pii():
        # What the sender shows: it may hide what nobody should see.
        facts["args"], facts["kwargs"] = request.argsrepr, request.kwargsrepr
    return {name: value for name, value in facts.items() if value is not None}


def _failed(sender: Any, task_id: str, exception: BaseException, **_: Any) -> None:
    integration = _integration()
    if integration is None:
        return
    request = sender.request
    lives = request in _runs
    if integration.monitors is not None and not lives:
        # Its process is dead: no other end is told.
        close_check_in(request.message_headers, states.FAILURE)
    if isinstance(exception, tuple(sender.throws or ())):
        return
    event, hint = event_from_exception(
        exception,
        client_options=sentry_sdk.get_client().options,
        mechanism={"type": "talo", "handled": False},
    )
    if lives:
        sentry_sdk.capture_event(event, hint=hint)
        return
    # It is told by the agent.
    with sentry_sdk.isolation_scope() as scope:
        scope.set_tag("talo.task_id", task_id)
        scope.set_transaction_name(sender.name, source=_SOURCE)
        scope.set_context("talo", {"id": task_id, "task": sender.name})
        sentry_sdk.capture_event(event, hint=hint)


def _ended(sender: Any, state: str, **_: Any) -> None:
    if _monitors():
        close_check_in(sender.request.message_headers, state)
    found = _runs.pop(sender.request, None)
    if found is None:
        return
    stack, span = found
    span.set_data("talo.task.state", state)
    span.set_status(_STATUS.get(state, SPANSTATUS.ABORTED))
    stack.close()


def _revoked(request: Any, terminated: bool, **_: Any) -> None:
    # What was terminated has ended already.
    if not terminated and _monitors():
        close_check_in(request.message_headers, states.REVOKED)


def _flush(**_: Any) -> None:
    """Processes of a worker end at once: what was gathered has to go now."""
    sentry_sdk.flush(_FLUSH)
