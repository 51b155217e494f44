"""The rules of ``|``: how two calls make one workflow.

Pure: operands are never changed, only put into new forms. The normal form of a chain is flat: no chain stands in a
chain, a group that something follows is a chord, and what follows a chord whose body ends in a group is part of that
body. So ``(a | b) | c`` and ``a | (b | c)`` are the same signature. Called by ``primitives``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talo.canvas.signature import Signature

__all__ = ["ends_in_group", "is_composed", "join", "members_of", "normal", "steps_of"]

COMPOSED = ("chain", "group", "chord")


def is_composed(signature: Any) -> bool:
    """Whether a signature (or its dict) stands for several calls."""
    return signature.get("subtask_type") in COMPOSED


def steps_of(signature: Signature) -> list[Signature]:
    """Return the steps of a chain, or the one step that anything else is.

    What was set on the chain itself (callbacks, a queue) belongs to the whole, so such a chain stays a step of its own.
    """
    if signature.get("subtask_type") != "chain" or signature["options"]:
        return [signature]
    return [step for inner in signature["kwargs"]["tasks"] for step in steps_of(inner)]


def members_of(signature: Signature) -> list[Signature]:
    """Return the members of a group; groups among them count with their own members."""
    members: list[Signature] = []
    for member in signature["kwargs"]["tasks"]:
        if member.get("subtask_type") == "group" and not _binds(member):
            members += members_of(member)
        else:
            members.append(member)
    return members


def _binds(group: Signature) -> bool:
    """Whether something was set on a group that its members would not have without it."""
    return bool(group["options"].keys() - {"task_id"})


def ends_in_group(signature: Signature) -> bool:
    """Whether the last thing that a workflow does is a group."""
    kind = signature.get("subtask_type")
    if kind == "chain":
        tasks = signature["kwargs"]["tasks"]
        return bool(tasks) and ends_in_group(tasks[-1])
    if kind == "chord":
        body = signature["kwargs"]["body"]
        return body is not None and ends_in_group(body)
    return kind == "group"


def normal(steps: Iterable[Signature]) -> list[Signature]:
    """Return the steps of a chain in normal form."""
    flat: list[Signature] = []
    for step in steps:
        for each in steps_of(step):
            _follow(flat, each)
    return flat


def _follow(steps: list[Signature], following: Signature) -> None:
    """Let one more step follow."""
    if not steps:
        steps.append(following)
        return
    last = steps[-1]
    if following.get("subtask_type") == "group" and not following["options"]:
        members = members_of(following)
        if len(members) == 1:
            following = members[0]
    if last.get("subtask_type") == "group":
        steps[-1] = last.TYPES["chord"](last, body=following, app=last._app)
    elif last.get("subtask_type") == "chord" and last["kwargs"]["body"] is not None and ends_in_group(last):
        steps[-1] = _with_body(last, join([last["kwargs"]["body"], following]))
    else:
        steps.append(following)


def _with_body(chord: Signature, body: Signature) -> Signature:
    return chord._twin({**chord, "kwargs": {**chord["kwargs"], "body": body}, "options": dict(chord["options"])})


def join(parts: Sequence[Signature]) -> Signature:
    """Return the workflow of these parts one after the other; a single step stands for itself."""
    steps = normal(parts)
    if len(steps) == 1 and steps[0].get("subtask_type") is not None:
        return steps[0]
    chain: Any = parts[0].TYPES["chain"]
    app = next((part._app for part in parts if part._app is not None), None)
    whole: Signature = chain(*steps, app=app)
    return whole
