"""What the chaos tests share: scale, faults on a seeded clock, fleets of workers, and the judge.

The judge reads the trace that the tasks wrote themselves and the store as a client sees it; it believes no log.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from talo import errors
from talo.app.app import Talo
from tests.support import eventually, for_seconds
from tests.workers import Trace, Worker

__all__ = [
    "LONG",
    "SEED",
    "Fleet",
    "Judge",
    "Storm",
    "any_process",
    "call",
    "check",
    "for_seconds",
    "full",
    "kill",
    "part",
    "roles",
    "send_all",
    "stopped",
]

T = TypeVar("T")

#: Another one each time: TALO_SEED=$RANDOM.
SEED = int(os.environ.get("TALO_SEED", "1"))
#: Whether to run at the promised size: 1 in ``make soak``; a part of it where a test can take a part; else 0.
SOAK = float(os.environ.get("TALO_SOAK") or 0)


def full(soak: T, quick: T) -> T:
    """The size of a test: the promised one in a soak, a smaller one otherwise."""
    return soak if SOAK else quick


def part(soak: int, quick: int) -> int:
    """The same, of which a soak may run a part."""
    return round(SOAK * soak) if SOAK else quick


#: By how much each pause of a storm is longer than the last.
_ABATES = full(1.01, 1.06)
#: Time enough for a busy machine; what is tested are outcomes, not speed.
LONG = full(1800.0, 120.0)
#: After so many seconds a test hangs.
HANGS = full(7200, 300)


def check(fact: object, text: str = "") -> None:
    """An assertion as an expression."""
    assert fact, text


def call(name: str, *args: object, **options: object) -> tuple[str, tuple[object, ...], None, dict[str, object]]:
    """A call of a traced task, as ``send_many`` takes it."""
    return f"tests.apps.traced.{name}", args, None, options


def send_all(app: Talo, calls: Sequence[Any], **options: Any) -> list[str]:
    """Send and return the ids."""
    return [result.id for result in app.send_many(calls, **options)]


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Signal one process; False if it was gone already."""
    assert pid > 1, "never a group"
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


class Fleet:
    """Workers of one test. New ones are started as an init system would, and all are gone at its end."""

    def __init__(self, broker: str, tmp: Path, *arguments: str, **options: Any) -> None:
        tmp.mkdir(exist_ok=True)
        self._make: Callable[[str], Worker] = lambda name: Worker(broker, tmp, *arguments, name=name, **options)
        self.workers: list[Worker] = []
        self.trace = Trace(tmp / "trace")

    def start(self) -> Worker:
        """Start one more and wait until it is ready."""
        worker = self._make(f"w{len(self.workers)}")
        self.workers.append(worker)
        try:
            return worker.start()
        except BaseException:
            worker.destroy()
            raise

    @property
    def last(self) -> Worker:
        return self.workers[-1]

    def __enter__(self) -> Fleet:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self.workers:
            worker.destroy()


class Storm:
    """Kills on a seeded clock until the work is done."""

    def __init__(self, seed: int = SEED) -> None:
        self.random = random.Random(seed)

    def until(
        self,
        done: Callable[[], bool],
        strike: Callable[[random.Random], None],
        every: float,
        *,
        progress: Callable[[], int] | None = None,
        abates: float = _ABATES,
    ) -> int:
        """Strike about every so many seconds until ``done``; return how often.

        Each pause is a little longer than the one before it, so that work is done between two strikes however slow
        the machine is. ``progress`` makes sure of it: a number that has to grow between two strikes.
        """
        strikes = reached = 0
        while not done():
            for_seconds(self.random.uniform(0.3, 1.7) * every * abates**strikes)
            if progress is not None:
                eventually(lambda: check(done() or progress() > reached, "nothing happens any more"), LONG)
            if done():
                break
            strike(self.random)
            strikes += 1
            reached = progress() if progress is not None else 0
        return strikes


def any_process(app: Talo, fleet: Fleet) -> Callable[[random.Random], None]:
    """What kills any process of the last worker; a supervisor is replaced."""

    def strike(rng: random.Random) -> None:
        parts = roles(app, fleet.last)
        whom = rng.choice(["child", "child", "agent", "supervisor"])
        if whom == "supervisor":
            fleet.last.signal(signal.SIGKILL)
            fleet.last.wait()
            fleet.start()
        elif parts[whom]:
            kill(rng.choice(parts[whom]))

    return strike


