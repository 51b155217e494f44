"""What a worker will do, decided before it starts: settings and command line joined into ``WorkerOptions``.

Owns the checks of what was asked for; nothing is opened, started or printed. Called by ``main`` and ``cli.check``.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from talo.errors import ImproperlyConfigured
from talo.util.cpu import available_cpus
from talo.util.process import resident_kib
from talo.wire import compression, serializers
from talo.worker.meter import MOST_TASKS
from talo.worker.options import HEARTBEAT, POOLS, WorkerOptions

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["WorkerArguments", "node_name", "parse_address", "plan_worker"]

#: Coroutines wait more than they compute.
_ASYNCIO_SLOTS = 100
_LOOPBACK = "127.0.0.1"


class WorkerArguments(TypedDict, total=False):
    """What the command line may say; absent or None: as configured."""

    hostname: str | None
    queues: str | None
    exclude_queues: str | None
    pool: str | None
    concurrency: int | None
    prefetch_multiplier: int | None
    disable_prefetch: bool | None
    time_limit: float | None
    soft_time_limit: float | None
    max_tasks_per_child: int | None
    max_memory_per_child: int | None
    start_method: str | None
    grace: float | None
    children: int | None
    autoscale: tuple[int, int] | None
    heartbeat: float
    beat: bool | None
    scheduler: str | None
    schedule_filename: str | None
    loglevel: int
    logfile: str | None
    quiet: bool


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``, ``[IPv6]:PORT``, ``:PORT`` or ``PORT``; without a host it is loopback.

    ``ImproperlyConfigured`` for anything else.
    """
    host, _, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        port = ""
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ImproperlyConfigured(f"worker_http {text!r} is no address: write HOST:PORT, as in 127.0.0.1:9540")
    return host or _LOOPBACK, int(port)


def node_name(template: str | None) -> str:
    """Return the node name of a template: ``%h`` host, ``%n`` its first part, ``%d`` its domain, ``%%``; default
    ``celery@%h``."""
    host = socket.gethostname()
    short, _, domain = host.partition(".")
    name = template or "celery@%h"
    if "@" not in name:
        name = f"{name}@%h"
    for escape, value in (("%%", "\0"), ("%h", host), ("%n", short), ("%d", domain), ("\0", "%")):
        name = name.replace(escape, value)
    return name


def plan_worker(app: Talo, **arguments: Unpack[WorkerArguments]) -> WorkerOptions:
    """Join settings and arguments; raises ``ImproperlyConfigured`` for what cannot work."""
    conf = app.conf

    def chosen(name: str, setting: str) -> Any:
        value = arguments.get(name)
        return value if value is not None else conf[setting]

    pool = _pool(chosen("pool", "worker_pool"))
    autoscale = _autoscale(pool, arguments.get("autoscale"))
    # One that scales begins with the fewest.
    slots = autoscale[1] if autoscale else chosen("concurrency", "worker_concurrency")
    concurrency = _concurrency(pool, int(slots or 0))
    hard, soft = chosen("time_limit", "task_time_limit"), chosen("soft_time_limit", "task_soft_time_limit")
    if hard and soft and soft > hard:
        raise ImproperlyConfigured(f"the soft time limit ({soft}s) is longer than the hard one ({hard}s)")
    method = chosen("start_method", "worker_pool_start_method")
    if method not in ("auto", "fork", "spawn"):
        raise ImproperlyConfigured(f"start method {method!r}: choose auto, fork or spawn")
    _check_formats(app)
    app.secrets.ready()
    _select_queues(app, arguments.get("queues"), arguments.get("exclude_queues"))
    return WorkerOptions(
        hostname=node_name(arguments.get("hostname")),
        queues=tuple(app.queues.consume_from),
        pool=pool,
        concurrency=concurrency,
        start_method=method,
        children=_children(pool, concurrency, arguments.get("children") or 1),
        lease=conf.worker_lease,
        hands_over=app.store.features.hands_over,
        batch_time=conf.worker_batch_time,
        prefetch=_prefetch(app, arguments),
        max_tasks_per_child=chosen("max_tasks_per_child", "worker_max_tasks_per_child"),
        max_memory_per_child=_memory(chosen("max_memory_per_child", "worker_max_memory_per_child")),
        time_limit=hard,
        soft_time_limit=soft,
        grace=chosen("grace", "worker_grace"),
        soft_shutdown=conf.worker_soft_shutdown_timeout,
        watchdog=conf.worker_watchdog,
        start_timeout=conf.worker_proc_alive_timeout,
        max_deliveries=conf.task_max_deliveries,
        unknown_patience=conf.task_unknown_patience,
        beat=bool(arguments.get("beat")),
        scheduler=arguments.get("scheduler"),
        schedule_filename=arguments.get("schedule_filename"),
        task_events=conf.worker_send_task_events,
        heartbeat=arguments.get("heartbeat", HEARTBEAT),
        autoscale=autoscale,
        http=None if conf.worker_http is None else parse_address(conf.worker_http),
        metrics_max_tasks=_most_tasks(conf.metrics_max_tasks),
        history=conf.history != "off",
        logfile=arguments.get("logfile"),
    )


