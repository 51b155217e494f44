"""The commands that change a worker: what ``app.control`` and ``talo control`` send.

Owns what is checked and what is answered, in Celery's words; doing it is the node's. Registered in ``panel``; imported
by ``worker.panel`` and the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from talo.app.revocations import stamps_of
from talo.control.node import Node, Refused
from talo.control.panel import control_command
from talo.util.rates import rate_of

__all__: list[str] = []

Answer = dict[str, Any]


@control_command(variadic="task_id", args=[("task_id", str)], signature="[id1 [id2 [... [idN]]]]")
def revoke(node: Node, task_id: Any, terminate: bool = False, signal: Any = None, **_kwargs: Any) -> Answer:
    """Keep tasks from starting, by their ids; terminate=True stops those that run."""
    del signal  # a task is stopped by an exception, and if it does not hear it by the end of its process
    ids = _ids(task_id)
    running = node.revoke(ids, terminate=bool(terminate))
    if not terminate:
        return {"ok": f"tasks {set(ids)} flagged as revoked" if ids else "tasks unknown"}
    return {"ok": f"terminate: {', '.join(running)}" if running else "terminate: tasks unknown"}


@control_command(
    variadic="task_id", args=[("signal", str), ("task_id", str)], signature="<signal> [id1 [id2 [... [idN]]]]"
)
def terminate(node: Node, signal: Any, task_id: Any, **_kwargs: Any) -> Answer:
    """Stop tasks by their ids, and keep them from starting."""
    answer: Answer = revoke(node, task_id, terminate=True, signal=signal)
    return answer


@control_command(variadic="headers", args=[("headers", str)], signature="[key1=value1 [key2=value2 [...]]]")
def revoke_by_stamped_headers(
    node: Node, headers: Any, terminate: bool = False, signal: Any = None, **_kwargs: Any
) -> Answer:
    """Keep tasks from starting that carry one of these stamps."""
    del signal
    if not isinstance(headers, Mapping):
        pairs = [str(pair).partition("=") for pair in ([headers] if isinstance(headers, str) else headers)]
        headers = {name: [value for key, _, value in pairs if key == name] for name, _, _ in pairs}
    running = node.revoke_stamps(stamps_of(headers), terminate=bool(terminate))
    shown = dict(headers)
    if not terminate:
        return {"ok": f"headers {shown} flagged as revoked, but not terminated"}
    return {"ok": f"headers {shown} revoked" if running else f"headers {shown} were not terminated"}


@control_command(args=[("task_name", str), ("rate_limit", str)], signature="<task_name> <rate_limit (e.g., 5/s | 5/m)>")
def rate_limit(node: Node, task_name: str, rate_limit: Any, **_kwargs: Any) -> Answer:
    """Limit how often a task starts on each worker; 0 lifts the limit."""
    try:
        rate = rate_of(rate_limit)
    except ValueError as exc:
        return {"error": f"Invalid rate limit string: {exc!r}"}
    if task_name not in node.app.tasks:
        return {"error": "unknown task"}
    node.set_rate_limit(task_name, rate_limit if rate else None)
    return {"ok": "new rate limit set successfully" if rate else "rate limit disabled successfully"}


@control_command(
    args=[("task_name", str), ("soft", float), ("hard", float)], signature="<task_name> <soft_secs> [hard_secs]"
)
def time_limit(node: Node, task_name: str, hard: Any = None, soft: Any = None, **_kwargs: Any) -> Answer:
    """Limit how long a task may run."""
    limits = [None if each in (None, 0, "") else float(each) for each in (hard, soft)]
    if any(each is not None and not each > 0 for each in limits):
        raise Refused("a time limit is a number of seconds above 0")
    if task_name not in node.app.tasks:
        return {"error": "unknown task"}
    node.set_time_limit(task_name, limits[0], limits[1])
    return {"ok": "time limits set successfully"}


@control_command(
    args=[("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str)],
    signature="<queue> [exchange [type [routing_key]]]",
)
def add_consumer(node: Node, queue: str, **_kwargs: Any) -> Answer:
    """Consume one more queue."""
    if not isinstance(queue, str) or not queue:
        raise Refused("a queue has a name")
    node.consume(queue)
    return {"ok": f"add consumer {queue}"}


@control_command(args=[("queue", str)], signature="<queue>")
def cancel_consumer(node: Node, queue: str, **_kwargs: Any) -> Answer:
    """Consume a queue no more."""
    node.consume_no_more(queue)
    return {"ok": f"no longer consuming from {queue}"}


@control_command()
def enable_events(node: Node, **_kwargs: Any) -> Answer:
    """Tell what happens to tasks."""
    return {"ok": "task events enabled" if node.set_events(True) else "task events already enabled"}


@control_command()
def disable_events(node: Node, **_kwargs: Any) -> Answer:
    """Tell of tasks no more."""
    return {"ok": "task events disabled" if node.set_events(False) else "task events already disabled"}


@control_command()
def heartbeat(node: Node, **_kwargs: Any) -> None:
    """Send a heartbeat event now."""
    node.beat_once()


@control_command(args=[("n", int)], signature="[N=1]")
def pool_grow(node: Node, n: int = 1, **_kwargs: Any) -> Answer:
    """Start more processes."""
    node.grow(_positive(n))
    return {"ok": "pool will grow"}


@control_command(args=[("n", int)], signature="[N=1]")
def pool_shrink(node: Node, n: int = 1, **_kwargs: Any) -> Answer:
    """Let processes end, after their tasks."""
    node.grow(-_positive(n))
    return {"ok": "pool will shrink"}


@control_command(args=[("max", int), ("min", int)], signature="[max [min]]")
def autoscale(node: Node, max: int | None = None, min: int | None = None, **_kwargs: Any) -> Answer:
    """Set the bounds of an autoscaling worker."""
    most, least = node.autoscale(None if max is None else int(max), None if min is None else int(min))
    return {"ok": f"autoscale now max={most} min={least}"}


@control_command()
def pool_restart(node: Node, modules: Any = None, reload: bool = False, reloader: Any = None, **_kw: Any) -> Answer:
    """Replace all processes, each after its task."""
    del reloader
    if not node.app.conf.worker_pool_restarts:
        raise Refused("Pool restarts not enabled: set worker_pool_restarts")
    if modules or reload:
        raise Refused("children are forked from the loaded app: HUP restarts a worker with new code")
    node.restart_pool()
    return {"ok": "reload started"}


@control_command()
def shutdown(node: Node, msg: str = "Got shutdown from remote", **_kwargs: Any) -> None:
    """Stop the worker, as TERM does."""
    del msg
    node.shut_down()


@control_command(args=[("id", str), ("topic", str), ("action", str)], signature="<id> <topic> [action]")
def election(_node: Node, **_kwargs: Any) -> Answer:
    """Elect one of Celery's workers: refused."""
    raise Refused("Talo's workers need no leader and hold no elections")


def _ids(task_id: str | Iterable[Any]) -> list[str]:
    return [task_id] if isinstance(task_id, str) else [str(each) for each in task_id]


def _positive(number: Any) -> int:
    count = int(number)
    if count < 1:
        raise Refused("the number of processes is at least 1")
    return count
