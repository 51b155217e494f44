"""The worker as remote commands see it (``control.node.Node``), in the agent.

Owns the answers (from boards, store and bulletin) and how a change reaches children and supervisor. Used by
``worker.panel``, one command at a time, and by the agent."""

from __future__ import annotations

import logging
import os
import resource
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from talo.app.revocations import REVOKED_FOR, STAMPS, stamps_of
from talo.control.node import Refused
from talo.errors import MalformedMessage
from talo.stores.base import Delivery
from talo.stores.parking import at_home
from talo.wire.protocol import decode
from talo.wire.repr import saferepr
from talo.wire.sealed import masked
from talo.worker.autoscale import LOOK_EVERY, Autoscaler
from talo.worker.board import Entry
from talo.worker.bulletin import Standing
from talo.worker.lines import AgentLine
from talo.worker.marks import keep_size, size_of, with_marks
from talo.worker.meter import totals
from talo.worker.share import Common, Share

if TYPE_CHECKING:
    from talo.app.app import Talo
    from talo.worker.options import WorkerOptions

__all__ = ["WorkerNode"]

log = logging.getLogger("talo.worker")

#: Revoked ids that a worker keeps for itself where no store does.
_MOST_REVOKED = 2000
#: What Celery's tools call a transport for which Talo has another word.
_TRANSPORTS = {"rabbitmq": "amqp"}


