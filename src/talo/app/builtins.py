"""The tasks that every app has: those with which workflows go on, and those that Celery's messages name.

Owns their functions. Each of Talo's own says what follows in its own end (``canvas.advance.Ending``), so that it takes
effect in one step, once, however often the message is delivered. Registered by ``Talo.finalize``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from talo import states
from talo.app._call import listed
from talo.canvas.advance import CHORD, FAIL, Ending, Sending, after_failure, later_ids, later_records
from talo.canvas.celery_form import CELERY_CHORD
from talo.canvas.plan import STEP, Record, compile_workflow, part_of
from talo.canvas.primitives import chord as make_chord
from talo.canvas.signature import maybe_signature
from talo.errors import ChordError, OperationalError
from talo.execution.request import Context
from talo.execution.steps import takes_failure
from talo.wire.exceptions import exception_from_data, exception_to_data

__all__ = ["register"]

#: The store may be away for a while; the workflow waits for it.
_PATIENT: dict[str, Any] = {
    "bind": True,
    "autoretry_for": (OperationalError,),
    "max_retries": None,
    "retry_backoff": 0.1,
    "retry_backoff_max": 30,
    "typing": False,
}


def register(app: Any) -> None:
    """Give an app these tasks."""
    make = app._task_from_fun
    make(_step, name=STEP, **_PATIENT)
    make(_chord, name=CHORD, ignore_result=True, **_PATIENT)
    make(_celery_chord, name=CELERY_CHORD, ignore_result=True, **_PATIENT)
    make(_fail, name=FAIL, ignore_result=True, **_PATIENT)
    make(_errback, name="talo.errback", bind=True, ignore_result=True, typing=False)
    make(_map, name="celery.map", bind=True, typing=False)
    make(_starmap, name="celery.starmap", bind=True, typing=False)
    make(_chunks, name="celery.chunks", bind=True, typing=False)
    make(_accumulate, name="celery.accumulate", bind=True, typing=False)
    make(_cleanup, name="celery.backend_cleanup", bind=True, ignore_result=True, typing=False)


# -- workflows


def _step(
    self: Any,
    *args: Any,
    signature: Any = None,
    steps: Sequence[Any] = (),
    chord: Any = None,
    task_id: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Begin a step of a workflow with the result of the one before: what a record keeps (its id is the last argument),
    or a composed signature, which ``steps`` (in the order of messages) follow."""
    request = self.request
    if signature is not None:
        launches = _begun(self, signature, steps, chord, task_id, options)
        ending = Ending(continues=True)
    else:
        *args, record_id = args  # type: ignore[assignment]
        record = self.app.workflows.plans([record_id]).get(record_id)
        ending = Ending(continues=True, closes=record_id)
        launches = record.start if record is not None else []
    ending.sends = [_sending(launch, args, request) for launch in launches]
    request.ending = ending
    results = [self.app.AsyncResult(launch["options"]["task_id"]) for launch in launches]
    request.children = results or None


def _begun(
    self: Any, signature: Any, steps: Any, chord_body: Any, task_id: str | None, options: Any
) -> list[dict[str, Any]]:
    """Plan a composed signature here, keep its records, and return what begins."""
    flows, request = self.app.workflows, self.request
    whole = maybe_signature(signature, self.app, clone=True)
    if task_id is not None:
        # Under the id of the task that it replaces, whatever follows.
        _last(whole).options["task_id"] = task_id
    rest = [maybe_signature(step, self.app) for step in reversed(steps or ())]
    if rest:
        whole = maybe_signature(_followed(whole, rest), self.app, clone=True)
    elif chord_body is not None and whole["subtask_type"] == "group":
        whole = make_chord(whole, maybe_signature(chord_body, self.app), app=self.app)
    for key in ("link", "link_error"):
        if options and options.get(key):
            whole.extend_list_option(key, options[key])
    more = {k: v for k, v in (options or {}).items() if k not in ("link", "link_error")}
    whole.freeze(root_id=request.root_id)
    place = part_of({"headers": request.message_headers or {}})
    if self.app.env.celery_form and place is None and not request.is_eager:
        return flows.planned_for_celery(whole)  # type: ignore[no-any-return]
    launches, records = compile_workflow(whole, part=place, options=more)
    if records:
        queue = (request.delivery_info or {}).get("routing_key") or flows.queue_of(launches[0])
        flows.keep(records, queue, request.root_id)
    return launches


