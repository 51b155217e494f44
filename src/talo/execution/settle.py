"""What the outcome of a run means for its message: the settlement.

Owns the rules from outcome to settlement: which result is stored, what is sent, where the message goes. Pure.
Called by the pools for what ran (``settlement_of``) and by the agent for what cannot speak for itself
(``settlement_of_lost``)."""

from __future__ import annotations

import datetime as dt
from typing import Any

from talo import states
from talo.canvas.advance import (
    FAIL,
    Ending,
    Sending,
    after_failure,
    after_success,
    later_ids,
    later_records,
    place_of,
)
from talo.canvas.celery_form import INTERNAL_SUFFIX
from talo.canvas.plan import PART
from talo.errors import InvalidTaskError, NotRegistered, Reject, Retry, TaskRevokedError, TimeLimitExceeded
from talo.execution.acks import keeps
from talo.execution.einfo import ExceptionInfo
from talo.execution.env import Env, TaskLike
from talo.execution.history import INTERNAL, record_of_request, record_of_run
from talo.execution.parts import celery_part, close_step, count, member_of
from talo.execution.recording import kept, meta_of, payload_of
from talo.execution.request import Context, carried_by
from talo.execution.retry import Again, backoff
from talo.execution.run import RETRY, SUCCESS, Outcome, Run
from talo.execution.steps import log, takes_failure
from talo.stores.base import Death, Delivery, GroupPart, ResultMeta, Settlement, Verdict
from talo.util.text import storable
from talo.wire.exceptions import exception_to_data
from talo.wire.message import Message
from talo.wire.protocol import Call, encode_body
from talo.wire.results import encode_result, task_tuple
from talo.wire.sent import SENT
from talo.wire.serializers import get as get_codec

__all__ = [
    "INTERNAL",
    "settlement_of",
    "settlement_of_expired",
    "settlement_of_lost",
    "settlement_of_malformed",
    "settlement_of_unknown",
]


def settlement_of(run: Run) -> Settlement:
    """Return the settlement of a run that has come to an outcome."""
    delivery = run.delivery
    assert delivery is not None
    settlement = _settled(run, delivery)
    if run.outcome is not RETRY:
        close_step(run.request, settlement)
    settlement.run = record_of_run(run, delivery, settlement)
    return settlement


def _settled(run: Run, delivery: Delivery) -> Settlement:
    if run.outcome is SUCCESS or run.outcome is RETRY:
        try:
            return _success(run, delivery) if run.outcome is SUCCESS else _retry(run, delivery)
        except Exception as exc:  # noqa: BLE001  whatever a callback's options make the sending raise
            # What a task returns, and where its callbacks or its retry are to go, can turn out to be impossible only
            # here; it has failed by that.
            run.outcome = Outcome.FAILURE
            run.exc, run.einfo = exc, ExceptionInfo(exc)
            for step in run.plan.on_late_failure:
                step(run)
    return _ENDINGS[run.outcome](run, delivery)


def _succession(run: Run) -> list[Sending]:
    """Return what a run's end sends on: callbacks and next step after a success, error callbacks by id after a
    failure."""
    if run.outcome is SUCCESS:
        call = run.call
        return after_success(call, run.retval) if call.callbacks or call.chain else []
    if run.outcome in (Outcome.FAILURE, Outcome.REVOKED):
        tasks = run.plan.env.tasks
        return [
            after_failure(run.call, signature)
            for signature in run.call.errbacks or ()
            if (known := tasks.get(signature["task"])) is None or not takes_failure(known)
        ]
    return []


def _success(run: Run, delivery: Delivery) -> Settlement:
    settlement = Settlement(lease=delivery.lease)
    call, request = run.call, run.request
    ending = request.ending
    if (call.callbacks or call.chain) and (ending is None or not ending.continues):
        settlement.follow = _followed(run, _succession(run))
    if not request.ignore_result and (not request.is_eager or run.plan.env.store_eager_result):
        settlement.result = _result(run, states.SUCCESS, run.retval)
    if PART in call.headers:
        count(run, settlement, states.SUCCESS, run.retval)
    elif call.chord is not None and run.plan.env.celery_form and (ending is None or not ending.continues):
        settlement.part = celery_part(run.plan.env, run.request, delivery.queue, states.SUCCESS, run.retval)
    if ending is not None:
        _extend(run, settlement, ending)
    return settlement


