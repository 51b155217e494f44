"""What is measured, and how. Each measure is one function of the lab and a peer, and returns its figures by name.

Drain: everything is queued before the workers start, and the rate is the slope between 5 % and 95 % done, so that
neither the start nor the last stragglers count. What each figure means, and which way is better, stands in
``MEASURES``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from statistics import median, quantiles

from bench.lab import Lab, Trouble, Workers
from bench.peers import Peer

#: Seconds without a task done after which a measurement is given up.
STALL = 30.0
#: Seconds over which an idle worker is watched.
IDLE = 8.0
#: Delayed tasks fall due evenly over so many seconds.
SPAN = 4.0

Figures = dict[str, float]


@dataclass(frozen=True)
class Figure:
    """One number of a measure, as tables show it."""

    key: str
    title: str
    unit: str
    more_is_better: bool
    #: It is compared with the peers' in the README.
    headline: bool = True


@dataclass(frozen=True)
class Measure:
    """One measure with its figures."""

    name: str
    title: str
    run: Callable[[Lab, Peer], Figures]
    figures: tuple[Figure, ...]
    #: Where it runs, as in ``bench.servers``; empty: on Redis, or in a file.
    server: str = ""


def _watch(lab: Lab, workers: Workers, n: int) -> Figures:
    """Follow the counter to ``n``; the rate between 5 % and 95 %, and what a task cost."""
    low, high = n * 0.05, n * 0.95
    seen: list[tuple[float, int, float, float]] = []
    moved, last = time.monotonic(), 0
    while last < n:
        time.sleep(0.002)
        total, now = lab.counter.total(), time.monotonic()
        if total > last:
            moved, last = now, total
        elif now - moved > STALL:
            workers.check()
            raise Trouble(f"no task done for {STALL:.0f} s, {total:,} of {n:,} done")
        if (total >= low and not seen) or (total >= high and len(seen) == 1):
            seen.append((time.monotonic(), lab.counter.total(), workers.cpu(), lab.server_cpu()))
    if len(seen) < 2 or seen[1][0] == seen[0][0]:
        raise Trouble(f"{n:,} tasks were through at once: too few to measure")
    (t0, c0, w0, r0), (t1, c1, w1, r1) = seen
    return {
        "rate": (c1 - c0) / (t1 - t0),
        "worker_us": (w1 - w0) / (c1 - c0) * 1e6,
        "redis_us": (r1 - r0) / (c1 - c0) * 1e6,
    }


def _drain(measure: str, fill: str = "fill", size_of: str = "") -> Callable[[Lab, Peer], Figures]:
    def run(lab: Lab, peer: Peer) -> Figures:
        n = peer.sizes[size_of or measure]
        lab.drive(peer, measure, "prepare")
        lab.drive(peer, measure, fill, n)
        before = lab.redis_commands()
        with lab.workers(peer, measure) as workers:
            figures = _watch(lab, workers, n)
            # Whoever runs a task twice does it here; one who has run each once stands still.
            time.sleep(0.3)
        extra = lab.counter.total() - n
        return {**figures, "redis_commands": (lab.redis_commands() - before) / n, "doubled": extra}

    return run


def _history(measure: str, server: str = "") -> Callable[[Lab, Peer], Figures]:
    """The same drain with and without history, one after the other: what the one takes more than the other. Which of
    them is first changes with each repetition."""
    turns = cycle((("on", "off"), ("off", "on")))

    def run(lab: Lab, peer: Peer) -> Figures:
        seen: dict[str, Figures] = {}
        for history in next(turns):
            lab.fresh(server)
            seen[history] = _drain(f"{measure}-{history}", size_of=measure)(lab, peer)
        cpu = {history: figures["worker_us"] + figures["redis_us"] for history, figures in seen.items()}
        return {
            "cpu": (cpu["on"] / cpu["off"] - 1) * 100,
            "time": (seen["off"]["rate"] / seen["on"]["rate"] - 1) * 100,
        }

    return run


def _first_task(lab: Lab, workers: Workers) -> None:
    def ran() -> bool:
        workers.check()
        return lab.counter.total() > 0

    lab.wait_for(ran, 20, "its first task did not run within 20 s", 0.001)


def _produce(measure: str, verb: str) -> Callable[[Lab, Peer], Figures]:
    def run(lab: Lab, peer: Peer) -> Figures:
        lab.drive(peer, measure, "prepare")
        return {"rate": lab.drive(peer, measure, verb, peer.sizes[measure])["rate"]}

    return run


def latency(lab: Lab, peer: Peer) -> Figures:
    """Call, wait for the result, pause, call again; the worker is idle each time."""
    with lab.workers(peer, "latency") as workers:
        report = lab.drive(peer, "latency", "latency", peer.sizes["latency"], 8.0)
        workers.check()
    starts, results = quantiles(report["starts"], n=100), quantiles(report["results"], n=100)
    return {"start_p50": starts[49], "start_p99": starts[98], "result_p50": results[49], "result_p99": results[98]}


def _wake(measure: str) -> Callable[[Lab, Peer], Figures]:
    """Call idle workers; how long until the first line of the task."""

    def run(lab: Lab, peer: Peer) -> Figures:
        lab.drive(peer, measure, "prepare")
        with lab.workers(peer, measure) as workers:
            report = lab.drive(peer, measure, "wake", peer.sizes[measure], 8.0)
            workers.check()
        starts = quantiles(report["starts"], n=100)
        return {"start_p50": starts[49], "start_p99": starts[98]}

    return run


def footprint(lab: Lab, peer: Peer) -> Figures:
    """From the command to the first task run; then memory, and what an idle worker costs."""
    lab.drive(peer, "footprint", "fill", 1)
    began = time.monotonic()
    with lab.workers(peer, "footprint") as workers:
        _first_task(lab, workers)
        start = time.monotonic() - began
        time.sleep(3)
        workers.check()
        pss, cpu, commands, began = workers.pss(), workers.cpu(), lab.redis_commands(), time.monotonic()
        time.sleep(IDLE)
        span = time.monotonic() - began
        idle, rounds = (workers.cpu() - cpu) / span * 100, (lab.redis_commands() - commands) / span
        processes = len(workers.pids())
    return {"start": start, "pss": pss, "idle": idle, "idle_commands": rounds, "processes": processes}


def delayed(lab: Lab, peer: Peer) -> Figures:
    """Send tasks for a moment to come, to a running worker; how late they begin, and how much it grows meanwhile."""
    n = peer.sizes["delayed"]
    with lab.workers(peer, "delayed") as workers:
        lab.drive(peer, "delayed", "fill", 1)
        _first_task(lab, workers)
        time.sleep(1)
        before = workers.pss()
        first = time.time() + peer.lead
        with lab.driving(peer, "delayed", "due", n, first, SPAN) as report:
            time.sleep(max(0.0, first - time.time() - 0.5))
            growth = workers.pss() - before
            spare = report()["spare"]
        lab.wait_for(lambda: lab.counter.total() > n, SPAN + 60, "not all delayed tasks ran")
        workers.check()
    if spare < 0:
        raise Trouble(f"sending took {-spare:.1f} s too long; give it a longer lead")
    late = [(lab.counter.moment(index) - (first + SPAN * index / n)) * 1000 for index in range(n)]
    early = sum(lateness < -1 for lateness in late)
    return {"late_p50": median(late), "late_p99": quantiles(late, n=100)[98], "growth": growth, "early": early}


def canvas(lab: Lab, peer: Peer) -> Figures:
    """Send workflows to idle workers and wait for their results; the median of three of each, after one unmeasured."""
    with lab.workers(peer, "canvas") as workers:
        report = lab.drive(peer, "canvas", "canvas", peer.sizes["canvas"])
        workers.check()
    return {name: report[name] for name in ("chord", "group", "chain")}


RATE = Figure("rate", "", "tasks/s", True)
DRAIN = (
    RATE,
    Figure("worker_us", "worker CPU a task", "µs", False, headline=False),
    Figure("redis_us", "server CPU a task", "µs", False, headline=False),
    Figure("redis_commands", "Redis commands a task", "", False, headline=False),
    Figure("doubled", "ran again", "", False, headline=False),
)
WAKE = (
    Figure("start_p50", "call → first line of the task, p50", "µs", False),
    Figure("start_p99", "call → first line, p99", "µs", False, headline=False),
)
SQS = (*DRAIN[:3], Figure("redis_commands", "requests a task", "", False, headline=False))
HISTORY = (
    Figure("cpu", "more CPU a task", "%", False),
    Figure("time", "more time a task", "%", False, headline=False),
)
MEASURES = {
    measure.name: measure
    for measure in (
        Measure("drain", "Drain of queued no-op tasks, no results", _drain("drain"), DRAIN),
        Measure("drain-results", "The same with results stored", _drain("drain-results"), DRAIN),
        Measure("enqueue", "`delay()` one by one", _produce("enqueue", "produce"), (RATE,)),
        Measure("bulk", "Bulk send", _produce("bulk", "bulk"), (RATE,)),
        Measure("group", "The same as one group", _produce("group", "group"), (RATE,)),
        Measure(
            "latency",
            "Idle worker",
            latency,
            (
                *WAKE,
                Figure("result_p50", "call → result in the caller, p50", "µs", False),
                Figure("result_p99", "call → result, p99", "µs", False, headline=False),
            ),
        ),
        Measure("sleep", "Tasks that sleep 10 ms, 100 slots", _drain("sleep", "naps"), (RATE, *DRAIN[1:2])),
        Measure(
            "footprint",
            "Two worker processes",
            footprint,
            (
                Figure("start", "command → first task run", "s", False),
                Figure("pss", "memory (PSS)", "MB", False),
                Figure("idle", "idle CPU", "%", False),
                Figure("idle_commands", "idle Redis commands", "/s", False, headline=False),
                Figure("processes", "processes", "", False, headline=False),
            ),
        ),
        Measure(
            "delayed",
            "10,000 tasks due over 4 s",
            delayed,
            (
                Figure("late_p50", "lateness p50", "ms", False, headline=False),
                Figure("late_p99", "lateness p99", "ms", False),
                Figure("growth", "growth of the worker", "MB", False),
                Figure("early", "ran early", "", False, headline=False),
            ),
        ),
        Measure(
            "canvas",
            "Workflows of 1,000 calls, a chain of 200",
            canvas,
            (
                Figure("chord", "chord of 1,000 → result of its body", "s", False),
                Figure("group", "group of 1,000 → all results", "s", False),
                Figure("chain", "chain of 200 → last result", "s", False),
            ),
        ),
        Measure("sqlite", "Embedded SQLite, drain of no-op tasks", _drain("sqlite"), (RATE, *DRAIN[1:2])),
        Measure("sqlite-wake", "Embedded SQLite, idle worker", _wake("sqlite-wake"), WAKE),
        Measure("postgres", "PostgreSQL, drain of no-op tasks", _drain("postgres"), DRAIN[:3], "postgres"),
        Measure("postgres-bulk", "PostgreSQL, bulk send", _produce("postgres-bulk", "bulk"), (RATE,), "postgres"),
        Measure("postgres-group", "The same as one group", _produce("postgres-group", "group"), (RATE,), "postgres"),
        Measure("postgres-wake", "PostgreSQL, idle worker", _wake("postgres-wake"), WAKE, "postgres"),
        Measure("history", "Counters and history on Redis, against none", _history("history"), HISTORY),
        Measure("history-sqlite", "The same on SQLite", _history("history-sqlite"), HISTORY),
        Measure(
            "history-postgres", "The same on PostgreSQL", _history("history-postgres", "postgres"), HISTORY, "postgres"
        ),
        Measure("rabbitmq", "RabbitMQ, drain of no-op tasks", _drain("rabbitmq"), DRAIN[:3], "rabbitmq"),
        Measure("rabbitmq-results", "The same, results in Redis", _drain("rabbitmq-results"), DRAIN[:3], "rabbitmq"),
        Measure(
            "rabbitmq-bulk", "RabbitMQ, bulk send, confirmed", _produce("rabbitmq-bulk", "bulk"), (RATE,), "rabbitmq"
        ),
        Measure("rabbitmq-group", "The same as one group", _produce("rabbitmq-group", "group"), (RATE,), "rabbitmq"),
        Measure("sqs", "Amazon SQS (stand-in), drain of no-op tasks", _drain("sqs"), SQS, "sqs"),
        Measure("sqs-bulk", "Amazon SQS (stand-in), bulk send", _produce("sqs-bulk", "bulk"), (RATE,), "sqs"),
    )
}
