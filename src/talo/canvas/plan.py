"""From a frozen workflow to what is sent now and what is kept for later.

Owns the form in which a workflow runs. A *launch* is the dict of a plain signature that carries what follows it: the
next steps (``options.chain``, in the order of sending, reversed as in messages), callbacks, and in the header ``PART``
its place in a group. What does not fit a message stands in a *record* of the store: the members of a step to come, and
what a group frees when it is complete. Every signature is written once, so a workflow grows linearly.

Pure. Called by ``app.workflows`` for whoever sends, client or task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from talo.canvas.algebra import is_composed
from talo.canvas.signature import Signature

__all__ = ["INLINE", "ONCE", "PART", "STANDING", "STEP", "Record", "compile_workflow", "inherited", "once", "part_of"]

#: The header that names the group and the index for which an end counts.
PART = "talo-part"
#: The header with the random word of one sending of a chain, by which a step that is in its queue twice is known.
ONCE = "talo-once"
#: The headers that say where in a workflow a message stands. They go with whatever takes its place.
STANDING = (PART, ONCE)
#: The task that goes on with what a record keeps.
STEP = "talo.step"
#: Steps that a message carries; later ones stand in a record.
INLINE = 16

Launch = dict[str, Any]


class Record(NamedTuple):
    """What the store keeps until a step begins (``size`` 0) or a group is complete."""

    id: str
    size: int
    #: Launches that begin with the step.
    start: list[Launch]
    #: Launches that get the list of results when the group is complete; none: the list is itself the end of a member.
    then: list[Launch]
    #: The group and index for which that list counts, or whatever fails in this record.
    part: tuple[str, int] | None


class _After(NamedTuple):
    """What follows a signature, whatever its form."""

    #: Launches without what follows them, the next one first.
    steps: tuple[Launch, ...] = ()
    part: tuple[str, int] | None = None
    link: tuple[Any, ...] = ()
    link_error: tuple[Any, ...] = ()
    #: Options that every launch gets which does not have them.
    options: Mapping[str, Any] = {}


def compile_workflow(
    signature: Signature,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    inline: int = INLINE,
    part: tuple[str, int] | None = None,
    steps: Sequence[Launch] = (),
    options: Mapping[str, Any] | None = None,
    answered: bool = False,
) -> tuple[list[Launch], list[Record]]:
    """Return the launches of a frozen signature and the records that have to be kept before they are sent.

    ``args`` and ``kwargs`` are taken by what begins. ``part`` is the place in a group for which the end counts,
    ``steps`` are launches that follow it. ``answered``: results are sent back to who asked, so each step says who.
    """
    compiler = _Compiler(inline, answered)
    launches = compiler.any(signature, _After(tuple(steps), part, options=options or {}))
    if args or kwargs or signature["args"]:
        launches = [
            _given(launch, (*args, *signature["args"]) if is_composed(signature) else args, kwargs)
            for launch in launches
        ]
    return launches, compiler.records


def part_of(options: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return the group and index that the options of a launch (or headers) name."""
    part = (options.get("headers") or {}).get(PART)
    return None if part is None else (part[0], part[1])


