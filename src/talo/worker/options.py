"""What a worker was asked to do, after configuration and command line are joined: one frozen record that every
process of it reads."""

from __future__ import annotations

import msgspec

__all__ = ["HEARTBEAT", "POOLS", "WorkerOptions"]

#: Seconds between two heartbeat events. Celery's two would be more than all else that an idle worker does together.
HEARTBEAT = 5.0

#: Pool names and their aliases, as Celery's users write them.
POOLS = {
    "processes": "processes",
    "prefork": "processes",
    "threads": "threads",
    "asyncio": "asyncio",
    "aio": "asyncio",
    "solo": "solo",
}

#: With no work a worker looks again at least so often (seconds).
IDLE_LOOK = 25.0


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's plan. Times are in seconds."""

    #: Node name, ``celery@host``.
    hostname: str
    #: Queues that it consumes, in order.
    queues: tuple[str, ...]
    pool: str = "processes"
    #: Tasks at a time.
    concurrency: int = 1
    #: ``fork``, ``spawn``, or ``auto``: fork, unless the app has done what no forked process survives.
    start_method: str = "auto"
    #: Pools of threads or coroutines spread their slots over so many processes.
    children: int = 1
    lease: float = 30.0
    #: How much work a child fetches at once, by the measured run time.
    batch_time: float = 0.1
    #: At most so many fetched tasks per slot; None: as many as fit into ``batch_time``.
    prefetch: int | None = None
    max_tasks_per_child: int | None = None
    #: KiB.
    max_memory_per_child: int | None = None
    #: For tasks that have none of their own.
    time_limit: float | None = None
    soft_time_limit: float | None = None
    #: After TERM, how long running tasks may go on; None: until they end.
    grace: float | None = None
    #: Whether the agent can settle for a child that was killed; else its messages come back by themselves, and who was
    #: killed for its hard limit would begin again.
    hands_over: bool = True
    #: Before QUIT interrupts tasks, how long they may go on.
    soft_shutdown: float = 0.0
    #: A child that has free slots and ready work but fetches nothing for so long is replaced.
    watchdog: float | None = 30.0
    #: A child that does not come up within that is replaced, by one that may take twice as long. One that has run its
    #: tasks may take so long to end.
    start_timeout: float = 60.0
    #: Charges after which a message is a dead letter; None: never.
    max_deliveries: int | None = 3
    #: The agent runs a beat, with this scheduler (default: as configured) and, if it needs one, this file.
    beat: bool = False
    scheduler: str | None = None
    schedule_filename: str | None = None
    #: How long a message of an unknown task waits for a worker that knows it.
    unknown_patience: float = 300.0

    #: Seconds between two heartbeat events; 0: none.
    heartbeat: float = HEARTBEAT
    #: Task events are told from the start.
    task_events: bool = False
    #: The most and the fewest children of a worker that scales by itself.
    autoscale: tuple[int, int] | None = None

    #: Where the agent answers ``/livez``, ``/readyz`` and ``/metrics``: host and port; None: nowhere.
    http: tuple[str, int] | None = None
    #: Different names of tasks in its metrics.
    metrics_max_tasks: int = 100
    #: Runs are counted and kept in the store.
    history: bool = True
    #: Where it logs; None: standard error.
    logfile: str | None = None

    @property
    def idle_look(self) -> float:
        """Seconds after which a worker that waits for work looks again, whatever the store's wake-up promises."""
        return IDLE_LOOK if self.watchdog is None else min(IDLE_LOOK, self.watchdog * 5 / 6)

    @property
    def shares(self) -> int:
        """How many children it may have, with those that are gone and not settled yet."""
        return self.most_processes + self.most_processes // 2 + 1

    @property
    def most_processes(self) -> int:
        """How many children it may ever have; what they share is made before the first one."""
        if self.pool != "processes":
            return self.processes
        return max(2 * self.processes, self.processes + 4, self.autoscale[0] if self.autoscale else 0)

    @property
    def processes(self) -> int:
        """How many children it has at its start."""
        return self.concurrency if self.pool == "processes" else self.children

    @property
    def slots(self) -> int:
        """How many tasks one child runs at a time."""
        return -(-self.concurrency // self.children) if self.pool in ("threads", "asyncio") else 1