def _last(whole: Any) -> Any:
    """The call of a composed signature whose result is that of the whole."""
    while whole["subtask_type"] in ("chain", "chord"):
        whole = whole.tasks[-1] if whole["subtask_type"] == "chain" else whole.body
    return whole


def _followed(whole: Any, rest: list[Any]) -> Any:
    for step in rest:
        whole = whole | step
    return whole


def _sending(launch: Mapping[str, Any], args: Sequence[Any], request: Context) -> Sending:
    given = list(launch["args"]) if launch.get("immutable") else [*args, *launch["args"]]
    lineage = {"parent_id": request.parent_id or request.id, "root_id": request.root_id}
    return Sending(launch["task"], given, dict(launch["kwargs"]), {**launch["options"], **lineage})


def _chord(self: Any, group_id: str) -> None:
    """Go on with what a complete group frees: its body with the list of results, or what its failure means."""
    flows, request = self.app.workflows, self.request
    request.ending = ending = Ending(continues=True, closes=group_id)
    record = flows.plans([group_id]).get(group_id)
    if record is None:
        return
    ends = flows.parts(group_id)
    failed = next((end for end in ends if end.status in states.PROPAGATE_STATES), None)
    if failed is not None:
        exc = ChordError(f"Dependency {failed.task_id} raised {failed.value!r}")
        _Failure(self.app, ending, exc, request).of_group(record)
        return
    values = [end.result for end in ends]
    if record.then:
        ending.sends = [_sending(launch, [values], request) for launch in record.then]
    elif record.part is not None:
        ending.part = (record.part, group_id, values)


def _celery_chord(self: Any, group_id: str, body: Mapping[str, Any]) -> None:
    """Go on with a complete chord that Celery sent."""
    flows, request = self.app.workflows, self.request
    request.ending = ending = Ending(continues=True, closes=f"celery:{group_id}")
    whole = maybe_signature(body, self.app, clone=True)
    whole.freeze(root_id=request.root_id)
    ends = flows.celery_parts(group_id)
    failed = next((end for end in ends if end[2] in states.PROPAGATE_STATES), None)
    launches = flows.planned_for_celery(whole)
    if failed is None:
        ending.sends = [_sending(launch, [[end[3] for end in ends]], request) for launch in launches]
        return
    exc = ChordError(f"Dependency {failed[1]} raised {exception_from_data(failed[3])!r}")
    _Failure(self.app, ending, exc, request).of_group(Record(group_id, 0, [], launches, None))


def _fail(self: Any, record_ids: Sequence[str], facts: Mapping[str, Any]) -> None:
    """End what stands in records and will never begin."""
    self.request.ending = ending = Ending(continues=True)
    failure = _Failure(self.app, ending, exception_from_data(facts), self.request)
    failure.of_records(record_ids)
    ending.part = None  # whoever failed has told the group itself


