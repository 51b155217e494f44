"""The worker's entrance: from app and options to a running supervisor.

Owns the joining of settings and command line into ``WorkerOptions`` and the checks that must pass before anything is
forked. Called by ``cli.worker``."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from talo import signals
from talo.errors import ImproperlyConfigured
from talo.util.cpu import available_cpus
from talo.util.process import resident_kib, root_warning
from talo.wire import compression, serializers
from talo.worker.banner import banner
from talo.worker.health import check_address, parse_address
from talo.worker.logs import set_up_logging
from talo.worker.meter import MOST_TASKS
from talo.worker.options import HEARTBEAT, POOLS, WorkerOptions
from talo.worker.rules import user_tasks
from talo.worker.supervisor import Supervisor

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["WorkerArguments", "node_name", "plan_worker", "run_worker"]

log = logging.getLogger("talo.worker")


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

    pool = chosen("pool", "worker_pool")
    if pool not in POOLS:
        known = ", ".join(sorted(POOLS))
        raise ImproperlyConfigured(f"pool {pool!r} is not one that Talo has: choose one of {known}")
    pool = POOLS[pool]
    if (bounds := _autoscale(pool, arguments.get("autoscale"))) is not None:
        arguments["concurrency"] = bounds[1]
    concurrency = int(chosen("concurrency", "worker_concurrency") or 0) or (
        available_cpus() if pool != "asyncio" else 100
    )
    if concurrency < 1:
        raise ImproperlyConfigured(f"concurrency must be at least 1, not {concurrency}")
    if pool == "solo":
        concurrency = 1
    hard, soft = chosen("time_limit", "task_time_limit"), chosen("soft_time_limit", "task_soft_time_limit")
    if hard and soft and soft > hard:
        raise ImproperlyConfigured(f"the soft time limit ({soft}s) is longer than the hard one ({hard}s)")
    method = chosen("start_method", "worker_pool_start_method")
    if method not in ("fork", "spawn"):
        raise ImproperlyConfigured(f"start method {method!r}: choose fork or spawn")
    _check_formats(app)
    app.secrets.ready()
    _select_queues(app, arguments.get("queues"), arguments.get("exclude_queues"))
    prefetch = arguments.get("prefetch_multiplier")
    if prefetch is None and conf.origin("worker_prefetch_multiplier") != "default":
        prefetch = conf.worker_prefetch_multiplier
    if arguments.get("disable_prefetch") or conf.worker_disable_prefetch:
        prefetch = 1
    return WorkerOptions(
        hostname=node_name(arguments.get("hostname")),
        queues=tuple(app.queues.consume_from),
        pool=pool,
        concurrency=concurrency,
        start_method=method,
        children=_children(pool, concurrency, arguments.get("children") or 1),
        lease=conf.worker_lease,
        batch_time=conf.worker_batch_time,
        prefetch=prefetch or None,
        max_tasks_per_child=chosen("max_tasks_per_child", "worker_max_tasks_per_child"),
        max_memory_per_child=_memory(chosen("max_memory_per_child", "worker_max_memory_per_child")),
        time_limit=hard,
        soft_time_limit=soft,
        grace=chosen("grace", "worker_grace"),
        soft_shutdown=conf.worker_soft_shutdown_timeout,
        watchdog=conf.worker_watchdog,
        max_deliveries=conf.task_max_deliveries,
        unknown_patience=conf.task_unknown_patience,
        beat=bool(arguments.get("beat")),
        scheduler=arguments.get("scheduler"),
        schedule_filename=arguments.get("schedule_filename"),
        task_events=conf.worker_send_task_events,
        heartbeat=arguments.get("heartbeat", HEARTBEAT),
        autoscale=_autoscale(pool, arguments.get("autoscale")),
        http=None if conf.worker_http is None else parse_address(conf.worker_http),
        metrics_max_tasks=_most_tasks(conf.metrics_max_tasks),
        history=conf.history != "off",
        logfile=arguments.get("logfile"),
    )


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


def _warn_of_long_tasks(app: Talo, options: WorkerOptions) -> None:
    """Name the tasks that may run for longer than the broker lets anybody hold them: it would hand them out again."""
    hold = app.store.features.max_hold
    for task in user_tasks(app):
        limit = task.time_limit or options.time_limit
        if limit and limit > hold:
            log.warning(
                "Task %s may run for %g s, but %s takes back what is held for over %g s: raise its consumer_timeout",
                task.name, limit, app.store.features.name, hold,
                extra={"action": "long_task", "task_name": task.name},
            )  # fmt: skip


def run_worker(app: Talo, **arguments: Unpack[WorkerArguments]) -> int:
    """Run a worker until it is told to stop; return its exit code."""
    level = arguments.get("loglevel", logging.WARNING)
    app.import_default_modules()
    app.finalize()
    options = plan_worker(app, **arguments)
    signals.celeryd_init.send(sender=options.hostname, instance=None, conf=app.conf, options=dict(arguments))
    set_up_logging(app, level, arguments.get("logfile"))
    supervisor = Supervisor(app, options)
    signals.worker_init.send(sender=supervisor)
    signals.celeryd_after_setup.send(sender=options.hostname, instance=supervisor, conf=app.conf)
    app.env.hostname = options.hostname
    app.conf.freeze()
    if not app.store.features.durable:
        raise ImproperlyConfigured(
            f"{app.store.url} lives in one process, and a worker has several: use sqlite:///talo.sqlite3"
        )
    if options.http is not None:
        check_address(options.http)
    _refuse_what_has_no_place(app)
    app.store.ping(app.conf.store_timeout)
    _name_concerns(app)
    _warn_of_long_tasks(app, options)
    app.close_stores()
    if not arguments.get("quiet"):
        print(banner(app, options, level), flush=True)  # noqa: T201  the banner is for the operator's eyes
    if (warning := root_warning("worker")) is not None:
        log.warning("%s", warning, extra={"action": "root"})
    return supervisor.run()


def _refuse_what_has_no_place(app: Talo) -> None:
    """A feature that needs a store beside the broker, without one, is refused by name."""
    if app.conf.task_dead_letters and not app.store.features.dead_letters:
        raise ImproperlyConfigured(
            f"{app.store.url} keeps no dead letters: set result_backend to the URL of a store that does, or "
            "task_dead_letters to False"
        )


def _name_concerns(app: Talo) -> None:
    for store in {id(each): each for each in (app.store, app.result_store) if each is not None}.values():
        for concern in store.concerns():
            log.warning("%s", concern, extra={"action": "store_concern"})
