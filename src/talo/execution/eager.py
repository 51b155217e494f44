"""Running a task here and now, on the same steps as a worker's and to the same settlement: ``Task.apply`` and
``task_always_eager``.

What a settlement sends (callbacks, the next step, what a complete group frees) is run here too, one message after the
other, whenever it is due; a retry follows at once. Called by ``app.task`` and ``app.workflows``."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import msgspec

from talo import states
from talo.errors import NotRegistered, Retry
from talo.execution.compile import compile_plan
from talo.execution.env import Env, TaskLike
from talo.execution.request import Context, worker_frame
from talo.execution.retry import Again
from talo.execution.run import Outcome, Run, call_sync
from talo.execution.settle import INTERNAL, settlement_of
from talo.stores.base import Delivery, Lease, ResultBackend, Store
from talo.stores.url import open_store
from talo.util.optional import load
from talo.wire.message import Message
from talo.wire.protocol import Call, decode
from talo.wire.results import decode_result

__all__ = ["EagerOutcome", "Here", "apply_eager", "here", "keeping", "records_here"]


class EagerOutcome(NamedTuple):
    """How an eager call ended. ``result`` is the return value, or the exception."""

    id: str
    state: str
    result: Any
    traceback: str | None


def apply_eager(
    task: TaskLike,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    env: Env,
    *,
    task_id: str | None = None,
    link: Sequence[Any] | None = None,
    link_error: Sequence[Any] | None = None,
    retries: int = 0,
    throw: bool = False,
    headers: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> EagerOutcome:
    """Run a task and all that follows from it; return how the task itself ended. With ``throw`` its exception, or that
    of what follows, is raised."""
    options = options or {}
    task_id = task_id or str(uuid.uuid4())
    frame = worker_frame()
    sender = frame.request if frame is not None else None
    all_headers: dict[str, Any] = {
        "task": task.name,
        "id": task_id,
        "root_id": options.get("root_id") or (sender and (sender.root_id or sender.id)) or task_id,
        "parent_id": options.get("parent_id") or (sender and sender.id),
        "group": options.get("group_id"),
        "group_index": options.get("group_index"),
        "ignore_result": options.get("ignore_result"),
        **(headers or {}),
    }
    call = Call(
        task=task.name,
        id=task_id,
        args=list(args),
        kwargs=dict(kwargs),
        callbacks=list(link or ()),
        errbacks=list(link_error or ()),
        chain=list(options.get("chain") or ()),
        chord=options.get("chord"),
        headers=all_headers,
        retries=retries,
        expires=None,
        eta=None,
        timelimit=(None, None),
    )
    outcome = _apply(task, call, env, throw)
    if throw and outcome.state in states.PROPAGATE_STATES and isinstance(outcome.result, BaseException):
        raise outcome.result
    return outcome


class Here:
    """What the stores would hold of an eager call and of all that follows from it: how tasks have ended, and the
    records of workflows, in a store in memory."""

    def __init__(self) -> None:
        #: By task id.
        self.ends: dict[str, EagerOutcome] = {}
        self._store: Store | None = None

    @property
    def records(self) -> ResultBackend:
        """The records of workflows."""
        if self._store is None:
            self._store = open_store(f"memory://eager-{uuid.uuid4().hex}")
        return self._store.results

    def close(self) -> None:
        """Forget the records."""
        if self._store is not None:
            self._store.close()


#: Of the outermost eager call in this context.
_here: ContextVar[Here | None] = ContextVar("talo_here", default=None)
#: Where workflows keep their records, while one of Talo's own goes on here; what tasks send themselves has its own way.
_records: ContextVar[ResultBackend | None] = ContextVar("talo_records", default=None)


@contextlib.contextmanager
def here() -> Iterator[Here]:
    """What is held for the eager call that this context is in, which begins here if it is in none."""
    known = _here.get()
    if known is not None:
        yield known
        return
    token = _here.set(made := Here())
    try:
        yield made
    finally:
        _here.reset(token)
        made.close()


@contextlib.contextmanager
def keeping(place: Here) -> Iterator[None]:
    """Within it, records of workflows are kept in ``place``."""
    token = _records.set(place.records)
    try:
        yield
    finally:
        _records.reset(token)


def records_here() -> ResultBackend | None:
    """Where records of workflows are kept if not in the app's own store."""
    return _records.get()


def _apply(task: TaskLike, call: Call, env: Env, throw: bool) -> EagerOutcome:
    """Run a call, and then what its settlement sends."""
    with here() as place:
        with keeping(place) if task.name in INTERNAL else contextlib.nullcontext():
            run = _run_until_it_ends(task, call, env)
            settlement = settlement_of(run)
        place.ends[call.id] = _outcome(run)
        for meta in settlement.also:
            doc = decode_result(meta.payload, env.accept)
            place.ends[meta.task_id] = EagerOutcome(meta.task_id, doc.status, doc.value, doc.traceback)
        if env.store_eager_result:
            env.store_results([*([settlement.result] if settlement.result is not None else []), *settlement.also])
        freed = place.records.add_parts([settlement.part]) if settlement.part is not None else []
        for message in [*settlement.follow, *freed]:
            _receive(message, env, throw)
        # Whoever has taken its place has ended under its id.
        return place.ends[call.id]


def _receive(message: Message, env: Env, throw: bool) -> None:
    """Run a message."""
    call = decode(message, env.accept, env.timezone)
    task = env.tasks.get(call.task)
    if task is None:
        raise NotRegistered(call.task)
    outcome = _apply(task, call, env, throw)
    if throw and outcome.state in states.PROPAGATE_STATES and isinstance(outcome.result, BaseException):
        raise outcome.result


def _outcome(run: Run) -> EagerOutcome:
    state = states.IGNORED if run.outcome is Outcome.IGNORED else run.outcome.value
    result = run.retval if run.outcome is Outcome.SUCCESS else run.exc
    return EagerOutcome(run.call.id, state, result, run.einfo.traceback if run.einfo is not None else None)


def _run_until_it_ends(task: TaskLike, call: Call, env: Env) -> Run:
    """Run, and retry at once for as long as the task asks for it."""
    plan = compile_plan(task, env)
    while True:
        delivery = Delivery(lease=Lease(owner="", token=0), queue=env.default_queue, message=None)
        run = Run(plan, call, _context_of(call, task, env), delivery)
        if plan.is_async:
            # Only who calls a coroutine task has to have asyncio, which takes longer to import than all of Talo.
            load("talo.execution.aio").call_blocking(run)
        else:
            call_sync(run)
        if run.outcome is not Outcome.RETRY:
            return run
        assert isinstance(run.exc, Retry)
        again = run.exc.sig
        assert isinstance(again, Again)
        call = msgspec.structs.replace(
            call,
            args=call.args if again.args is None else list(again.args),
            kwargs=call.kwargs if again.kwargs is None else dict(again.kwargs),
            retries=again.retries,
        )


def _context_of(call: Call, task: TaskLike, env: Env) -> Context:
    env.secrets.arrive(call, env.repr_levels)
    ignore = call.headers.get("ignore_result")
    return Context.of(
        {
            **call.headers,
            "args": call.args,
            "kwargs": call.kwargs,
            "callbacks": call.callbacks,
            "errbacks": call.errbacks,
            "chain": call.chain,
            "chord": call.chord,
            "called_directly": False,
            "is_eager": True,
            "hostname": env.hostname,
            "retries": call.retries,
            "message_headers": call.headers,
            "ignore_result": task.ignore_result if ignore is None else ignore,
            "delivery_info": {"is_eager": True, "exchange": None, "routing_key": None, "priority": None},
        }
    )
