"""What the end of a task frees: its callbacks, the next step of its chain, its error callbacks.

Pure rules over the decoded call; they say what to send (``Sending``) and never send. ``execution`` turns the answers
into messages of the settlement, so that they are sent in the very step that ends the task."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from talo.wire.protocol import Call

__all__ = ["Sending", "after_failure", "after_success", "later_ids"]


class Sending(NamedTuple):
    """One call to be sent: the arguments of ``Env.prepare``."""

    name: str
    args: Sequence[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]


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
        sendings.append(_continue(call, following, result, {"chain": rest}))
    return sendings


def after_failure(call: Call, signature: dict[str, Any]) -> Sending:
    """Return the sending of one error callback that takes the id of the failed task."""
    args = list(signature.get("args") or ())
    if not signature.get("immutable"):
        args = [call.id, *args]
    return Sending(signature["task"], args, dict(signature.get("kwargs") or {}), _options(call, signature, {}))


def later_ids(call: Call) -> list[str]:
    """Return the ids of the chain steps that will never run once this one has failed."""
    ids = ((signature.get("options") or {}).get("task_id") for signature in call.chain or ())
    return [task_id for task_id in ids if isinstance(task_id, str)]


def _continue(call: Call, signature: dict[str, Any], result: Any, options: dict[str, Any]) -> Sending:
    args = list(signature.get("args") or ())
    if not signature.get("immutable"):
        args = [result, *args]
    return Sending(signature["task"], args, dict(signature.get("kwargs") or {}), _options(call, signature, options))


def _options(call: Call, signature: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return {
        **(signature.get("options") or {}),
        **options,
        "parent_id": call.id,
        "root_id": call.headers.get("root_id") or call.id,
    }