def _followed(run: Run, sendings: list[Sending]) -> list[Message]:
    """Return the messages of what follows; they are children of the run."""
    messages = _messages(run, sendings)
    if run.plan.task.trail and not run.request.ignore_result:
        children = run.request.children
        if children is None:
            children = run.request.children = []
        children += [Child(str(message.id)) for message in messages]
    return messages


class Child:
    """What a run has sent, as far as its result tells of it."""

    __slots__ = ("id",)

    def __init__(self, id: str) -> None:
        self.id = id

    def as_tuple(self) -> list[Any]:
        """The result tuple of a task."""
        return task_tuple(self.id)


def _extend(run: Run, settlement: Settlement, ending: Ending) -> None:
    """Add what the task itself has added to its end."""
    env = run.plan.env
    settlement.follow = [*settlement.follow, *_messages(run, ending.sends)]
    settlement.closes = ending.closes
    if ending.failed:
        settlement.also = [*settlement.also, *(_ended(env, each, exc, run.request) for each, exc in ending.failed)]
    if ending.part is not None:
        (group, index), member, value = ending.part
        state = states.FAILURE if isinstance(value, BaseException) else states.SUCCESS
        payload = payload_of(env, Context(id=member), state, value, None)
        settlement.part = GroupPart(group=group, member=member, index=index, payload=payload)


def _ended(env: Env, task_id: str, exc: BaseException, request: Context) -> ResultMeta:
    """Return the result of a task that will never run."""
    payload = payload_of(env, Context(id=task_id, parent_id=request.id), states.FAILURE, exc, None)
    return ResultMeta(task_id=task_id, status=states.FAILURE, payload=payload, expires=kept(env, states.FAILURE))


def _failure(run: Run, delivery: Delivery) -> Settlement:
    env, task = run.plan.env, run.plan.task
    settlement = Settlement(lease=delivery.lease)
    _record_exception(run, settlement, states.FAILURE)
    settlement.follow = [*_errbacks(run, _succession(run)), *settlement.follow]
    wanted = task.dead_letter if task.dead_letter is not None else env.dead_letters
    if wanted or keeps(task, run.exc):
        settlement.verdict = Verdict.DEAD
        settlement.death = _death(run, "time_limit" if isinstance(run.exc, TimeLimitExceeded) else "failed")
    return settlement


def _retry(run: Run, delivery: Delivery) -> Settlement:
    assert isinstance(run.exc, Retry)
    settlement = Settlement(lease=delivery.lease, follow=[_next_attempt(run, run.exc.sig)])
    if not run.request.ignore_result:
        reason = run.exc.exc
        settlement.result = _result(run, states.RETRY, reason)
    return settlement


def _ignored(run: Run, delivery: Delivery) -> Settlement:
    settlement = Settlement(lease=run.delivery.lease if run.delivery is not None else delivery.lease)
    ending = run.request.ending
    if ending is not None:
        _extend(run, settlement, ending)
    if PART in run.call.headers:
        count(run, settlement, states.IGNORED, None)
    return settlement


def _rejected(run: Run, delivery: Delivery) -> Settlement:
    assert isinstance(run.exc, Reject)
    if run.exc.requeue:
        # A second's pause keeps a task that always says no from spinning.
        return Settlement(lease=delivery.lease, verdict=Verdict.AGAIN, delay=1.0)
    run.einfo = ExceptionInfo(run.exc, skip=1)
    settlement = Settlement(lease=delivery.lease, verdict=Verdict.DEAD, death=_death(run, "rejected"))
    # It will not run again, so whoever waits for it must hear of it, as from Celery.
    _record_exception(run, settlement, states.FAILURE)
    return settlement