class _Failure:
    """Collects what ends with a failure although it never ran."""

    def __init__(self, app: Any, ending: Ending, exc: BaseException, request: Context) -> None:
        self._app = app
        self._ending = ending
        self._exc = exc
        self._request = request

    def of_group(self, record: Record) -> None:
        """What a group would have freed fails; whoever asked to be told of that is told once."""
        ending = self._ending
        told: list[Any] = []
        for launch in record.then:
            for errback in listed(launch["options"].get("link_error")) or ():
                if errback not in told:
                    told.append(errback)
                    ending.sends.append(self._errback(launch, errback))
        if record.part is not None:
            member = _last_id(record.then[0]) if record.then else record.id
            ending.part = (record.part, member, self._exc)
        self._of_launches(record.then, record.part)

    def of_records(self, record_ids: Sequence[str]) -> None:
        """Everything in these records, and in those that they name, fails."""
        for record in self._app.workflows.plans(record_ids).values():
            self._of_launches([*record.start, *record.then], record.part)

    def _of_launches(self, launches: Sequence[Mapping[str, Any]], outer: tuple[str, int] | None) -> None:
        """``outer`` is where the whole belongs: that group goes on."""
        named: list[str] = []
        groups: list[str] = []
        for launch in launches:
            chain = launch["options"].get("chain") or ()
            ids = [launch["options"].get("task_id"), *later_ids(chain)]
            self._ending.failed += [(task_id, self._exc) for task_id in ids if task_id]
            named += later_records(chain)
            place = _end_of(launch)
            if place is not None and place != outer and place[0] not in groups:
                groups.append(place[0])
        more = [each for each in (*named, *groups) if each != self._ending.closes]
        if more:
            self.of_records(more)

    def _errback(self, launch: Mapping[str, Any], errback: Mapping[str, Any]) -> Sending:
        task = self._app.registered(errback["task"])
        failed_id = launch["options"].get("task_id")
        if task is not None and takes_failure(task):
            request = {"id": failed_id, "task": launch["task"], "args": launch["args"], "kwargs": launch["kwargs"]}
            return Sending("talo.errback", [errback, request, exception_to_data(self._exc)], {}, {})
        return after_failure(_CallOf(failed_id, self._request), dict(errback))  # type: ignore[arg-type]


class _CallOf:
    """What ``after_failure`` reads of a call that never was."""

    def __init__(self, task_id: str, request: Context) -> None:
        self.id = task_id
        self.headers = {"root_id": request.root_id}


def _end_of(launch: Mapping[str, Any]) -> tuple[str, int] | None:
    """The place in a group for which the end of a launch and its chain counts."""
    chain = launch["options"].get("chain")
    return part_of(chain[0]["options"] if chain else launch["options"])


def _last_id(launch: Mapping[str, Any]) -> str:
    chain = launch["options"].get("chain")
    return str((chain[0] if chain else launch)["options"]["task_id"])


def _errback(self: Any, signature: Mapping[str, Any], request: Mapping[str, Any], facts: Mapping[str, Any]) -> Any:
    """Call an error callback that takes (request, exception, traceback) for a task that cannot do it itself."""
    task = self.app.tasks[signature["task"]]
    args, kwargs = signature.get("args") or (), signature.get("kwargs") or {}
    if signature.get("immutable"):
        return task(*args, **kwargs)
    return task(Context(request), exception_from_data(facts), None, *args, **kwargs)


# -- Celery's


def _map(self: Any, task: Any, it: Sequence[Any]) -> list[Any]:
    """Call a task with each item."""
    function = maybe_signature(task, self.app).type
    return [function(item) for item in it]


def _starmap(self: Any, task: Any, it: Sequence[Any]) -> list[Any]:
    """Call a task with each item as its arguments."""
    function = maybe_signature(task, self.app).type
    return [function(*item) for item in it]


def _chunks(self: Any, task: Any, it: Sequence[Any], n: int) -> list[list[Any]]:
    """Call a task with each item as its arguments; the results in pieces of ``n``."""
    values = _starmap(self, task, it)
    return [values[at : at + n] for at in range(0, len(values), n)]


def _accumulate(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the arguments, or the one at ``index``: the body of a group that replaces a task."""
    del self
    index = kwargs.get("index")
    return args[index] if index is not None else args


def _cleanup(self: Any) -> None:
    """Delete results that have expired."""
    while self.app.backend.cleanup(1000):
        continue
