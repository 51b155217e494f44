"""No setting makes duplicates: two apps whose leases, limits and delays are drawn at random share one store, and what
is healthy runs once. What is drawn is named where it fails; another draw: TALO_SEED=$RANDOM."""

from __future__ import annotations

import contextlib
import random
from collections import Counter

import pytest

from tests.chaos.kit import HANGS, LONG, SEED, Judge, call, check, full, send_all
from tests.places import STORES, Place, a_place  # noqa: F401  fixture
from tests.support import eventually
from tests.workers import Trace

#: Pairs of apps that are tried on each store.
PAIRS = full(50, 1)
POOLS = (["-P", "processes", "-c", "2"], ["-P", "threads", "-c", "6"], ["-P", "asyncio", "-c", "6"], ["-P", "solo"])
#: What an app may be told beside its lease, from very little to very much; None: nothing is said. Limits of time are
#: such that a task of these is healthy on a busy machine, too.
TOLD: dict[str, tuple[object, ...]] = {
    "TALO_WORKER_BATCH_TIME": (0.01, None, 10.0),
    "TALO_WORKER_PREFETCH_MULTIPLIER": (None, 1, 4),
    "TALO_WORKER_MAX_TASKS_PER_CHILD": (None, 5),
    "TALO_TASK_TIME_LIMIT": (None, 120.0),
    "TALO_TASK_SOFT_TIME_LIMIT": (None, 100.0),
    "TALO_TASK_MAX_DELIVERIES": (None, 1),
    "TALO_TASK_DEFAULT_RATE_LIMIT": (None, "50/s"),
    "TALO_STORE_TIMEOUT": (None, 3.0, 20.0),
}


def _drawn(chance: random.Random) -> tuple[list[str], dict[str, str]]:
    """A pool and the settings of one app."""
    told = {name: chance.choice(values) for name, values in TOLD.items()}
    told["TALO_WORKER_LEASE"] = chance.choice([chance.uniform(1.0, 4.0), 3600.0])
    return chance.choice(POOLS), {name: str(value) for name, value in told.items() if value is not None}


@pytest.mark.promise("T04")
@pytest.mark.parametrize("place", STORES, indirect=True)
@pytest.mark.timeout(HANGS)
def test_whatever_two_apps_are_told_what_is_healthy_runs_once(place: Place) -> None:
    for number in range(PAIRS):
        chance = random.Random(f"{SEED} {place.url.partition(':')[0]} {number}")
        # Given two workers, each as its own settings say
        drawn = [_drawn(chance) for _ in range(2)]
        retry, later = chance.uniform(0, 3), chance.uniform(0, 3)
        with contextlib.ExitStack() as stack:
            app = stack.enter_context(place.client())
            workers = [
                place.worker(*pool, name=f"w{number}-{which}", env=env) for which, (pool, env) in enumerate(drawn)
            ]
            for worker in workers:
                stack.callback(worker.destroy)
                worker.start(ready=False)
            for worker in workers:
                worker.wait_ready()
            # When tasks run that are short, longer than the shortest lease, tried again, and due later
            short = [float(env["TALO_WORKER_LEASE"]) for _, env in drawn]
            long = 1.5 * min(short) if min(short) < 10 else 1.0
            once = [call("burn", 0.002)] * 100 + [call("nap", long), call("anap", long)] * 3
            once += [call("noop", countdown=later)] * 10
            ids = send_all(app, once)
            again = send_all(app, [call("stumbles", 2, retry)] * 10)
            judge = Judge(app, worker.trace, ids + again)
            done = {"SUCCESS": len(ids + again)}
            eventually(lambda: check(judge.states() == done, f"{judge.states()}, {drawn}"), LONG, 0.1)
            for worker in workers:
                assert worker.stop() == 0
            judge.nothing_is_left()
            # Then each has run once, and each attempt of what was tried again
            wanted = [(each, "") for each in ids]
            wanted += [(each, f"retries={attempt}") for each in again for attempt in range(3)]
            assert _starts(worker.trace, {*ids, *again}) == Counter(wanted), drawn
            assert judge.dead() == [], drawn


def _starts(trace: Trace, ids: set[str]) -> Counter[tuple[str, str]]:
    """How often each of these tasks has started, by attempt where it tells that."""
    return Counter((line[1], " ".join(line[4:])) for line in trace.lines() if line[0] == "start" and line[1] in ids)
