"""From a delivery to a run: decode, find the task, and see whether it may start.

What may not (malformed, unknown, expired, too early, revoked, too often delivered) comes out as a settlement instead.
Called by the pools just before the start."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from talo import signals
from talo.errors import MalformedMessage, NotRegistered, OperationalError, WorkerLostError
from talo.execution.compile import Plan, compile_plan
from talo.execution.env import Env
from talo.execution.limits import Limits
from talo.execution.request import Context
from talo.execution.run import Run
from talo.execution.settle import (
    INTERNAL,
    settlement_of_expired,
    settlement_of_lost,
    settlement_of_malformed,
    settlement_of_unknown,
)
from talo.stores.base import Delivery, Settlement, Verdict
from talo.stores.parking import at_home
from talo.util.text import count as words_of
from talo.wire.message import COPY, Message
from talo.wire.protocol import Call, decode
from talo.worker.brakes import Brakes
from talo.worker.parking import Parking

__all__ = ["COPY_TTL", "Intake"]

log = logging.getLogger("talo.worker")

#: Since when a message has been looking for a worker that knows its task (epoch seconds).
UNKNOWN_SINCE = "talo-unknown-since"
#: Seconds between two looks.
UNKNOWN_PAUSE = 1.0
#: Seconds for which a worker remembers which copy of a task came first; the next copy follows within minutes.
COPY_TTL = 86400.0
#: Seconds until a message that cannot be judged while the store is away is looked at again.
UNSURE_PAUSE = 1.0


class Intake:
    """Admits deliveries to runs. ``revoked`` tells whether a task id is revoked; ``first`` whether this copy of a task
    (of what, which one) is the one that runs, or raises ``OperationalError``.

    ``max_charges``: where the store charges by itself what comes back from a dead process, so that nobody has judged
    it yet, how often it may; 0: without end. None: the store does not."""

    def __init__(
        self,
        env: Env,
        revoked: Callable[[str], bool],
        unknown_patience: float,
        *,
        first: Callable[[str, str], bool] = lambda _of, _copy: True,
        max_charges: int | None = None,
    ) -> None:
        self._max_charges = max_charges
        self._env = env
        self._revoked = revoked
        self._patience = unknown_patience
        self._first = first
        self._plans: dict[str, Plan] = {}
        self._time_limits: Mapping[str, tuple[float | None, float | None]] = {}
        #: What keeps tasks from starting now; None: nothing does. And where those of a paused type go; None: nowhere.
        self.brakes: Brakes | None = None
        self.parking: Parking | None = None

    def limit(self, time_limits: Mapping[str, tuple[float | None, float | None]]) -> None:
        """Let these limits (hard, soft; by task) hold for runs that begin from now on."""
        self._time_limits = time_limits
        for name in time_limits:
            self.plan(name)

    def plan(self, name: str) -> Plan | None:
        """Return the compiled plan of a task, or None if no such task is registered."""
        plan = self._plans.get(name)
        if plan is None:
            task = self._env.tasks.get(name)
            if task is None:
                return None
            plan = self._plans[name] = compile_plan(task, self._env)
        if name in self._time_limits:
            plan.limits = Limits(*self._time_limits[name])
        return plan

    def admit(self, delivery: Delivery) -> Run | Settlement:
        """Return the run of a delivery, or the settlement of one that does not run."""
        env = self._env
        source, delivery = delivery.queue, at_home(delivery)
        message = delivery.message
        if message is None:
            reason, _, text = (delivery.fault or "unreadable: the bytes make no message").partition(": ")
            return self._malformed(delivery, reason, text)
        try:
            call = decode(message, env.accept, env.timezone)
        except MalformedMessage as fault:
            return self._malformed(delivery, fault.reason, fault.text)
        plan = self._plans.get(call.task) or self.plan(call.task)
        if plan is None:
            return self._unknown(delivery, call)
        request = context_of(call, message, plan, env, delivery.deliveries)
        if call.eta is not None or call.expires is not None:
            refusal = self._untimely(delivery, call, request)
            if refusal is not None:
                return refusal
        root = call.headers["root_id"]
        if self._revoked(call.id) or (root != call.id and call.task not in INTERNAL and self._revoked(root)):
            return self._cancelled(delivery, call, request, "revoked")
        if self.brakes is not None or COPY in message.headers:
            withheld = self._withheld(delivery, call, request, message.headers.get(COPY), source)
            if withheld is not None:
                return withheld
        run = Run(plan, call, request, delivery)
        if delivery.deliveries and (lost := self._lost(run)) is not None:
            return lost
        if signals.task_received.receivers:
            signals.task_received.send(sender=plan.task, request=request)
        if log.isEnabledFor(logging.INFO):
            name = request.shadow or call.task
            fields = {"action": "received", "task_id": call.id, "task_name": call.task, "queue": delivery.queue}
            log.info("Task %s[%s] received", name, call.id, extra=fields)
        return run

    def _lost(self, run: Run) -> Settlement | None:
        """The end of what the store has charged and must not start again; None if it may."""
        assert run.delivery is not None
        if self._max_charges is None:
            return None
        task, count = run.plan.task, run.delivery.deliveries
        limit = task.max_deliveries or self._max_charges
        worn_out = limit and count >= limit
        if not worn_out and not task.at_most_once and task.reject_on_worker_lost is not False:
            return None
        log.error(
            "Task %s[%s] lost its process %s",
            task.name,
            run.call.id,
            words_of(count, "time"),
            extra={"action": "worker_lost", "task_id": run.call.id, "task_name": task.name},
        )
        exc = WorkerLostError(f"Worker exited prematurely. Delivered {words_of(count, 'time')}.")
        detail = {"deliveries": count, "why": f"worker_lost: its connection ended (delivery {count})"}
        return settlement_of_lost(run, exc, "worker_lost", detail)

    def _braked(
        self, brakes: Brakes, delivery: Delivery, call: Call, request: Context, source: str
    ) -> Settlement | None:
        if brakes.revokes(call.headers):
            return self._cancelled(delivery, call, request, "revoked")
        if brakes.closes(source):
            return Settlement(lease=delivery.lease, verdict=Verdict.AGAIN)
        if self.parking is not None and (place := brakes.parking(source, call.task)) is not None:
            parked = self.parking.settle(delivery, place)
            if parked is not None:
                return parked
        now = self._env.time()
        if not (delay := brakes.delay(call.task, now)):
            return None
        if source != delivery.queue:
            # From where it was parked it goes home, to come back from there like all others.
            assert delivery.message is not None
            again = delivery.message.anew(delivery.message.headers, delivery.message.body, now + delay)
            return Settlement(lease=delivery.lease, follow=[again])
        return Settlement(lease=delivery.lease, verdict=Verdict.AGAIN, delay=delay)

    def recall(self, delivery: Delivery) -> Run | None:
        """Return the run of a delivery whose process died, without any check; None if it makes none."""
        delivery = at_home(delivery)
        message = delivery.message
        if message is None:
            return None
        try:
            call = decode(message, self._env.accept, self._env.timezone)
        except MalformedMessage:
            return None
        plan = self.plan(call.task)
        return Run(plan, call, context_of(call, message, plan, self._env), delivery) if plan is not None else None

    def _malformed(self, delivery: Delivery, reason: str, text: str) -> Settlement:
        fields = {"action": "malformed", "queue": delivery.queue, "reason": reason}
        log.error(
            "Message in queue %s makes no task (%s): %s; kept as a dead letter",
            delivery.queue,
            reason,
            text,
            extra=fields,
        )
        if signals.task_rejected.receivers:
            signals.task_rejected.send(sender=None, message=delivery.message, exc=MalformedMessage(reason, text))
        return settlement_of_malformed(delivery, self._env, reason, text)

    def _unknown(self, delivery: Delivery, call: Call) -> Settlement:
        """Another worker may know the task (a deploy is under way): the message waits for it, uncharged, and is kept
        when none comes."""
        message = delivery.message
        assert message is not None
        exc = NotRegistered(call.task)
        if signals.task_unknown.receivers:
            signals.task_unknown.send(sender=None, message=message, exc=exc, name=call.task, id=call.id)
        since = message.headers.get(UNKNOWN_SINCE)
        now = self._env.time()
        fields = {"action": "unknown", "task_id": call.id, "task_name": call.task, "queue": delivery.queue}
        if not isinstance(since, int | float):
            log.error(
                "Received unregistered task of type %r (id %s): it waits %.0f s for a worker that has it. "
                "Is its module imported (include=, autodiscover_tasks)?",
                call.task, call.id, self._patience, extra=fields,
            )  # fmt: skip
            since = now
        if now - since < self._patience:
            return Settlement(
                lease=delivery.lease,
                follow=[message.anew({**message.headers, UNKNOWN_SINCE: since}, message.body, now + UNKNOWN_PAUSE)],
            )
        log.error("No worker knows task %r (id %s): kept as a dead letter", call.task, call.id, extra=fields)
        return settlement_of_unknown(call, context_of(call, message, None, self._env), delivery, self._env, exc)

    def _withheld(
        self, delivery: Delivery, call: Call, request: Context, copy: object, source: str
    ) -> Settlement | None:
        """The settlement of a task that the brakes keep from starting, or that another copy of its message has
        started; None if it may start."""
        if self.brakes is not None:
            held_back = self._braked(self.brakes, delivery, call, request, source)
            if held_back is not None:
                return held_back
        return self._surplus(delivery, call, str(copy)) if copy is not None else None

    def _surplus(self, delivery: Delivery, call: Call, copy: str) -> Settlement | None:
        """The end of a message of which another copy has come before; None for the first one."""
        which, _, of = copy.partition(" ")
        try:
            if self._first(of or call.id, which):
                return None
        except OperationalError:
            return Settlement(lease=delivery.lease, verdict=Verdict.AGAIN, delay=UNSURE_PAUSE)
        fields = {"action": "copy", "task_id": call.id, "task_name": call.task}
        log.info("Discarding a second copy of %s[%s]", call.task, call.id, extra=fields)
        return Settlement(lease=delivery.lease)

    def _untimely(self, delivery: Delivery, call: Call, request: Context) -> Settlement | None:
        now = self._env.time()
        if call.expires is not None and call.expires <= now:
            return self._cancelled(delivery, call, request, "expired")
        if call.eta is not None and call.eta > now:
            # A foreign producer leaves the waiting to the worker; Talo's store does it.
            return Settlement(lease=delivery.lease, verdict=Verdict.AGAIN, delay=call.eta - now)
        return None

    def _cancelled(self, delivery: Delivery, call: Call, request: Context, why: str) -> Settlement:
        fields = {"action": why, "task_id": call.id, "task_name": call.task}
        log.info("Discarding %s task: %s[%s]", why, call.task, call.id, extra=fields)
        if signals.task_revoked.receivers:
            task = self._env.tasks[call.task]
            signals.task_revoked.send(
                sender=task, request=request, terminated=False, signum=None, expired=why == "expired"
            )
        return settlement_of_expired(request, delivery, self._env, why)


def context_of(call: Call, message: Message, plan: Plan | None, env: Env, deliveries: int = 0) -> Context:
    """Return the request of a call; ``plan`` is that of its task, if this process knows it.

    ``deliveries``: how often it was charged before."""
    if plan is not None and plan.secret:
        env.secrets.arrive(call, env.repr_levels)
    headers = call.headers
    properties = message.properties
    fields = {
        **headers,
        "args": call.args,
        "kwargs": call.kwargs,
        "callbacks": call.callbacks,
        "errbacks": call.errbacks,
        "chain": call.chain,
        "chord": call.chord,
        "called_directly": False,
        "hostname": env.hostname,
        "message_headers": headers,
        "properties": properties,
        "correlation_id": properties.get("correlation_id"),
        "reply_to": properties.get("reply_to"),
        "delivery_info": {
            "exchange": message.exchange,
            "routing_key": message.routing_key or message.queue,
            "priority": message.priority,
            "redelivered": deliveries > 0 or bool(headers.get("redelivered")),
        },
    }
    if fields.get("ignore_result") is None and plan is not None:
        fields["ignore_result"] = plan.ignore_result
    return Context.of(fields)
