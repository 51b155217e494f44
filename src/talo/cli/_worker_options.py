"""The options of ``talo worker``: those of Celery's worker, and Talo's own few.

Owns the table, and what is said of those that are refused or needless. What they do is ``cli.worker``'s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from talo.cli._errors import Refused
from talo.cli._params import LOG_LEVEL, NAMES, SLOTS, umask_of
from talo.worker.options import POOLS

__all__ = ["NEEDLESS", "REFUSED", "with_options"]

_SERVICE = "run it under systemd, a supervisor or a container, which do it better: Talo does not daemonize"
#: Options of Celery's worker that Talo does not have, and what to do instead.
REFUSED = {
    "detach": ("-D/--detach", _SERVICE),
    "uid": ("--uid", f"User= of systemd sets it; {_SERVICE}"),
    "gid": ("--gid", f"Group= of systemd sets it; {_SERVICE}"),
}
#: Options that switch off or place what Talo does not have. They do no harm, and are answered at INFO.
NEEDLESS = {
    "without_gossip": ("--without-gossip", "Talo has no gossip: nothing to switch off"),
    "without_mingle": ("--without-mingle", "Talo has no mingle: nothing to switch off"),
    "statedb": ("-S/--statedb", "revoked ids are kept in the store; the file is not written"),
    "executable": ("--executable", "children are forked from this process; it is not started anew"),
    "optimization": ("-O/--optimization", "children always fetch for themselves, as 'fair' has it"),
}
_NO_PATCHES = "Talo does not patch the standard library: -P threads is for blocking calls, -P asyncio for async def"
_NO_POOL = {
    "gevent": _NO_PATCHES,
    "eventlet": _NO_PATCHES,
    "custom": f"Talo's pools are {', '.join(sorted(POOLS))}",
}


def _pool(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is None or value in POOLS:
        return value
    if value in _NO_POOL:
        raise Refused(f"-P {value}: {_NO_POOL[value]}")
    raise click.BadParameter(f"{value!r} is not one of {', '.join(sorted(POOLS))}")


def _bounds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    most, _, least = value.partition(",")
    try:
        return int(most), int(least or 1)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not MAX,MIN, as in 10,3") from None


def _umask(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    return umask_of(value)


_AT_LEAST_0 = click.IntRange(min=0)
_AT_LEAST_1 = click.IntRange(min=1)
_SECONDS = click.FloatRange(min=0)

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "-n",
        "--hostname",
        metavar="NAME",
        help="Node name; %h host, %n its first part, %d its domain. Default: celery@%h.",
    ),
    click.option(
        "-l",
        "--loglevel",
        type=LOG_LEVEL,
        default="WARNING",
        show_default=True,
        help="DEBUG, INFO, WARNING, ERROR, CRITICAL or FATAL.",
    ),
    click.option(
        "-f", "--logfile", metavar="PATH", help="Log there instead of to stderr; escapes as in the node name."
    ),
    click.option("-Q", "--queues", type=NAMES, metavar="NAMES", help="Consume from these queues, between commas."),
    click.option("-X", "--exclude-queues", type=NAMES, metavar="NAMES", help="Do not consume from these."),
    click.option("-I", "--include", type=NAMES, metavar="MODULES", help="More modules with tasks, between commas."),
    click.option("-P", "--pool", callback=_pool, metavar="POOL", help="processes (prefork), threads, asyncio or solo."),
    click.option("-c", "--concurrency", type=SLOTS, metavar="N", help="How many tasks run at a time, or auto."),
    click.option(
        "--children",
        type=click.IntRange(min=1),
        metavar="N",
        help="Spread the slots of threads or asyncio over N processes.",
    ),
    click.option(
        "-O",
        "--optimization",
        type=click.Choice(["default", "fair"]),
        help="Accepted: children always fetch for themselves.",
    ),
    click.option(
        "--prefetch-multiplier",
        type=_AT_LEAST_0,
        metavar="N",
        help="At most so many fetched tasks per slot; 0: no limit.",
    ),
    click.option("--disable-prefetch", is_flag=True, default=None, help="Fetch a task only when a slot is free."),
    click.option("--time-limit", type=_SECONDS, metavar="SECONDS", help="Hard time limit of tasks that have none."),
    click.option(
        "--soft-time-limit", type=_SECONDS, metavar="SECONDS", help="Soft time limit of tasks that have none."
    ),
    click.option("--max-tasks-per-child", type=_AT_LEAST_1, metavar="N", help="Replace a child after so many tasks."),
    click.option(
        "--max-memory-per-child", type=_AT_LEAST_1, metavar="KIB", help="Replace a child that uses more memory."
    ),
    click.option(
        "--pool-start-method",
        "--start-method",
        "start_method",
        type=click.Choice(["auto", "fork", "spawn"]),
        help="How children are started; auto: by fork, where the app allows it.",
    ),
    click.option(
        "--grace",
        type=_SECONDS,
        metavar="SECONDS",
        help="When stopping, running tasks get so long; what is left is handed back.",
    ),
    click.option(
        "--http",
        metavar="[HOST:]PORT",
        help="Answer /livez, /readyz and /metrics there; without a host on loopback only.",
    ),
    click.option(
        "--log-format",
        metavar="FORMAT",
        help="The form of log lines: json, or a format of the logging module.",
    ),
    click.option("-E", "--task-events", "--events", is_flag=True, help="Send events about tasks."),
    click.option("--purge", "--discard", is_flag=True, help="Delete all waiting tasks of the consumed queues first."),
    click.option(
        "--pidfile", "pid_path", metavar="PATH", help="Write the process id there; exit code 73 if a worker holds it."
    ),
    click.option(
        "--umask",
        callback=_umask,
        metavar="OCTAL",
        help="File mode creation mask.",
    ),
    click.option("--executable", metavar="PATH", help="Accepted; children are forked."),
    click.option("-S", "--statedb", metavar="PATH", help="Accepted; revoked ids are kept in the store."),
    click.option("--without-gossip", is_flag=True, help="Accepted; there is none."),
    click.option("--without-mingle", is_flag=True, help="Accepted; there is none."),
    click.option("--without-heartbeat", is_flag=True, help="Tell monitors no heartbeats; leases say who lives."),
    click.option(
        "--heartbeat-interval", type=_AT_LEAST_1, metavar="SECONDS", help="Seconds between two heartbeat events [5]."
    ),
    click.option(
        "--autoscale",
        callback=_bounds,
        metavar="MAX[,MIN]",
        help="Between so many processes, as there is work; for the pool processes.",
    ),
    click.option("-B", "--beat", is_flag=True, help="Run a beat too; any number of workers may."),
    click.option(
        "-s",
        "--schedule-filename",
        "--schedule",
        "schedule",
        metavar="PATH",
        help="-B: the file of last runs, for brokers that keep no schedules.",
    ),
    click.option("--scheduler", metavar="CLASS", help="-B: the class that keeps the schedule."),
    click.option("-D", "--detach", is_flag=True, help="Refused: run it under a service manager."),
    click.option("--uid", metavar="USER", help="Refused, as -D."),
    click.option("--gid", metavar="GROUP", help="Refused, as -D."),
)


def with_options(command: Any) -> Any:
    """Give a command these options, in their order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