def _given(launch: Launch, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Launch:
    if launch.get("immutable"):
        return launch
    return {**launch, "args": [*args, *launch["args"]], "kwargs": {**launch["kwargs"], **(kwargs or {})}}


class _Compiler:
    """One workflow on its way."""

    def __init__(self, inline: int, answered: bool) -> None:
        self._inline = inline
        self._answered = answered
        self.records: list[Record] = []

    def any(self, signature: Signature, after: _After) -> list[Launch]:
        """Return the launches with which ``signature`` begins."""
        kind = signature.get("subtask_type")
        if kind == "chain":
            return self._chain(signature, after)
        if kind == "group":
            return self._group(signature, after)
        if kind == "chord":
            return self._chord(signature, after)
        return [_launch(signature, after)]

    def _chain(self, chain: Signature, after: _After) -> list[Launch]:
        own = chain["options"]
        first_options = {k: v for k, v in own.items() if k not in ("link", "link_error", "task_id")}
        errbacks = (*(own.get("link_error") or ()), *after.link_error)
        following = after.steps
        tasks = chain["kwargs"]["tasks"]
        launches: list[Launch] = []
        for at in reversed(range(len(tasks))):
            last, first = at == len(tasks) - 1, at == 0
            here = _After(
                steps=following,
                part=after.part if last else None,
                link=(*(own.get("link") or ()), *after.link) if last else (),
                link_error=errbacks,
                options={**after.options, **first_options} if first else after.options,
            )
            if first:
                launches = self.any(tasks[at], here)
            elif is_composed(tasks[at]):
                following = (self._later(self.any(tasks[at], here), after.part),)
            else:
                if len(following) >= self._inline:
                    following = (self._later([_with_steps(following[0], following[1:])], after.part),)
                step = _launch(tasks[at], here._replace(steps=()))
                if not self._answered:
                    # Whoever sends it says where it is from.
                    step["options"].pop("reply_to", None)
                following = (step, *following)
        return launches

    def _later(self, launches: list[Launch], part: tuple[str, int] | None) -> Launch:
        """Keep launches in a record; return the launch that goes on with it."""
        record = Record(str(uuid4()), 0, launches, [], part)
        self.records.append(record)
        options: dict[str, Any] = {"task_id": record.id}
        if part is not None:
            options["headers"] = {PART: list(part)}
        return {"task": STEP, "args": [record.id], "kwargs": {}, "options": options, "immutable": False}

    def _group(self, group: Signature, after: _After) -> list[Launch]:
        if after.steps:
            following = [_with_steps(after.steps[0], after.steps[1:])]
            return self._gathered(group, following, after)
        if after.part is not None:
            return self._gathered(group, [], after)
        own = inherited(group)
        members = [
            self.any(member, after._replace(link=after.link if not at else (), options={**after.options, **own}))
            for at, member in enumerate(group["kwargs"]["tasks"])
        ]
        return [launch for launches in members for launch in launches]

    def _chord(self, chord: Signature, after: _After) -> list[Launch]:
        own = {k: v for k, v in chord["options"].items() if k not in ("link", "link_error", "task_id")}
        more = chord["options"]
        then = self.any(
            chord["kwargs"]["body"],
            after._replace(
                link=(*(more.get("link") or ()), *after.link),
                link_error=(*(more.get("link_error") or ()), *after.link_error),
                options={**after.options, **own},
            ),
        )
        return self._gathered(chord["kwargs"]["header"], then, after)

    def _gathered(self, header: Signature, then: list[Launch], after: _After) -> list[Launch]:
        """A group with something behind it."""
        members = header["kwargs"]["tasks"]
        if not members:
            if not then and after.part is not None:
                raise ValueError("an empty group at the end of a member of a chord gives it no result")
            return [{**_given(launch, ([],), None), "immutable": True} for launch in then]
        gid = header["options"]["task_id"]
        own = inherited(header)
        errbacks = () if then else after.link_error
        launches = []
        for index, member in enumerate(members):
            here = _After(part=(gid, index), link_error=errbacks, options={**after.options, **own})
            launches += self.any(member, here)
        self.records.append(Record(gid, len(members), [], then, after.part))
        return launches


def inherited(group: Signature) -> dict[str, Any]:
    """The options of a group that its members have, unless they say otherwise."""
    return {k: v for k, v in group["options"].items() if k not in ("task_id", "link", "link_error")}


def _launch(signature: Signature, after: _After) -> Launch:
    """Return a plain signature with what follows it."""
    options = {**after.options, **signature["options"]}
    for key, more in (("link", after.link), ("link_error", after.link_error)):
        if more:
            own = options.get(key) or []
            own = list(own) if isinstance(own, list | tuple | set) else [own]
            options[key] = own + [callback for callback in more if callback not in own]
    if after.part is not None:
        options["headers"] = {**(options.get("headers") or {}), PART: list(after.part)}
        options.setdefault("group_id", after.part[0])
        options.setdefault("group_index", after.part[1])
    launch = {
        "task": signature["task"],
        "args": list(signature["args"] or ()),
        "kwargs": signature["kwargs"] or {},
        "options": options,
        "immutable": bool(signature.get("immutable")),
    }
    return _with_steps(launch, after.steps) if after.steps else launch


def _with_steps(launch: Launch, steps: Sequence[Launch]) -> Launch:
    """Return the launch with the steps that follow it, in the order of messages."""
    if not steps:
        return launch
    options = launch["options"]
    headers = {**(options.get("headers") or {}), ONCE: once()}
    return {**launch, "options": {**options, "headers": headers, "chain": list(reversed(steps))}}


def once() -> str:
    """Return a word for one sending of a chain. With the task id beside it eight digits tell any two apart."""
    return uuid4().hex[:8]