def _revoked(run: Run, delivery: Delivery) -> Settlement:
    settlement = Settlement(lease=delivery.lease)
    run.exc = TaskRevokedError(*(run.exc.args if run.exc is not None and run.exc.args else ("terminated",)))
    _record_exception(run, settlement, states.REVOKED)
    settlement.follow = [*_errbacks(run, _succession(run)), *settlement.follow]
    return settlement


def _back(_run: Run, delivery: Delivery) -> Settlement:
    return Settlement(lease=delivery.lease, verdict=Verdict.AGAIN)


_ENDINGS = {
    SUCCESS: _success,
    RETRY: _retry,
    Outcome.FAILURE: _failure,
    Outcome.IGNORED: _ignored,
    Outcome.REJECTED: _rejected,
    Outcome.REVOKED: _revoked,
    Outcome.BACK: _back,
}


def settlement_of_lost(run: Run, exc: BaseException, reason: str, detail: dict[str, Any]) -> Settlement:
    """Return the settlement of a delivery whose process is gone: recorded as failed with ``exc``, and a dead letter
    for ``reason``.

    A retry that the task's policy asks for this exception is planned as if the task had raised it.
    """
    delivery = run.delivery
    assert delivery is not None
    run.lose(exc)
    if run.outcome is not Outcome.FAILURE:
        settlement = _ENDINGS[run.outcome](run, delivery)
    else:
        settlement = _failure(run, delivery)
        settlement.follow = [*settlement.follow, *_errbacks(run, _errbacks_of_dead(run))]
        settlement.verdict = Verdict.DEAD
        settlement.death = _death(run, reason, detail)
        close_step(run.request, settlement)
    settlement.run = record_of_run(run, delivery, settlement)
    return settlement


def settlement_of_expired(request: Context, delivery: Delivery, env: Env, why: str) -> Settlement:
    """Return the settlement of a task that must not start any more: ``why`` is ``expired`` or ``revoked``."""
    exc = TaskRevokedError(why)
    settlement = Settlement(lease=delivery.lease)
    result = meta_of(env, request, states.REVOKED, exc, None)
    if not request.ignore_result:
        settlement.result = result
    _break_off(env, request, settlement, result.payload, exc, delivery.queue)
    close_step(request, settlement)
    settlement.run = record_of_request(env, request, delivery, states.REVOKED, why, settlement)
    return settlement


def settlement_of_unknown(call: Call, request: Context, delivery: Delivery, env: Env, exc: NotRegistered) -> Settlement:
    """Return the settlement of a task that no worker knows: a dead letter, and failed for whoever waits for it."""
    result = meta_of(env, request, states.FAILURE, exc, None)
    text = f"no worker knows task {call.task!r}"
    settlement = settlement_of_malformed(delivery, env, "unregistered", text, result=result)
    _break_off(env, request, settlement, result.payload, exc, delivery.queue, states.FAILURE)
    sendings = []
    for signature in call.errbacks or ():
        known = env.tasks.get(signature["task"])
        late = known is not None and takes_failure(known)
        sendings.append(_errback_later(request, exc, signature) if late else after_failure(call, signature))
    settlement.follow = [*_told(env, delivery.queue, sendings), *settlement.follow]
    close_step(request, settlement)
    return settlement


