"""Queues: how much waits, how old it is, how long it will take, who consumes it; pausing and purging.

Owns joining the broker's numbers with counters and consumers; what waits is shown by ``Broker.peek``."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec

from talo.control.queues import queue_stats
from talo.errors import NotSupported
from talo.stores.base import QueueStats
from talo.util.text import count, shorten
from talo.web.desk import Desk
from talo.web.operation import Nothing, Unacceptable, acts, reads
from talo.web.user import Role
from talo.wire.message import Message
from talo.wire.sent import ready_since

__all__ = ["facts_of", "queue_pause", "queue_purge", "queue_resume", "queues", "waiting"]

#: Seconds over which the rate of a queue is taken.
RECENT = 300
_PAGE = 50


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """The name of a queue."""

    queue: Annotated[str, msgspec.Meta(min_length=1)]


class Purged(msgspec.Struct, forbid_unknown_fields=True):
    """``confirm`` repeats the name: there is no undo."""

    queue: Annotated[str, msgspec.Meta(min_length=1)]
    confirm: str


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """A part of what waits in a queue; ``delayed``: of what waits for its time."""

    queue: Annotated[str, msgspec.Meta(min_length=1)]
    delayed: bool = False
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=250)] = _PAGE


@reads("/queues", Nothing)
def queues(desk: Desk, _: Nothing) -> dict[str, Any]:
    """Depth, oldest age, rate, time to drain and consumers of each queue."""
    rates = _rates(desk)
    paused, _tasks = desk.paused()
    answer = desk.answers.latest()
    rows = []
    for stats in queue_stats(desk.app):
        name = stats.name
        rate = rates.get(name)
        rows.append(
            {
                **msgspec.to_builtins(stats),
                "paused": name in paused,
                "rate": rate,
                "drain": stats.ready / rate if rate and stats.ready else None,
                "consumers": None
                if answer is None
                else sorted(node for node, all_ in answer.queues.items() if any(q.get("name") == name for q in all_)),
            }
        )
    return {"queues": rows, "answered": None if answer is None else time.monotonic() - answer.at}


def _rates(desk: Desk) -> dict[str, float]:
    """What ended in each queue, per second, lately."""
    now = time.time()
    ended: dict[str, int] = {}
    for each in desk.counters(now - RECENT, 60, now):
        ended[each.queue] = ended.get(each.queue, 0) + each.count
    span = RECENT + now % 60
    return {name: number / span for name, number in ended.items()}


@reads("/queue", Page)
def waiting(desk: Desk, asked: Page) -> dict[str, Any]:
    """What waits in a queue, the next to be fetched first."""
    [stats] = [each for each in desk.broker.stats([asked.queue]) if each.name == asked.queue] or [
        QueueStats(name=asked.queue)
    ]
    messages: list[Message] | None
    try:
        messages = desk.broker.peek(asked.queue, asked.limit + 1, asked.offset, delayed=asked.delayed)
    except NotSupported:
        messages = None
    return {
        "queue": asked.queue,
        "delayed": asked.delayed,
        "offset": asked.offset,
        "limit": asked.limit,
        "stats": msgspec.to_builtins(stats),
        "paused": asked.queue in desk.paused()[0],
        "messages": None if messages is None else [facts_of(each) for each in messages[: asked.limit]],
        "more": messages is not None and len(messages) > asked.limit,
    }


def facts_of(message: Message) -> dict[str, Any]:
    """What is shown of a message that waits. Its arguments are those that its sender wrote for people."""
    return {
        "id": message.id,
        "task": message.task,
        "queue": message.queue,
        "priority": message.priority,
        "due": message.due,
        "since": None if message.due is not None else ready_since(message),
        "args": shorten(str(message.headers.get("argsrepr") or ""), 200),
        "kwargs": shorten(str(message.headers.get("kwargsrepr") or ""), 200),
        "retries": message.headers.get("retries") if isinstance(message.headers.get("retries"), int) else 0,
        "root": message.headers.get("root_id"),
        "parent": message.headers.get("parent_id"),
    }


@acts("/queues/pause", Named)
def queue_pause(desk: Desk, asked: Named) -> dict[str, Any]:
    """Start nothing more from a queue, on any worker, until it is resumed."""
    desk.app.control.pause(asked.queue)
    return {"text": f"Queue {asked.queue} is paused. What runs goes on."}


@acts("/queues/resume", Named)
def queue_resume(desk: Desk, asked: Named) -> dict[str, Any]:
    """Take the pause of a queue back."""
    desk.app.control.resume(asked.queue)
    return {"text": f"Queue {asked.queue} is resumed."}


@acts("/queues/purge", Purged, Role.ADMIN)
def queue_purge(desk: Desk, asked: Purged) -> dict[str, Any]:
    """Delete everything that waits in a queue, for good."""
    if asked.confirm != asked.queue:
        raise Unacceptable(f"to purge it, repeat its name: {asked.queue}")
    purged = desk.app.control.purge_queues([asked.queue])
    return {"text": f"{count(purged, 'task')} of queue {asked.queue} deleted.", "purged": purged}
