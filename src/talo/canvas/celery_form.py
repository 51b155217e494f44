"""A workflow in the form in which Celery itself sends it, for queues that Celery's workers share.

Owns the translation of a frozen signature into launches whose messages any Celery worker continues: the rest of a
chain in every message, the body of a chord in each member, the size of a chord beside them. Called by
``app.workflows`` when ``task_canvas_form`` is ``celery``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from talo.canvas.algebra import is_composed
from talo.canvas.signature import Signature
from talo.errors import NotSupported

__all__ = ["CELERY_CHORD", "INTERNAL_SUFFIX", "compile_for_celery"]

#: What a queue is called in which Talo's workers keep what Celery's must not see.
INTERNAL_SUFFIX = ".talo"

#: The task that goes on with a complete chord.
CELERY_CHORD = "talo.celery_chord"

Launch = dict[str, Any]


def compile_for_celery(
    signature: Signature, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> tuple[list[Launch], dict[str, int]]:
    """Return the launches of a frozen signature and the sizes of the chords that begin with them, by group id.

    ``NotSupported`` for a group or chord among the members of a chord: Celery's form has no place for its end.
    """
    sizes: dict[str, int] = {}
    launches = [_given(launch, (*args, *signature["args"]), kwargs) for launch in _any(signature, sizes, {})]
    return launches, sizes


def _any(signature: Signature, sizes: dict[str, int], more: Mapping[str, Any]) -> list[Launch]:
    kind = signature.get("subtask_type")
    if kind == "chain":
        return _chain(signature, sizes, more)
    if kind == "group":
        return [launch for member in signature["kwargs"]["tasks"] for launch in _any(member, sizes, more)]
    if kind == "chord":
        return _chord(signature, sizes, more)
    return [_launch(signature, more)]


def _chain(chain: Signature, sizes: dict[str, int], more: Mapping[str, Any]) -> list[Launch]:
    own = chain["options"]
    steps = [step.clone() for step in chain["kwargs"]["tasks"]]
    for step in steps:
        for errback in own.get("link_error") or ():
            step.link_error(errback)
    for callback in own.get("link") or ():
        steps[-1].link(callback)
    # Celery's chord carries what follows it in its body.
    for at, step in enumerate(steps):
        if step.get("subtask_type") == "chord" and at < len(steps) - 1:
            chain_of: Any = type(chain)
            body = chain_of(step["kwargs"]["body"], *steps[at + 1 :], app=chain._app)
            body["options"]["task_id"] = _last_id(body)
            step["kwargs"]["body"] = body
            steps = steps[: at + 1]
            break
    first, *rest = steps
    for step in rest:
        if step.get("subtask_type") == "chord":
            step["options"]["task_id"] = step["kwargs"]["header"]["options"]["task_id"]
    if rest and (place := {k: more[k] for k in ("chord", "group_id", "group_index") if k in more}):
        if is_composed(rest[-1]):
            raise _unplaced(rest[-1])
        rest[-1]["options"].update(place)
        more = {k: v for k, v in more.items() if k not in place}
    launches = _any(first, sizes, more)
    if rest:
        launches[0]["options"]["chain"] = list(reversed(rest))
    return launches


def _last_id(signature: Signature) -> Any:
    """The id under which the result of a workflow will be found."""
    kind, kwargs = signature.get("subtask_type"), signature["kwargs"]
    if kind == "chain":
        return _last_id(kwargs["tasks"][-1])
    return _last_id(kwargs["body"]) if kind == "chord" else signature["options"].get("task_id")


def _chord(chord: Signature, sizes: dict[str, int], more: Mapping[str, Any]) -> list[Launch]:
    if "chord" in more:
        raise _unplaced(chord)
    header, body = chord["kwargs"]["header"], chord["kwargs"]["body"].clone()
    gid = header["options"]["task_id"]
    for key in ("link", "link_error"):
        if chord["options"].get(key):
            body.extend_list_option(key, chord["options"][key])
    members = header["kwargs"]["tasks"]
    if not members:
        return [{**_given(launch, ([],), None), "immutable": True} for launch in _any(body, sizes, more)]
    body["options"].setdefault("group_id", gid)
    launches = []
    for index, member in enumerate(members):
        if member.get("subtask_type") in ("group", "chord"):
            raise _unplaced(member)
        launches += _any(member, sizes, {"chord": body, "group_id": gid, "group_index": index})
    sizes[gid] = len(members)
    return launches


def _unplaced(signature: Signature) -> NotSupported:
    return NotSupported(
        f"a {signature['subtask_type']} cannot end a member of a chord in Celery's form: "
        "set task_canvas_form to talo where only Talo's workers consume"
    )


def _launch(signature: Signature, more: Mapping[str, Any]) -> Launch:
    return {
        "task": signature["task"],
        "args": list(signature["args"] or ()),
        "kwargs": signature["kwargs"] or {},
        "options": {**signature["options"], **more},
        "immutable": bool(signature.get("immutable")),
    }


def _given(launch: Launch, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Launch:
    if launch.get("immutable") or not (args or kwargs):
        return launch
    return {**launch, "args": [*args, *launch["args"]], "kwargs": {**launch["kwargs"], **(kwargs or {})}}
