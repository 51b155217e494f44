"""The place of an end in a workflow: what a settlement tells those who wait for all members of a group, and that a step
of a chain has ended.

Owns the part in Talo's form and in Celery's, and the closing of a step. Which group a member belongs to stands in its
message (``canvas.advance.place_of``). Called by ``execution.settle``.
"""

from __future__ import annotations

from typing import Any

from talo import states
from talo.canvas.advance import later_ids, place_of
from talo.canvas.celery_form import CELERY_CHORD, INTERNAL_SUFFIX
from talo.canvas.plan import ONCE
from talo.execution.env import Env
from talo.execution.recording import payload_of
from talo.execution.request import Context
from talo.execution.run import Run
from talo.stores.base import GroupPart, Settlement, Verdict
from talo.wire.exceptions import exception_to_data
from talo.wire.serializers import get as get_codec

__all__ = ["celery_part", "close_step", "count", "member_of"]


def count(run: Run, settlement: Settlement, state: str, value: Any) -> None:
    """Let the end count in the group that waits for it."""
    place = place_of(run.call.headers, run.call.chain)
    ending = run.request.ending
    if place is None or (ending is not None and ending.continues):
        return
    payload = settlement.result.payload if settlement.result is not None else None
    if payload is None:
        traceback = run.einfo.traceback if run.einfo is not None else None
        payload = payload_of(run.plan.env, run.request, state, value, traceback)
    grows = ending.grows if ending is not None and state == states.SUCCESS else 0
    settlement.part = GroupPart(
        group=place[0], member=member_of(run.call.id, run.call.chain), index=place[1], payload=payload, grows=grows
    )


def close_step(request: Context, settlement: Settlement) -> None:
    """Let the end of a chain's step be the only one: of a message that is in the queue twice the second end has no
    effect."""
    word = (request.message_headers or {}).get(ONCE)
    if word is None or settlement.closes is not None or settlement.verdict is Verdict.AGAIN:
        return
    if settlement.follow or settlement.also:
        settlement.closes = f"once:{word}:{request.id}:{request.replaced_task_nesting}"


def celery_part(env: Env, request: Context, queue: str | None, state: str, value: Any) -> GroupPart | None:
    """Return the part of a member of a chord that Celery sent; the last one sends what goes on with it."""
    place, body, member = _celery_place(request)
    if place is None or body is None:
        return None
    codec = get_codec(env.result_serializer)
    if isinstance(value, BaseException):
        value = exception_to_data(value)
    group, index = place
    then = env.prepare(CELERY_CHORD, [group, body], {}, {"queue": f"{queue}{INTERNAL_SUFFIX}"})
    return GroupPart(
        group=group,
        member=member,
        index=index,
        payload=codec.dumps([1, member, state, value]),
        then=then,
        keep=env.result_expires,
    )


def _celery_place(request: Context) -> tuple[tuple[str, int] | None, Any, str]:
    """The chord (group id and index), its body, and the id of the member, for a task or the end of its chain."""
    if request.chain:
        last = request.chain[0].get("options") or {}
        group, index, body = last.get("group_id"), last.get("group_index"), last.get("chord")
        member = last.get("task_id")
    else:
        group, index, body, member = request.group, request.group_index, request.chord, request.id
    if not group or body is None or not member:
        return None, None, ""
    return (group, index or 0), body, member


def member_of(task_id: str, chain: Any) -> str:
    """Return the id by which a group knows a member: that of the last step, however far it came."""
    ids = later_ids(chain[:1]) if chain else []
    return ids[0] if ids else task_id
