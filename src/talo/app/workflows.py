"""Workflows of one app: from a composed signature to messages in the broker and records in the result store.

Owns the order of things (records first, then what begins, so that nothing can complete before it is known) and the
form in which records are stored. What a workflow consists of is ``canvas.plan``'s. Callers: composed signatures, and
``app.builtins`` inside the worker.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from talo import states
from talo.app._batches import Batches
from talo.app.eager import EagerResult
from talo.app.groups import GroupResult, ResultSet
from talo.app.hearing import Hearing
from talo.app.send import Own
from talo.canvas.advance import CHORD
from talo.canvas.algebra import is_composed, members_of
from talo.canvas.celery_form import compile_for_celery
from talo.canvas.plan import Record, compile_workflow, inherited
from talo.canvas.signature import Signature
from talo.execution import eager
from talo.execution.request import Frame, current_frame
from talo.stores.base import GroupRecord, ResultBackend
from talo.wire import new_id, serializers
from talo.wire.message import Message
from talo.wire.results import ResultDoc, decode_result

if TYPE_CHECKING:
    from talo.app.send import Prepared, Sender

__all__ = ["CHORD", "WorkflowDoors", "Workflows"]

#: Seconds for which a record is kept, and again from each part of its group: longer than any workflow should pause.
KEPT = 30 * 86400.0
#: Messages that are made and sent at a time, so that a group of any size takes bounded memory for them.
_BATCH = 1000


class WorkflowDoors:
    """What an app offers of workflows: mixed into ``Talo``."""

    if TYPE_CHECKING:
        _sender: Sender

    @functools.cached_property
    def workflows(self) -> Workflows:
        """Sends workflows and keeps their records."""
        return Workflows(self, self._sender)

    @functools.cached_property
    def hearing(self) -> Hearing:
        """Tells the workers what is revoked, and waits until they have heard."""
        return Hearing(self)

    def send_workflow(self, signature: Any, args: Any, kwargs: Any, options: Any) -> Any:
        """Send a chain, group or chord; return the handle of its last result."""
        return self.workflows.send(signature, args, kwargs, options)

    def apply_workflow(self, signature: Any, args: Any, kwargs: Any, options: Any) -> Any:
        """Run a chain, group or chord here and now; return the handle of its last result."""
        return self.workflows.apply(signature, args, kwargs, options)

    def ResultSet(self, results: Iterable[Any], **kwargs: Any) -> ResultSet[Any]:
        """A handle of several results."""
        return ResultSet(results, app=self, **kwargs)

    def GroupResult(self, id: str, results: Iterable[Any] = (), **kwargs: Any) -> GroupResult[Any]:
        """A handle of the results of a group."""
        return GroupResult(id, results, app=self, **kwargs)


class _Group(NamedTuple):
    """A group on its way out: what its members are given, and their handles so far."""

    id: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]
    handles: list[Any]


class Workflows:
    """Sends workflows and keeps their records, for one app."""

    def __init__(self, app: Any, sender: Sender) -> None:
        self._app = app
        self._sender = sender

    # -- sending

    def send(
        self, signature: Signature, args: Iterable[Any] | None, kwargs: Mapping[str, Any] | None, options: Any
    ) -> Any:
        """Send a composed signature; return the handle of its last result. ``ValueError`` for one that contains
        itself."""
        app = self._app
        if signature["subtask_type"] == "group" and (options.get("link") or options.get("link_error")):
            raise TypeError("a group has no result of its own: link its members, or make it the header of a chord")
        if app.conf.task_always_eager:
            return self.apply(signature, args, kwargs, options)
        if not app.env.celery_form and (members := _stream_of(signature)) is not None:
            return self._send_members(signature, members, tuple(args or ()), kwargs, options)
        try:
            twin = signature.clone()
        except RecursionError:
            raise ValueError(f"a {signature['subtask_type']} that contains itself cannot be sent") from None
        add_to_parent = options.pop("add_to_parent", True)
        task_id = options.pop("task_id", None)
        self._set(twin, options)
        result = twin.freeze(task_id)
        if result is None:
            return None
        top = top_of(result)
        records: list[Record] = []
        if app.env.celery_form:
            launches = self.planned_for_celery(twin, tuple(args or ()), kwargs)
        else:
            launches, records = compile_workflow(twin, tuple(args or ()), kwargs, answered=app.results_are_answers)
        self._dispatch(launches, records, top.id)
        if add_to_parent:
            _add_to_trail(top)
        return result

    def _send_members(
        self,
        whole: Any,
        members: Iterator[Signature],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None,
        options: dict[str, Any],
    ) -> GroupResult[Any]:
        """Send a group that nothing follows: batch by batch, of which nothing but the ids stays here."""
        own_id = options.pop("task_id", None)
        group_id = whole.options.get("task_id") or own_id or new_id()
        add_to_parent = options.pop("add_to_parent", True)
        group = _Group(group_id, (*args, *whole["args"]), kwargs or {}, {**inherited(whole), **options}, [])
        try:
            with Batches(self._sender) as batches:
                while batch := list(itertools.islice(members, _BATCH)):
                    prepared = (self._planned if any(map(is_composed, batch)) else self._plain)(batch, group)
                    for at in range(0, len(prepared), _BATCH):
                        batches.send(prepared[at : at + _BATCH])
        except Exception as exc:
            exc.add_note(f"group {group_id}: {batches.sent} messages had been sent before this")
            raise
        result = self._app.GroupResult(group_id, group.handles)
        if add_to_parent:
            _add_to_trail(result)
        return result  # type: ignore[no-any-return]

    def _plain(self, batch: Sequence[Signature], group: _Group) -> list[Prepared]:
        """Members that are single calls: alike, as a rule, but for their arguments."""
        sender, app = self._sender, self._app
        group_id, args, kwargs, options, handles = group
        known: dict[str, Any] = {}
        prepared = []
        for member in batch:
            name, more = member["task"], member["options"]
            if more:
                common, form = sender.alike(name, {**options, **more})
            elif (found := known.get(name)) is not None:
                common, form = found
            else:
                common, form = known[name] = sender.alike(name, options)
            place = Own(
                more.get("task_id") or new_id(), more.get("group_id") or group_id, len(handles), more.get("reply_to")
            )
            handles.append(app.AsyncResult(place.task_id))
            own_args, own_kwargs = [*(member["args"] or ())], member["kwargs"] or {}
            if (args or kwargs) and not member.get("immutable"):
                own_args, own_kwargs = [*args, *own_args], {**own_kwargs, **kwargs}
            prepared.append(sender.prepared(name, own_args, own_kwargs, common, form, place))
        return prepared

    def _planned(self, batch: Sequence[Signature], group: _Group) -> list[Prepared]:
        """Members among which are workflows."""
        launches: list[Any] = []
        records: list[Record] = []
        for member in batch:
            twin = member.clone()
            group.handles.append(twin.freeze(group_id=group.id, group_index=len(group.handles)))
            begun, kept = compile_workflow(twin, group.args, group.kwargs, options=group.options)
            launches += begun
            records += kept
        root = self._recorded(launches, records, group.id)
        return [self._prepared(launch, root) for launch in launches]

    def _dispatch(self, launches: Sequence[Mapping[str, Any]], records: Sequence[Record], top_id: str) -> None:
        """Keep the records, then send what begins; it belongs to ``top_id`` if no task sends it."""
        root = self._recorded(launches, records, top_id)
        try:
            with Batches(self._sender) as batches:
                for at in range(0, len(launches), _BATCH):
                    batches.send([self._prepared(launch, root) for launch in launches[at : at + _BATCH]])
        except Exception as exc:
            exc.add_note(f"workflow {top_id}: {batches.sent} of {len(launches)} messages had been sent before this")
            raise

    def _recorded(
        self, launches: Sequence[Mapping[str, Any]], records: Sequence[Record], top_id: str
    ) -> str | None:  # fmt: skip
        """Keep the records; return what the launches have to name as their root, if nothing else does."""
        if not records:
            return None
        sender = _inside()
        root = top_id if sender is None else None
        queue = self.queue_of(launches[0]) if launches else self._app.conf.task_default_queue
        self.keep(records, queue, root if sender is None else sender.request.root_id)
        return root

    # -- here and now

    def apply(
        self, signature: Signature, args: Iterable[Any] | None, kwargs: Mapping[str, Any] | None, options: Any
    ) -> Any:
        """Run a composed signature here, and all that follows; return the handle of its last result."""
        twin = signature.clone()
        throw = options.pop("throw", None)
        self._set(twin, {key: value for key, value in options.items() if key not in ("add_to_parent", "task_id")})
        result = twin.freeze(options.get("task_id"))
        if result is None:
            return None
        launches, records = compile_workflow(twin, tuple(args or ()), kwargs)
        with eager.here() as place:
            if records:
                with eager.keeping(place):
                    self.keep(records, self._app.conf.task_default_queue, None)
            for launch in launches:
                task = self._app.tasks[launch["task"]]
                task.apply(launch["args"], launch["kwargs"], throw=throw, **launch["options"])
            return self._ended(result, place)

    def _ended(self, result: Any, place: eager.Here) -> Any:
        """The handle of what has ended here, and those of its parents."""
        made: Any
        if isinstance(result, GroupResult):
            made = self._app.GroupResult(result.id, [self._ended(each, place) for each in result.results])
        else:
            end = place.ends.get(result.id) or eager.EagerOutcome(result.id, states.PENDING, None, None)
            made = EagerResult(end.id, end.result, end.state, traceback=end.traceback)
        if result.parent is not None:
            made.parent = self._ended(result.parent, place)
        return made

    @staticmethod
    def _set(twin: Signature, options: Mapping[str, Any]) -> None:
        """Give the twin the options of this call; callbacks come on top of its own."""
        for key, value in options.items():
            if key in ("link", "link_error"):
                if value:
                    twin.extend_list_option(key, value)
            else:
                twin.options[key] = value

    def _prepared(self, launch: Mapping[str, Any], root: str | None) -> Any:
        options = launch["options"]
        if root is not None:
            options = {**options, "root_id": root}
        return self._sender.call(launch["task"], launch["args"], launch["kwargs"], options)

    # -- Celery's form

    def planned_for_celery(
        self, signature: Signature, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """The launches of a frozen signature in Celery's form; sizes of its chords are noted where Celery looks."""
        launches, sizes = compile_for_celery(signature, args, kwargs)
        for group_id, size in sizes.items():
            self._app.records.open_celery_chord(group_id, size, self._app.conf.result_expires)
        return launches

    def celery_parts(self, group_id: str) -> list[Any]:
        """``[1, id, state, value]`` of every member of a chord in Celery's form."""
        codec = serializers.get(self._app.conf.result_serializer)
        return [codec.loads(part) for part in self._app.records.celery_parts(group_id)]

    # -- records

    def keep(self, records: Sequence[Record], queue: str, root: str | None) -> None:
        """Keep records; a group that completes goes on in the queue of what it frees, else in ``queue``, and belongs
        to the workflow whose first task is ``root``."""
        self._records.open_groups([self._stored(record, queue, root) for record in records])

    def _stored(self, record: Record, queue: str, root: str | None) -> GroupRecord:
        plan = {"size": record.size, "start": record.start, "then": record.then, "part": record.part}
        if self._app.secrets.marks:
            plan = self._app.secrets.within(plan)
        then = self._continuation(record, queue, root) if record.size else None
        kept = self._app.conf.result_chord_expires or KEPT
        return GroupRecord(id=record.id, size=record.size, then=then, plan=self._codec.dumps(plan), expires=kept)

    def _continuation(self, record: Record, queue: str, root: str | None) -> Message:
        if record.then:
            queue = self.queue_of(record.then[0])
        options = {"task_id": f"{record.id}-then", "queue": queue, **({"root_id": root} if root else {})}
        message: Message = self._app.prepare(CHORD, [record.id], {}, options)
        return message

    @property
    def _records(self) -> ResultBackend:
        return eager.records_here() or self._app.records

    @property
    def _codec(self) -> Any:
        return serializers.get(self._app.conf.task_serializer)

    def queue_of(self, launch: Mapping[str, Any]) -> str:
        """The queue to which a launch will go: whoever consumes it knows the app."""
        app, name = self._app, launch["task"]
        task = app.registered(name)
        options = {**(task.send_defaults if task is not None else {}), **launch["options"]}
        route = app.router.route(name, options, launch["args"], launch["kwargs"], task)
        return str(route.queues[0])

    def plans(self, record_ids: Sequence[str]) -> dict[str, Record]:
        """The records that exist and have not been used."""
        found = {}
        for record_id, payload in self._records.group_plans(record_ids).items():
            plan = self._codec.loads(payload)
            part = (plan["part"][0], plan["part"][1]) if plan["part"] is not None else None
            found[record_id] = Record(record_id, plan["size"], plan["start"], plan["then"], part)
        return found

    def parts(self, group_id: str) -> list[ResultDoc]:
        """The ends of the members of a group, in its order."""
        accept = self._app.result_accept
        return [decode_result(payload, accept) for _, payload in self._records.group_parts(group_id)]


def _stream_of(signature: Any) -> Iterator[Signature] | None:
    """The members of a group that can be sent one by one, without a plan of the whole."""
    if signature["subtask_type"] != "group":
        return None
    if signature.streamed is not None:
        return _flat(signature.streamed.stream())
    return None if any(map(is_composed, signature.tasks)) else iter(signature.tasks)


def _flat(members: Iterable[Any]) -> Iterator[Any]:
    """Members, and those of groups among them."""
    for member in members:
        yield from members_of(member) if member["subtask_type"] == "group" and not member["options"] else (member,)


def _inside() -> Frame | None:
    """The frame of the task that sends, if a worker runs it."""
    frame = current_frame()
    return frame if frame is not None and not frame.request.called_directly else None


def _add_to_trail(result: Any) -> None:
    frame = _inside()
    if frame is not None and frame.task.trail:
        frame.task.add_trail(result)


def top_of(result: Any) -> Any:
    """The first of the parents of a result."""
    while result.parent is not None:
        result = result.parent
    return result