class WorkerNode:
    """One worker. ``beat_once`` sends a heartbeat, ``check`` has the agent look for runs that are to be stopped."""

    def __init__(
        self, app: Talo, options: WorkerOptions, shares: Sequence[Share], common: Common, line: AgentLine
    ) -> None:
        self.app = app
        self.hostname = options.hostname
        self._options = options
        self._shares = shares
        self._common = common
        self._line = line
        self._began = time.monotonic()
        self._next_scale = 0.0
        self.autoscaler = Autoscaler(*options.autoscale) if options.autoscale else None
        self._lock = threading.Lock()
        #: How many processes the supervisor was last told to have.
        self._size: int | None = None
        state = app.state_store
        self._locks = None if state is None else state.locks
        #: Ids whose runs are to be stopped, where no store keeps them.
        self.terminated: set[str] = set()
        self.on_heartbeat: Callable[[], None] = lambda: None
        self.on_revoked: Callable[[], None] = lambda: None
        found = common.bulletin.read()
        self._standing = found[1] if found else Standing(queues=options.queues, events=options.task_events)

    # -- what holds -------------------------------------------------------------------------------------------------

    @property
    def standing(self) -> Standing:
        """What was said to this worker and holds now."""
        return self._standing

    def _change(self, **fields: Any) -> None:
        """Let something else hold; children know within moments."""
        with self._lock:
            standing = msgspec.structs.replace(self._standing, **fields)
            self._publish(standing)

    def _publish(self, standing: Standing) -> None:
        if standing != self._standing or not self._common.bulletin.number:
            self._common.bulletin.write(standing)
            self._standing = standing
            self._line.report("look", 0)

    def look_again(self) -> None:
        """Read what is marked in the store, and go by it. ``OperationalError``."""
        with self._lock:
            try:
                self._publish(with_marks(self._standing, self._locks))
            except ValueError as exc:
                log.error("What is paused and revoked is not followed: %s", exc, extra={"action": "bulletin_full"})
            if self._locks is not None and self._keeps_size:
                size = size_of(self._locks, self.hostname, self._options.processes)
                if size is not None and size != self._common.processes:
                    self._resize(size)

    def listens(self) -> None:
        """Commands are heard from now on, or never will be: the worker may call itself ready."""
        self._line.report("listens", 0)

    # -- looking ----------------------------------------------------------------------------------------------------

    @property
    def clock(self) -> int:
        return self.app.clock.value

    @property
    def queues(self) -> Sequence[str]:
        return self._standing.queues

    def rate_limits(self) -> Mapping[str, Any]:
        return self._standing.rate_limits

    def _held(self) -> Iterator[tuple[Share, dict[int, Entry], list[Delivery]]]:
        for share in self._shares:
            owner = share.board.owner
            if owner and share.board.pid:
                # First the board: what has ended meanwhile is not held any more.
                running = {entry.token: entry for entry in share.board.running()}
                yield share, running, [at_home(delivery) for delivery in self.app.store.broker.held(owner)]

    def running(self, *, safe: bool = False) -> list[dict[str, Any]]:
        return [
            self._info(delivery, safe, entry=running[delivery.lease.token], pid=share.board.pid)
            for share, running, held in self._held()
            for delivery in held
            if delivery.lease.token in running
        ]

    def fetched(self, *, safe: bool = False) -> list[dict[str, Any]]:
        return [
            self._info(delivery, safe)
            for _, running, held in self._held()
            for delivery in held
            if delivery.lease.token not in running
        ]

    def _info(
        self, delivery: Delivery, safe: bool, *, entry: Entry | None = None, pid: int | None = None
    ) -> dict[str, Any]:
        message = delivery.message
        headers = message.headers if message is not None else {}
        args: Any = []
        kwargs: Any = {}
        name, task_id, shadow = headers.get("task"), headers.get("id"), headers.get("shadow")
        if message is not None:
            try:
                call = decode(message, self.app.env.accept, self.app.env.timezone)
                self.app.env.secrets.arrive(call, self.app.env.repr_levels)
                args, kwargs, name, task_id = masked(call.args), masked(call.kwargs), call.task, call.id
            except MalformedMessage:
                pass  # it will become a dead letter; its headers are shown
        if safe or not _writable((args, kwargs)):
            args, kwargs = saferepr(args), saferepr(kwargs)
        task = self.app.tasks.get(name) if name else None
        return {
            "id": task_id,
            "name": shadow or name,
            "args": args,
            "kwargs": kwargs,
            "type": name,
            "hostname": self.hostname,
            "time_start": None if entry is None else time.time() - (time.monotonic() - entry.started),
            "acknowledged": bool(entry is not None and task is not None and task.at_most_once),
            "delivery_info": {
                "exchange": message.exchange if message is not None else "",
                "routing_key": (message.routing_key if message is not None else "") or delivery.queue,
                "priority": message.priority if message is not None else 0,
                "redelivered": bool(headers.get("redelivered")) or delivery.deliveries > 0,
            },
            "worker_pid": pid,
        }

    def stats(self) -> dict[str, Any]:
        options = self._options
        usage = resource.getrusage(resource.RUSAGE_SELF)
        names = ("utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap", "inblock",
                 "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw")  # fmt: skip
        scaler = self.autoscaler
        scale = {}
        if scaler is not None:
            numbers = {"max": scaler.most, "min": scaler.least, "current": self._common.processes, "qty": self.active}
            scale = {"autoscaler": numbers}
        return {
            "total": self._totals(),
            "pid": os.getppid(),
            "clock": str(self.clock),
            "uptime": round(time.monotonic() - self._began),
            "pool": {
                "implementation": f"talo:{options.pool}",
                "max-concurrency": self._concurrency(),
                "processes": [share.board.pid for share in self._shares if share.board.pid],
                "max-tasks-per-child": options.max_tasks_per_child or "N/A",
                "put-guarded-by-semaphore": False,
                "timeouts": [options.soft_time_limit or 0, options.time_limit or 0],
                "writes": {"total": self.processed, "strategy": "fetch"},
            },
            **scale,
            "broker": self._broker_info(),
            "prefetch_count": (options.prefetch or 0) * self._concurrency(),
            "rusage": {name: getattr(usage, f"ru_{name}") for name in names},
            "talo": {"processed": self.processed, "active": self.active, "queues": list(self.queues)},
        }

    def _totals(self) -> dict[str, int]:
        """How many runs of each task have ended since the worker's start."""
        numbers = (None, *(share.number for share in self._shares))
        meters = [self._common.meter(number, self._options.metrics_max_tasks) for number in numbers]
        return totals([meter for meter in meters if meter is not None])

    def _concurrency(self) -> int:
        return self._common.processes if self._options.pool == "processes" else self._options.concurrency

    def _broker_info(self) -> dict[str, Any]:
        parts = urlsplit(self.app.store.url)
        return {
            "hostname": parts.hostname,
            "userid": parts.username,
            "virtual_host": parts.path.lstrip("/") or "/",
            "port": parts.port,
            "insist": False,
            "ssl": parts.scheme in ("rediss", "valkeys", "amqps"),
            "transport": _TRANSPORTS.get(self.app.store.features.name, self.app.store.features.name),
            "connect_timeout": self.app.conf.broker_connection_timeout,
            "transport_options": {},
            "login_method": None,
            "uri_prefix": None,
            "heartbeat": 0,
            "failover_strategy": "round-robin",
            "alternates": [],
        }

    @property
    def active(self) -> int:
        """How many tasks run."""
        return sum(len(share.board.running()) for share in self._shares)

    @property
    def processed(self) -> int:
        """How many tasks have run since the worker's start."""
        return self._common.processed + sum(share.board.counts[0] for share in self._shares if share.board.pid)

    # -- revoking ---------------------------------------------------------------------------------------------------

    def revoked(self) -> list[str]:
        return sorted(self._locks.all_marked("revoked")) if self._locks else list(self._standing.revoked)

    def revoke(self, ids: Iterable[str], *, terminate: bool) -> list[str]:
        ids = list(ids)
        if self._locks is not None and ids:
            marks = dict.fromkeys(ids, REVOKED_FOR)
            self._locks.mark("revoked", marks)
            if terminate:
                self._locks.mark("terminated", marks)
        elif ids:
            known = [each for each in self._standing.revoked if each not in ids]
            self._change(revoked=(*known, *ids)[-_MOST_REVOKED:])
            self.terminated |= set(ids) if terminate else set()
        fields = {"task_id": ids[0]} if len(ids) == 1 else {"task_ids": ids}
        log.info("Tasks flagged as revoked: %s", ", ".join(ids), extra={"action": "revoke", **fields})
        running = [info["id"] for info in self.running(safe=True) if info["id"] in ids] if terminate else []
        self.on_revoked()
        return running

    def revoke_stamps(self, stamps: Sequence[str], *, terminate: bool) -> list[str]:
        if self._locks is not None:
            self._locks.mark(STAMPS, dict.fromkeys(stamps, REVOKED_FOR))
            self.look_again()
        else:
            self._change(stamps=self._standing.stamps | set(stamps))
        if not terminate:
            return []
        wanted = self._standing.stamps
        running = [
            delivery.message.id
            for _, entries, held in self._held()
            for delivery in held
            if delivery.lease.token in entries
            and delivery.message is not None
            and delivery.message.id is not None
            and _carries(delivery.message.headers, wanted)
        ]
        return self.revoke(running, terminate=True) if running else []

    # -- steering ---------------------------------------------------------------------------------------------------

    def consume(self, queue: str) -> None:
        _ = self.app.queues[queue]  # raises for a queue that this app does not make
        if queue not in self.queues:
            self._change(queues=(*self.queues, queue))

    def consume_no_more(self, queue: str) -> None:
        self._change(queues=tuple(name for name in self.queues if name != queue))

    def set_rate_limit(self, task: str, rate: str | float | None) -> None:
        self._change(rate_limits={**self._standing.rate_limits, task: rate or 0})

    def set_time_limit(self, task: str, hard: float | None, soft: float | None) -> None:
        self._change(time_limits={**self._standing.time_limits, task: (hard, soft)})

    def set_events(self, on: bool) -> bool:
        changed = self._standing.events is not on
        self._change(events=on)
        self.on_heartbeat()
        return changed

    def beat_once(self) -> None:
        self.on_heartbeat()

    def grow(self, number: int) -> None:
        options = self._options
        if options.pool != "processes":
            raise Refused(f"the pool {options.pool} keeps its number of slots: start the worker with another -c")
        with self._lock:
            before = self._size or self._common.processes
            count = before + number
            if count < 1:
                raise Refused(f"Can't shrink pool. It has {before} processes and keeps one")
            if count > options.most_processes:
                raise Refused(f"this worker has room for {options.most_processes} processes: start it with a higher -c")
            if self._locks is not None and self._keeps_size:
                keep_size(self._locks, self.hostname, options.processes, count, time.time())
            self._resize(count)

    @property
    def _keeps_size(self) -> bool:
        """Whether what a command says of its size outlives this worker. One that scales by itself finds its own."""
        return self._options.pool == "processes" and self.autoscaler is None

    def _resize(self, count: int) -> None:
        self._size = count
        self._line.report("resize", count)

    def autoscale(self, most: int | None, least: int | None) -> tuple[int, int]:
        scaler = self.autoscaler
        if scaler is None:
            raise Refused("Autoscale not enabled")
        most = scaler.most if most is None else most
        least = min(scaler.least, most) if least is None else least
        if not 1 <= least <= most <= self._options.most_processes:
            raise Refused(f"autoscale moves between 1 and {self._options.most_processes} processes, not {least}-{most}")
        scaler.most, scaler.least = most, least
        return most, least

    def scale(self, now: float) -> None:
        """Have one process more or less, if this worker scales by itself. ``OperationalError``."""
        if self.autoscaler is None or now < self._next_scale:
            return
        self._next_scale = now + LOOK_EVERY
        processes, active, queues = self._common.processes, self.active, self._standing.open_queues
        waiting = active >= processes and bool(queues) and any(q.ready for q in self.app.store.broker.stats(queues))
        change = self.autoscaler.change(processes=processes, active=active, waiting=waiting, now=now)
        if change:
            with self._lock:
                self._resize(processes + change)

    def restart_pool(self) -> None:
        self._line.report("restart", 0)

    def shut_down(self) -> None:
        log.warning("Got shutdown from remote", extra={"action": "shutdown"})
        self._line.report("shutdown", 0)


def _carries(headers: Mapping[str, Any], stamps: frozenset[str]) -> bool:
    found = headers.get("stamps")
    return isinstance(found, dict) and not stamps.isdisjoint(stamps_of(found))


def _writable(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
