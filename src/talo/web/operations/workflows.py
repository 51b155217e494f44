"""Workflows: which there were lately, the graph of one and how far it is.

Owns drawing a graph from what history, leases and queues know: who has which parent, and what became of it. Steps that
have not been sent yet are known to nobody but the step before them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from talo.stores.history import RunQuery
from talo.web.desk import Desk
from talo.web.operation import NotFound, reads
from talo.web.operations.runs import Search, unfinished

__all__ = ["workflow", "workflows"]

#: Runs that are looked through for recent workflows, and shown of one.
_RECENT = 1000
_MOST = 400
_GOOD, _BAD = frozenset({"SUCCESS", "IGNORED"}), frozenset({"FAILURE", "REVOKED", "REJECTED", "LOST"})


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """How many."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50


class One(msgspec.Struct, forbid_unknown_fields=True):
    """The id of the task that began it."""

    id: Annotated[str, msgspec.Meta(min_length=1)]


@reads("/workflows", Asked)
def workflows(desk: Desk, asked: Asked) -> dict[str, Any]:
    """Workflows of which something ended lately, the latest first."""
    if not desk.has_history:
        return {"workflows": [], "history": False}
    found: dict[str, dict[str, Any]] = {}
    seen: set[str] = set()
    for run in desk.history.runs(RunQuery(), _RECENT).runs:
        if run.id in seen or not run.root:
            continue
        seen.add(run.id)
        flow = found.setdefault(
            run.root, {"id": run.root, "name": None, "ended": run.ended, "good": 0, "bad": 0, "other": 0, "members": 0}
        )
        flow["members"] += 1
        flow["good" if run.state in _GOOD else "bad" if run.state in _BAD else "other"] += 1
        if run.id == run.root:
            flow["name"] = run.name
    flows = [flow for flow in found.values() if flow["members"] > 1 or flow["name"] is None]
    for flow in flows[: asked.limit]:
        if flow["name"] is None:
            attempts = desk.history.attempts(flow["id"])
            flow["name"] = attempts[-1].name if attempts else None
    return {"workflows": flows[: asked.limit], "history": True}


@reads("/workflow", One)
def workflow(desk: Desk, asked: One) -> dict[str, Any]:
    """The graph of a workflow: its tasks, what led to what, how far it is."""
    nodes: dict[str, dict[str, Any]] = {}
    if desk.has_history:
        for run in [*desk.history.attempts(asked.id), *desk.history.runs(RunQuery(root=asked.id), _MOST).runs[::-1]]:
            nodes[run.id] = {
                **_node(run.id, run.name, run.state, run.parent, run.group, run.seconds),
                "sent": run.sent,
                "ended": run.ended,
            }
    stats = desk.broker.stats()
    for state in ("waiting", "delayed", "running"):
        for each in unfinished(desk, Search(state=state, root=asked.id), _MOST, stats):
            if each["id"]:
                nodes[each["id"]] = _node(each["id"], each["task"], state, each["parent"], None, None)
    if not nodes:
        raise NotFound(f"nothing is known of a workflow {asked.id}")
    edges = [
        {"from": node["parent"], "to": node["id"]}
        for node in nodes.values()
        if node["parent"] in nodes and node["parent"] != node["id"]
    ]
    states = [node["state"] for node in nodes.values()]
    guessed = _joins(nodes, asked.id)
    return {
        "id": asked.id,
        "name": nodes[asked.id]["name"] if asked.id in nodes else None,
        "nodes": list(nodes.values()),
        "edges": edges,
        "joins": guessed,
        "layers": _layers(nodes, guessed),
        "good": sum(state in _GOOD for state in states),
        "bad": sum(state in _BAD for state in states),
        "open": sum(state not in _GOOD and state not in _BAD for state in states),
        "cut": len(nodes) >= _MOST,
    }


def _node(id: str, name: Any, state: str, parent: Any, group: Any, seconds: float | None) -> dict[str, Any]:
    return {"id": id, "name": name, "state": state, "parent": parent, "group": group, "seconds": seconds}


def _joins(nodes: dict[str, dict[str, Any]], root: str) -> list[dict[str, str]]:
    """What led to a task that names no parent: a chord's body names none, it is sent when the last member of the group
    has ended. So it is joined to the group that had ended last before it was sent."""
    joins = []
    for node in nodes.values():
        sent = node.get("sent")
        if node["id"] == root or node["parent"] in nodes or sent is None:
            continue
        before = [one for one in nodes.values() if one["group"] and (one.get("ended") or sent + 1) <= sent]
        if before:
            group = max(before, key=lambda one: float(one["ended"]))["group"]
            joins += [{"from": one["id"], "to": node["id"]} for one in nodes.values() if one["group"] == group]
    return [join for join in joins if join["from"] != join["to"]]


def _layers(nodes: dict[str, dict[str, Any]], joins: list[dict[str, str]]) -> list[list[str]]:
    """The ids by their distance from the beginning."""
    joined = {join["to"]: join["from"] for join in joins}
    depth: dict[str, int] = {}
    for start in nodes:
        line = []
        at: Any = start
        while at in nodes and at not in depth and at not in line:
            line.append(at)
            at = joined.get(at, nodes[at]["parent"])
        base = depth.get(at, -1)
        for place, each in enumerate(reversed(line), base + 1):
            depth[each] = place
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for each in nodes:
        layers[depth[each]].append(each)
    return layers
