"""Workers: their slots and what they run, memory, and quieting, resizing, stopping them.

Owns joining the two sources: leases tell who lives and what he holds; answers tell the rest, where there are any."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec

from talo.stores.base import OwnerInfo
from talo.util.text import count
from talo.web.desk import Desk
from talo.web.operation import NotFound, Unacceptable, acts, reads
from talo.web.user import Role

__all__ = ["durable", "worker_consume", "worker_pool", "worker_quiet", "worker_stop", "workers"]

#: Deliveries that are looked at of each worker, when it does not answer what it runs.
MOST_HELD = 50


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """``fresh``: wait (a second or two) for what workers answer now."""

    fresh: bool = False


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """The node name of a worker."""

    worker: Annotated[str, msgspec.Meta(min_length=1)]


class Queue(msgspec.Struct, forbid_unknown_fields=True):
    """A worker and a queue."""

    worker: Annotated[str, msgspec.Meta(min_length=1)]
    queue: Annotated[str, msgspec.Meta(min_length=1)]


class Size(msgspec.Struct, forbid_unknown_fields=True):
    """A worker and how many processes it is to have more (negative: fewer)."""

    worker: Annotated[str, msgspec.Meta(min_length=1)]
    by: Annotated[int, msgspec.Meta(ge=-64, le=64)]


def durable(desk: Desk) -> list[dict[str, Any]]:
    """What leases tell: one entry for each worker, by name."""
    nodes: dict[str, dict[str, Any]] = {}
    for owner in desk.broker.owners():
        node = nodes.setdefault(
            owner.worker,
            {"name": owner.worker, "alive": False, "slots": 0, "held": 0, "owners": 0, "remaining": owner.remaining},
        )
        node["alive"] = node["alive"] or owner.remaining > 0
        node["slots"] += owner.slots
        node["held"] += owner.held
        node["owners"] += 1
        node["remaining"] = max(node["remaining"], owner.remaining)
    return [nodes[name] for name in sorted(nodes)]


@reads("/workers", Asked)
def workers(desk: Desk, asked: Asked) -> dict[str, Any]:
    """Workers, what they run and consume, and their memory."""
    answer = desk.answers.latest(wait=asked.fresh)
    nodes = {node["name"]: node for node in durable(desk)}
    if answer is not None:
        for name in answer.names() - nodes.keys():
            # Celery's own workers hold no leases.
            nodes[name] = {"name": name, "alive": True, "slots": 0, "held": 0, "owners": 0, "remaining": None}
    holders = desk.broker.owners() if answer is None else []
    for node in nodes.values():
        _complete(desk, node, answer, holders)
    return {
        "workers": [nodes[name] for name in sorted(nodes)],
        "answered": None if answer is None else time.monotonic() - answer.at,
        "fault": answer.fault if answer is not None else None,
    }


def _complete(desk: Desk, node: dict[str, Any], answer: Any, holders: list[OwnerInfo]) -> None:
    name = node["name"]
    stats = answer.stats.get(name) if answer is not None else None
    pool = (stats or {}).get("pool") or {}
    usage = (stats or {}).get("rusage") or {}
    node["answers"] = stats is not None
    node["pool"] = pool.get("implementation")
    node["size"] = pool.get("max-concurrency")
    node["pid"] = (stats or {}).get("pid")
    node["uptime"] = (stats or {}).get("uptime")
    node["memory"] = usage["maxrss"] * 1024 if isinstance(usage.get("maxrss"), int | float) else None
    node["processed"] = ((stats or {}).get("talo") or {}).get("processed")
    node["queues"] = sorted(each.get("name", "") for each in answer.queues.get(name, ())) if answer is not None else []
    node["slots"] = node["slots"] or node["size"] or 0
    if answer is not None and name in answer.active:
        node["running"] = [_running(each) for each in answer.active[name]]
    else:
        node["running"] = _held(desk, name, holders)


def _running(told: dict[str, Any]) -> dict[str, Any]:
    start = told.get("time_start")
    return {
        "id": told.get("id"),
        "name": told.get("name"),
        "started": start,
        "seconds": max(0.0, time.time() - start) if isinstance(start, int | float) else None,
        "pid": told.get("worker_pid"),
    }


def _held(desk: Desk, name: str, holders: list[OwnerInfo]) -> list[dict[str, Any]]:
    """What leases tell of a worker that does not answer: it runs these, or is about to."""
    found: list[dict[str, Any]] = []
    for owner in holders:
        if owner.worker == name and owner.held and len(found) < MOST_HELD:
            for delivery in desk.broker.held(owner.owner)[:MOST_HELD]:
                message = delivery.message
                if message is not None:
                    found.append(
                        {"id": message.id, "name": message.task, "started": None, "seconds": None, "pid": None}
                    )
    return found


@acts("/workers/quiet", Named)
def worker_quiet(desk: Desk, asked: Named) -> dict[str, Any]:
    """Have a worker fetch nothing more; what it runs goes on."""
    queues = _queues_of(desk, asked.worker)
    for queue in queues:
        desk.app.control.cancel_consumer(queue, destination=[asked.worker])
    desk.answers.forget()
    return {"text": f"{asked.worker} fetches nothing more from {', '.join(queues)}", "queues": queues}


@acts("/workers/consume", Queue)
def worker_consume(desk: Desk, asked: Queue) -> dict[str, Any]:
    """Have a worker consume a queue."""
    _told(desk, asked.worker, desk.app.control.add_consumer(asked.queue, destination=[asked.worker], reply=True))
    return {"text": f"{asked.worker} consumes {asked.queue}"}


@acts("/workers/pool", Size, Role.ADMIN)
def worker_pool(desk: Desk, asked: Size) -> dict[str, Any]:
    """Give a worker more processes, or fewer."""
    if not asked.by:
        raise Unacceptable("say by how many: 1, or -1")
    change = desk.app.control.pool_grow if asked.by > 0 else desk.app.control.pool_shrink
    _told(desk, asked.worker, change(abs(asked.by), destination=[asked.worker], reply=True))
    return {"text": f"{asked.worker} gets {count(abs(asked.by), 'process')} {'more' if asked.by > 0 else 'fewer'}"}


@acts("/workers/stop", Named, Role.ADMIN)
def worker_stop(desk: Desk, asked: Named) -> dict[str, Any]:
    """Stop a worker as TERM does: it ends what it runs, within its grace."""
    _known(desk, asked.worker)
    desk.app.control.shutdown(destination=[asked.worker])
    desk.answers.forget()
    return {"text": f"{asked.worker} is told to stop"}


def _queues_of(desk: Desk, worker: str) -> list[str]:
    answer = desk.answers.latest(wait=True)
    if answer is None or worker not in answer.queues:
        raise NotFound(f"worker {worker} does not answer")
    return sorted(each["name"] for each in answer.queues[worker] if each.get("name"))


def _known(desk: Desk, worker: str) -> None:
    if any(node["name"] == worker for node in durable(desk)):
        return
    answer = desk.answers.latest(wait=True)
    if answer is None or worker not in answer.names():
        raise NotFound(f"there is no worker {worker}")


def _told(desk: Desk, worker: str, replies: Any) -> None:
    desk.answers.forget()
    for reply in replies or ():
        answer = reply.get(worker)
        if isinstance(answer, dict) and answer.get("error"):
            raise Unacceptable(f"{worker}: {answer['error']}")
        if answer is not None:
            return
    raise NotFound(f"worker {worker} does not answer")