def _pool(name: str) -> str:
    if name not in POOLS:
        known = ", ".join(sorted(POOLS))
        raise ImproperlyConfigured(f"pool {name!r} is not one that Talo has: choose one of {known}")
    return POOLS[name]


def _concurrency(pool: str, wanted: int) -> int:
    """How many tasks run at a time; ``wanted`` 0: what suits the pool and the machine."""
    if wanted < 0:
        raise ImproperlyConfigured(f"concurrency must be at least 1, not {wanted}")
    if pool == "solo":
        return 1
    return wanted or (_ASYNCIO_SLOTS if pool == "asyncio" else available_cpus())


def _prefetch(app: Talo, arguments: WorkerArguments) -> int | None:
    """Fetched tasks for each slot at most, None: as many as its measured run times tell."""
    conf = app.conf
    if arguments.get("disable_prefetch") or conf.worker_disable_prefetch:
        return 1
    wanted = arguments.get("prefetch_multiplier")
    if wanted is None and conf.origin("worker_prefetch_multiplier") != "default":
        wanted = conf.worker_prefetch_multiplier
    return wanted or None


def _check_formats(app: Talo) -> None:
    """Formats may be registered by the project, so they are looked for only now; without them every task would fail."""
    conf = app.conf
    for setting in ("task_serializer", "result_serializer", "task_compression", "result_compression"):
        name = conf[setting]
        try:
            if name is not None:
                compression.content_type(name) if setting.endswith("compression") else serializers.get(name)
        except ImproperlyConfigured as exc:
            raise ImproperlyConfigured(f"{setting}: {exc}") from None


def _select_queues(app: Talo, selected: str | None, excluded: str | None) -> None:
    if selected:
        app.select_queues(selected)
    if excluded:
        app.queues.deselect(excluded)
    if not app.queues.consume_from:
        raise ImproperlyConfigured("no queue is left to consume from: see -Q and -X")


def _children(pool: str, concurrency: int, children: int) -> int:
    if children < 1 or children > concurrency:
        raise ImproperlyConfigured(f"{children} children cannot share {concurrency} slots")
    if children > 1 and pool not in ("threads", "asyncio"):
        raise ImproperlyConfigured(f"--children is for the pools threads and asyncio; for {pool} say --concurrency")
    return children


def _autoscale(pool: str, bounds: tuple[int, int] | None) -> tuple[int, int] | None:
    if bounds is None:
        return None
    most, least = bounds
    if pool != "processes":
        raise ImproperlyConfigured(f"--autoscale is for the pool processes; {pool} keeps its number of slots")
    if not 1 <= least <= most:
        raise ImproperlyConfigured(f"--autoscale {most},{least}: it is MAX,MIN with MIN at least 1")
    return most, least


def _most_tasks(number: int) -> int:
    if not 1 <= number <= MOST_TASKS:
        raise ImproperlyConfigured(f"metrics_max_tasks is {number}: choose a number from 1 to {MOST_TASKS}")
    return number


def _memory(limit: int | None) -> int | None:
    if limit is not None and limit <= resident_kib():
        raise ImproperlyConfigured(
            f"max_memory_per_child is {limit} KiB, but a child uses {resident_kib()} KiB before its first task: "
            "every child would be replaced for ever"
        )
    return limit
