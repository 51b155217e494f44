"""Task types: rate, failures, latency of each; pausing one, limiting its rate.

Owns the sums by task. A task is listed if it ran in the window or the app of the dashboard knows it."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec

from talo.errors import NotSupported
from talo.util.rates import rate_of
from talo.util.text import count
from talo.web.desk import Desk
from talo.web.operation import Unacceptable, acts, reads
from talo.web.operations._counting import Total, series, window
from talo.web.operations.overview import Window

__all__ = ["task_pause", "task_rate_limit", "task_resume", "tasks"]


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """``window``: how far back. ``name``: a part of the name."""

    window: Window = "1h"
    name: str = ""


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """The name of a task."""

    task: Annotated[str, msgspec.Meta(min_length=1)]


class Limit(msgspec.Struct, forbid_unknown_fields=True):
    """A rate such as ``100/m``, for each worker; 0 lifts the limit."""

    task: Annotated[str, msgspec.Meta(min_length=1)]
    rate: Annotated[str, msgspec.Meta(min_length=1)]


@reads("/tasks", Asked)
def tasks(desk: Desk, asked: Asked) -> dict[str, Any]:
    """Rate, failures and latency of each type of task."""
    now = time.time()
    since, step, bars = window(asked.window, now)
    counts = desk.counters(since, step, now)
    paused = desk.paused()[1]
    totals: dict[str, Total] = {
        name: Total() for name in desk.app.tasks if not name.startswith(("celery.", "talo."))
    } | {name: Total() for name in paused}
    for each in counts:
        totals.setdefault(each.name, Total()).add(each)
    by_name: dict[str, list[Any]] = {}
    for each in counts:
        by_name.setdefault(each.name, []).append(each)
    rows = [
        {
            "name": name,
            **total.facts(),
            "rate": total.ended / max(1.0, now - since),
            "series": series(by_name.get(name, ()), since, step, bars),
            "paused": name in paused,
            "rate_limit": getattr(desk.app.tasks.get(name), "rate_limit", None),
            "known": name in desk.app.tasks,
        }
        for name, total in totals.items()
        if asked.name.casefold() in name.casefold()
    ]
    rows.sort(key=lambda row: (-row["seconds"], row["name"]))
    return {"window": asked.window, "name": asked.name, "tasks": rows, "history": desk.has_history, "step": step}


@acts("/tasks/pause", Named)
def task_pause(desk: Desk, asked: Named) -> dict[str, Any]:
    """Start no more tasks of a type, on any worker, until it is resumed."""
    desk.app.control.pause(tasks=[asked.task])
    return {"text": f"{asked.task} is paused. What runs goes on."}


@acts("/tasks/resume", Named)
def task_resume(desk: Desk, asked: Named) -> dict[str, Any]:
    """Take the pause of a type of task back."""
    desk.app.control.resume(tasks=[asked.task])
    return {"text": f"{asked.task} is resumed."}


@acts("/tasks/rate-limit", Limit)
def task_rate_limit(desk: Desk, asked: Limit) -> dict[str, Any]:
    """Limit how often tasks of a type start on each worker that is up now."""
    try:
        rate_of(asked.rate)
    except ValueError as error:
        raise Unacceptable(f"{asked.rate!r} is no rate: write 10/s, 100/m or 5/h; 0 lifts the limit") from error
    replies = desk.app.control.rate_limit(asked.task, asked.rate, reply=True) or []
    if not replies:
        raise NotSupported("no worker answers: start one, or set rate_limit on the task itself")
    faults = [answer["error"] for reply in replies for answer in reply.values() if answer.get("error")]
    if len(faults) == len(replies):
        raise Unacceptable(faults[0])
    where = count(len(replies) - len(faults), "worker")
    if asked.rate == "0":
        return {"text": f"{asked.task} starts without a limit on {where}."}
    return {"text": f"{asked.task} starts {asked.rate} at most on {where}."}