class Judge:
    """Says what became of these tasks."""

    def __init__(self, app: Talo, trace: Trace, ids: Sequence[str]) -> None:
        self.app = app
        self.trace = trace
        self.ids = list(ids)
        self._missing = list(ids)

    def states(self) -> Counter[str]:
        """How many of the tasks are in which stored state; those without one are not counted."""
        found: Counter[str] = Counter()
        for at in range(0, len(self.ids), 1000):
            payloads = self.app.backend.get(self.ids[at : at + 1000])
            found.update(json.loads(payload)["status"] for payload in payloads.values())
        return found

    def all_have_ended(self) -> bool:
        """Whether each has a result. Cheap to ask often: what has ended is not asked again."""
        while self._missing:
            batch = self._missing[-1000:]
            ended = self.app.backend.get(batch)
            if not ended:
                return False
            self._missing[-1000:] = [task_id for task_id in batch if task_id not in ended]
            if any(task_id not in ended for task_id in batch):
                return False
        return True

    def seem_to_have_ended(self) -> bool:
        """The same; False while the store of results is away and nobody can say."""
        try:
            return self.all_have_ended()
        except errors.OperationalError:
            return False

    def wait(self, timeout: float = LONG) -> None:
        """Wait until each has a result."""
        eventually(lambda: check(self.all_have_ended(), f"{len(self._missing)} have not ended"), timeout, 0.05)

    def nothing_is_left(self, timeout: float = LONG) -> None:
        """No message is ready, delayed or leased."""

        def empty() -> None:
            left = [q for q in self.app.store.broker.stats() if q.ready or q.delayed or q.leased]
            assert not left, left

        eventually(empty, timeout, 0.05)

    def dead(self) -> list[str]:
        """The dead letters, in short."""
        return [f"{d.death.reason}: {d.death.text} ({d.deliveries})" for d in self.app.store.broker.dead(limit=1000)]

    def repeated(self) -> set[str]:
        """Tasks that started more than once."""
        return {task_id for task_id, count in self.trace.count("start").items() if count > 1}

    def repeated_without_cause(self) -> set[str]:
        """Tasks that started again although their process had already begun another: so they had ended and were
        noted as ended when it died. What a process did last was running when it died, also if its function had
        just written its last line."""
        starts: dict[str, list[str]] = defaultdict(list)
        last: dict[str, str] = {}
        for line in self.trace.lines():
            if line[0] == "start":
                starts[line[1]].append(line[2])
                last[line[2]] = line[1]
        return {task_id for task_id, pids in starts.items() if any(last[pid] != task_id for pid in pids[:-1])}

    def settled_once(self, linked: Sequence[str]) -> None:
        """Each of these, sent with ``link=after``, has sent its callback once: its settlement was applied once."""
        callbacks: dict[str, set[str]] = defaultdict(set)
        for line in self.trace.lines():
            if line[0] == "after":
                callbacks[line[4].removeprefix("parent=")].add(line[1])
        counts = {task_id: len(callbacks[task_id]) for task_id in linked}
        assert all(count == 1 for count in counts.values()), {i: n for i, n in counts.items() if n != 1}


@contextlib.contextmanager
def stopped(pids: Sequence[int], app: Talo | None = None) -> Iterator[None]:
    """These processes stand still (SIGSTOP) meanwhile; with ``app``, at a moment at which none of them holds the lock
    of a database file, for then everybody would stand still with them."""
    while True:
        for pid in pids:
            kill(pid, signal.SIGSTOP)
        if app is None or _writable(app):
            break
        for pid in pids:
            kill(pid, signal.SIGCONT)
    try:
        yield
    finally:
        for pid in pids:
            kill(pid, signal.SIGCONT)


def _writable(app: Talo) -> bool:
    try:
        return app.store.locks.acquire("probe", "tests", 1.0)
    except errors.OperationalError:
        return False


def roles(app: Talo, worker: Worker) -> dict[str, list[int]]:
    """The living processes of a worker by role, ``agent`` and ``child``, as the store knows its owners."""
    alive = set(worker.descendants())
    found: dict[str, list[int]] = {"agent": [], "child": []}
    for info in app.store.broker.owners():
        name, _, rest = info.owner.partition("/")
        role, _, ident = rest.partition("/")
        pid = int(ident.split("-")[0])
        if pid in alive and name == worker.node:
            found[role.split("-")[0]].append(pid)
    return found
