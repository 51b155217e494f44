"""The commands that look: what ``app.control.inspect()`` and ``talo inspect`` ask.

Owns the shapes of the answers, which are Celery's. Registered in ``panel``; imported by ``worker.panel`` and the
command line."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import Any

from talo.control.node import Node, Refused
from talo.control.panel import inspect_command
from talo.util.process import resident_kib

__all__ = ["registered_tasks"]

#: Samples that ``memsample`` keeps.
_MOST_SAMPLES = 100
_TASK_ITEMS = ("exchange", "routing_key", "rate_limit")

_samples: list[str] = []


@inspect_command(default_timeout=0.2)
def ping(_node: Node, **_kwargs: Any) -> dict[str, str]:
    """Ask who is there."""
    return {"ok": "pong"}


@inspect_command()
def clock(node: Node, **_kwargs: Any) -> dict[str, int]:
    """Show the logical clock."""
    return {"clock": node.clock}


@inspect_command(alias="dump_active")
def active(node: Node, safe: bool = False, **_kwargs: Any) -> list[dict[str, Any]]:
    """List the tasks that run."""
    return node.running(safe=bool(safe))


@inspect_command(alias="dump_reserved")
def reserved(node: Node, safe: bool = False, **_kwargs: Any) -> list[dict[str, Any]]:
    """List the tasks that were fetched and do not run yet."""
    return node.fetched(safe=bool(safe))


@inspect_command(alias="dump_schedule")
def scheduled(_node: Node, **_kwargs: Any) -> list[dict[str, Any]]:
    """List the delayed tasks held in memory: none, they wait in the store."""
    return []


@inspect_command(args=[("ids", str)], variadic="ids", signature="[id1 [id2 [... [idN]]]]")
def query_task(node: Node, ids: str | Iterable[str], **_kwargs: Any) -> dict[str, Any]:
    """Show where tasks are, by their ids."""
    wanted = {ids} if isinstance(ids, str) else {str(each) for each in ids}
    found = {info["id"]: ["reserved", info] for info in node.fetched() if info["id"] in wanted}
    return {**found, **{info["id"]: ["active", info] for info in node.running() if info["id"] in wanted}}


@inspect_command(alias="dump_revoked")
def revoked(node: Node, **_kwargs: Any) -> list[str]:
    """List the ids of revoked tasks."""
    return node.revoked()


@inspect_command(
    alias="dump_tasks",
    args=[("taskinfoitems", str)],
    variadic="taskinfoitems",
    signature="[attr1 [attr2 [... [attrN]]]]",
)
def registered(
    node: Node, taskinfoitems: str | Iterable[str] | None = None, builtins: bool = False, **_kwargs: Any
) -> list[str]:
    """List the known tasks, with attributes that are set."""
    items = [taskinfoitems] if isinstance(taskinfoitems, str) else list(taskinfoitems or _TASK_ITEMS)
    return registered_tasks(node, items, builtins=bool(builtins))


def registered_tasks(node: Node, items: Iterable[str], *, builtins: bool = False) -> list[str]:
    """Return ``name [attribute=value ...]`` of each task. Names that begin with an underscore are not shown."""
    wanted = [item for item in items if isinstance(item, str) and not item.startswith("_")]
    limits = node.rate_limits()
    lines = []
    for name, task in sorted(node.app.tasks.items()):
        if name.startswith(("celery.", "talo.")) and not builtins:
            continue
        told = {item: getattr(task, item, None) for item in wanted}
        if "rate_limit" in told and name in limits:
            told["rate_limit"] = limits[name]
        text = " ".join(f"{item}={value}" for item, value in told.items() if value and not callable(value))
        lines.append(f"{name} [{text}]" if text else name)
    return lines


@inspect_command(alias="dump_conf", args=[("with_defaults", str)], signature="[include_defaults=False]")
def conf(node: Node, with_defaults: bool | str = False, **_kwargs: Any) -> dict[str, Any]:
    """Show the settings, secrets hidden."""
    defaults = with_defaults if isinstance(with_defaults, bool) else str(with_defaults).lower() in ("1", "true", "yes")
    table = node.app.conf.table(with_defaults=defaults, censored=True)
    return {name: _plain(value) for name, value in table.items()}


@inspect_command()
def active_queues(node: Node, **_kwargs: Any) -> list[dict[str, Any]]:
    """List the queues that are consumed."""
    return [_plain(node.app.queues[name].as_dict(recurse=True)) for name in node.queues]


@inspect_command()
def stats(node: Node, **_kwargs: Any) -> dict[str, Any]:
    """Show numbers about worker, pool and broker."""
    return node.stats()


@inspect_command()
def report(node: Node, **_kwargs: Any) -> dict[str, str]:
    """Describe the installation, for bug reports."""
    text = "\n".join(
        [
            "",
            f"software -> talo py:{platform.python_version()}",
            f"platform -> system:{platform.system()} arch:{platform.machine()} imp:{platform.python_implementation()}",
            f"settings -> broker:{node.app.store.url}",
            "",
            node.app.conf.humanize(with_defaults=False, censored=True),
        ]
    )
    return {"ok": text}


@inspect_command(visible=False, args=[("from_node", str), ("revoked", str)])
def hello(node: Node, from_node: str, revoked: Any = None, **_kwargs: Any) -> dict[str, Any] | None:
    """Greet a neighbour that starts, as Celery's workers do, and tell it what is revoked."""
    del revoked  # what is revoked here is kept in the store, or came by a command of its own
    if from_node == node.hostname:
        return None
    return {"revoked": node.revoked(), "clock": node.clock}


@inspect_command()
def memsample(_node: Node, **_kwargs: Any) -> str:
    """Measure the resident memory of the agent."""
    _samples.append(f"{resident_kib() / 1024:.2f}MB")
    del _samples[:-_MOST_SAMPLES]
    return _samples[-1]


@inspect_command(args=[("samples", int)], signature="[n_samples=10]")
def memdump(node: Node, samples: int = 10, **_kwargs: Any) -> str:
    """Show the last memory samples."""
    return "\n".join(["- rss (sample): " + sample for sample in _samples[-max(1, int(samples)) :]] or [memsample(node)])


@inspect_command(
    args=[("type", str), ("num", int), ("max_depth", int)],
    signature="[object_type=Request] [num=200 [max_depth=10]]",
    default_timeout=60.0,
)
def objgraph(_node: Node, **_kwargs: Any) -> dict[str, Any]:
    """Draw references between objects: refused."""
    raise Refused("Talo draws no object graphs: take a memory profiler such as memray to the process")


def _plain(value: Any) -> Any:
    """Return a value that JSON can write; what it does not know becomes text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
