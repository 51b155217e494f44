"""What the end of a task frees: its callbacks, the next step of its chain, its error callbacks, its place in a group.

Pure rules over the decoded call; they say what to send (``Sending``) and never send. ``execution`` turns the answers
into messages of the settlement, so that they are sent in the very step that ends the task."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from talo.canvas.algebra import is_composed
from talo.canvas.plan import ONCE, PART, STEP, once, part_of
from talo.wire.protocol import Call

__all__ = [
    "CHORD",
    "FAIL",
    "Ending",
    "Sending",
    "after_failure",
    "after_success",
    "later_ids",
    "later_records",
    "place_of",
]

#: The task that a complete group sends.
CHORD = "talo.chord"
#: The task that ends what stands in records and will never run.
FAIL = "talo.fail"


class Sending(NamedTuple):
    """One call to be sent: the arguments of ``Env.prepare``."""

    name: str
    args: Sequence[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]


class Ending:
    """What a running task adds to its own end; it stands in ``request.ending``.

    ``continues``: somebody else goes on in its place, so that its own end neither calls its callbacks nor counts in its
    group.
    """

    __slots__ = ("closes", "continues", "failed", "grows", "part", "sends")

    def __init__(self, *, continues: bool = False, closes: str | None = None) -> None:
        self.continues = continues
        #: The group whose continuation this task is.
        self.closes = closes
        self.sends: list[Sending] = []
        #: Ids that will never run, and the exception that they end with.
        self.failed: list[tuple[str, BaseException]] = []
        #: The end of another group: (group, index), id of the member, value or exception.
        self.part: tuple[tuple[str, int], str, Any] | None = None
        #: Members that this one has added to its group.
        self.grows = 0


def after_success(call: Call, result: Any) -> list[Sending]:
    """Return the callbacks and the next chain step of a task that ended with ``result``."""
    sendings: list[Sending] = []
    callbacks = call.callbacks or ()
    # Several callbacks travel as a group, as Celery's workers send them.
    group = {"group_id": str(uuid.uuid4())} if len(callbacks) > 1 else {}
    for index, signature in enumerate(callbacks):
        options = {**group, "group_index": index} if group else {}
        sendings.append(_continue(call, signature, result, options))
    if call.chain:
        *rest, following = call.chain
        sendings.append(_continue(call, following, result, {"chain": rest, **_same_sending(call, following)}))
    return sendings


def _same_sending(call: Call, following: Mapping[str, Any]) -> dict[str, Any]:
    """The headers of the next step, with the word of the sending to which the whole chain belongs."""
    word = call.headers.get(ONCE)
    if word is None:
        return {}
    return {"headers": {**((following.get("options") or {}).get("headers") or {}), ONCE: word}}


def after_failure(call: Call, signature: dict[str, Any]) -> Sending:
    """Return the sending of one error callback that takes the id of the failed task."""
    if is_composed(signature):
        return _continue(call, signature, call.id, {})
    args = list(signature.get("args") or ())
    if not signature.get("immutable"):
        args = [call.id, *args]
    return Sending(signature["task"], args, dict(signature.get("kwargs") or {}), _options(call, signature, {}))


def later_ids(chain: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Return the ids of the chain steps that will never run once the one before them has failed."""
    ids = ((signature.get("options") or {}).get("task_id") for signature in chain or ())
    return [task_id for task_id in ids if isinstance(task_id, str)]


def later_records(chain: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Return the records whose steps will never begin once the step before them has failed."""
    return [signature["args"][0] for signature in chain or () if signature["task"] == STEP and signature.get("args")]


def place_of(headers: Mapping[str, Any], chain: Sequence[Mapping[str, Any]] | None) -> tuple[str, int] | None:
    """Return the group and index for which the failure of a step counts: its own, or that of the end of its chain."""
    place = headers.get(PART)
    if place is None and chain:
        # The last step of a reversed chain stands first.
        return part_of(chain[0].get("options") or {})
    return None if place is None else (place[0], place[1])


def _continue(call: Call, signature: dict[str, Any], result: Any, options: dict[str, Any]) -> Sending:
    if is_composed(signature):
        rest = options.get("chain") or []
        kwargs = {"signature": signature, "steps": rest, "chord": _last_chord(signature, rest)}
        place = place_of({}, rest)
        headers: dict[str, Any] = {ONCE: once()}
        if place is not None:
            headers[PART] = list(place)
        return Sending(STEP, [result], kwargs, {**_lineage(call), "headers": headers})
    args = list(signature.get("args") or ())
    if not signature.get("immutable"):
        args = [result, *args]
    return Sending(signature["task"], args, dict(signature.get("kwargs") or {}), _options(call, signature, options))


def _last_chord(signature: Mapping[str, Any], rest: Sequence[Mapping[str, Any]]) -> Any:
    """The body that waits for a composed step of a chain that Celery sent, if the step is the last one."""
    return None if rest else (signature.get("options") or {}).get("chord")


def _options(call: Call, signature: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return {**(signature.get("options") or {}), **options, **_lineage(call)}


def _lineage(call: Call) -> dict[str, Any]:
    return {"parent_id": call.id, "root_id": call.headers.get("root_id") or call.id}