def settlement_of_malformed(
    delivery: Delivery, env: Env, reason: str, text: str, *, result: ResultMeta | None = None
) -> Settlement:
    """Return the settlement of a message that cannot be run: to the dead letters, with the reason."""
    message = delivery.message
    part = None
    if message is not None and (place := place_of(message.headers, None)) is not None:
        exc = InvalidTaskError(f"{reason}: {text}"[:2000])
        payload = result.payload if result is not None else encode_result(str(message.id), states.FAILURE, exc)
        part = GroupPart(group=place[0], member=str(message.id), index=place[1], payload=payload)
    settlement = Settlement(
        lease=delivery.lease,
        verdict=Verdict.DEAD,
        result=result,
        part=part,
        death=Death(
            reason=reason,
            text=storable(text, 2000),
            detail={"worker": env.hostname},
            task_id=storable(message.id, 2000) or None if message else None,
            task=storable(message.task, 2000) or None if message else None,
            expires=env.dead_letter_expires(delivery.queue),
            queue=delivery.queue,
        ),
    )
    request = Context(message.headers if message is not None and type(message.headers) is dict else {})
    state = result.status if result is not None else states.REJECTED
    settlement.run = record_of_request(env, request, delivery, state, f"{reason}: {text}", settlement)
    return settlement


def lost_delay(task: TaskLike, deliveries: int) -> float:
    """Return the seconds to wait before a message whose process died is fetched again: the task's own back-off, if it
    has one."""
    return backoff(task, deliveries) if task.retry_backoff else 0.0


def _errbacks_of_dead(run: Run) -> list[Sending]:
    """Error callbacks that take the failure itself cannot be called in place for a dead process; a worker calls them
    from a message."""
    tasks = run.plan.env.tasks
    return [
        _errback_later(run.request, run.exc, signature)
        for signature in run.call.errbacks or ()
        if (task := tasks.get(signature["task"])) is not None and takes_failure(task) and run.exc is not None
    ]


def _errback_later(request: Context, exc: BaseException, signature: Any) -> Sending:
    facts = {k: request.get(k) for k in ("id", "task", "args", "kwargs", "retries", "root_id", "parent_id")}
    return Sending("talo.errback", [signature, facts, exception_to_data(exc)], {}, {})


def _record_exception(run: Run, settlement: Settlement, state: str) -> None:
    """Store the failure under the task's own id and under those of the chain steps that can never run."""
    env, request, task = run.plan.env, run.request, run.plan.task
    assert run.exc is not None
    traceback = run.einfo.traceback if run.einfo is not None and run.exc.__traceback__ is not None else None
    if not request.ignore_result or task.store_errors_even_if_ignored:
        settlement.result = meta_of(env, request, state, run.exc, traceback)
    if run.call.chain or run.call.chord is not None or PART in run.call.headers:
        payload = settlement.result.payload if settlement.result is not None else None
        payload = payload or payload_of(env, request, state, run.exc, traceback)
        queue = run.delivery.queue if run.delivery is not None else None
        _break_off(env, request, settlement, payload, run.exc, queue, state, traceback)


def _break_off(
    env: Env,
    request: Context,
    settlement: Settlement,
    payload: bytes,
    exc: BaseException,
    queue: str | None,
    state: str = states.REVOKED,
    traceback: str | None = None,
) -> None:
    """End what will never run now: the later steps of the chain, and the place in a group."""
    chain = request.chain
    place = place_of(request.message_headers or {}, chain)
    if place is None and env.celery_form:
        settlement.part = celery_part(env, request, queue, state, exc)
    if place is not None:
        member = member_of(str(request.id), chain)
        settlement.part = GroupPart(group=place[0], member=member, index=place[1], payload=payload)
    if not chain:
        return
    settlement.also = [
        ResultMeta(
            task_id=task_id,
            status=state,
            payload=payload_of(env, Context(id=task_id, parent_id=request.id), state, exc, traceback),
            expires=kept(env, state),
        )
        for task_id in later_ids(chain)
    ]
    records = later_records(chain)
    if records:
        facts = exception_to_data(exc)
        settlement.follow = [*settlement.follow, env.prepare(FAIL, [records, facts], {}, {"queue": queue})]


def _result(run: Run, state: str, value: Any) -> ResultMeta:
    traceback = run.einfo.traceback if run.einfo is not None else None
    return meta_of(run.plan.env, run.request, state, value, traceback)


def _death(run: Run, reason: str, detail: dict[str, Any] | None = None) -> Death:
    request = run.request
    queue = run.delivery.queue if run.delivery is not None else None
    facts: dict[str, Any] = {
        "worker": run.plan.env.hostname,
        "retries": request.retries,
        "exception": repr(run.exc),
        "traceback": run.einfo.traceback if run.einfo else None,
        **(detail or {}),
    }
    return Death(
        reason=reason,
        text=str(run.exc)[:2000] if run.exc is not None else "",
        detail=facts,
        task_id=request.id,
        task=run.plan.task.name,
        expires=run.plan.env.dead_letter_expires(queue or ""),
        queue=queue,
    )


def _messages(run: Run, sendings: list[Sending]) -> list[Message]:
    env, queue = run.plan.env, run.delivery.queue if run.delivery is not None else None
    messages = [_message(env, queue, sending) for sending in sendings]
    _carry(run, messages)
    return messages


def _carry(run: Run, messages: list[Message]) -> None:
    if headers := carried_by(run.request):
        for message in messages:
            message.headers.update(headers)


def _message(env: Env, queue: str | None, sending: Sending) -> Message:
    """Talo's own tasks go where this one came from: there somebody knows them."""
    if sending.name in INTERNAL:
        if queue is not None and env.celery_form and not queue.endswith(INTERNAL_SUFFIX):
            queue += INTERNAL_SUFFIX
        sending = sending._replace(options={**sending.options, "queue": queue})
    return env.prepare(*sending)


def _errbacks(run: Run, sendings: list[Sending]) -> list[Message]:
    messages = _told(run.plan.env, run.delivery.queue if run.delivery is not None else None, sendings)
    _carry(run, messages)
    return messages


def _told(env: Env, queue: str | None, sendings: list[Sending]) -> list[Message]:
    """The messages of error callbacks. One that cannot be made is told and left out: the task has failed already, and
    its end must not fail, here or in the agent that buries it."""
    messages: list[Message] = []
    for sending in sendings:
        try:
            messages.append(_message(env, queue, sending))
        except Exception as exc:  # noqa: BLE001  whatever its options make the sending raise
            log.error("Error callback %s cannot be sent: %r", sending.name, exc, extra={"action": "errback"})
    return messages


def _next_attempt(run: Run, again: Again) -> Message:
    """Return the message of the next attempt: the same bytes and headers wherever nothing changes."""
    assert run.delivery is not None and run.delivery.message is not None
    call, old = run.call, run.delivery.message
    message = old
    if again.options or not old.headers:
        message = _rerouted(run, again.options or {})
    now = run.plan.env.time()
    due = again.due if again.due > now else None
    headers = {
        **message.headers,
        "retries": again.retries,
        "eta": dt.datetime.fromtimestamp(again.due, dt.UTC).isoformat(),
        "parent_id": call.id,
        SENT: now,
    }
    body = message.body
    if again.args is not None or again.kwargs is not None:
        args, kwargs = run.plan.env.secrets.call(
            call.task,
            call.args if again.args is None else list(again.args),
            call.kwargs if again.kwargs is None else dict(again.kwargs),
        )
        body, extra = encode_body(
            args,
            kwargs,
            callbacks=call.callbacks,
            errbacks=call.errbacks,
            chain=call.chain,
            chord=call.chord,
            codec=get_codec(message.content_type),
            compression=message.headers.get("compression"),
        )
        headers.update(extra)
    return message.anew(headers, body, due)


def _rerouted(run: Run, options: dict[str, Any]) -> Message:
    """Return the call as a new message with other options (queue, priority, serializer, ...)."""
    assert run.delivery is not None and run.delivery.message is not None
    call, request, old = run.call, run.request, run.delivery.message
    kept = {k: v for k, v in request.as_execution_options().items() if v is not None}
    if not {"queue", "exchange", "routing_key"} & options.keys():
        kept["queue"] = old.queue
    kept.setdefault("priority", old.priority)
    return run.plan.env.prepare(call.task, call.args, call.kwargs, {**kept, **options})
