"""The dashboard with a million runs: how long each page takes, cold and warm, on each store that keeps history.

Apart from the other measures, because it needs no workers: ``python -m bench.dashboard [--runs N] [STORE ...]`` fills a
store of its own (``tests.web.past``), asks what a browser asks, and prints milliseconds. *Cold* is the first question
to a new dashboard on a new connection; p50 and max are of the next ones. *Own* and *server* are the least time that
this process and the store's were on a processor for one of them: they say what it takes on a quiet machine.
``--filled URL`` asks a store that was filled before, whose server is ``--server PID``.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import psycopg
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.web import past
from tests.web.support import Client, dashboard_of, shop

from bench.servers import children, on_cpu
from talo import Talo
from talo.stores.history import RunQuery

#: Questions of each page after the first.
WARM = 10
#: Milliseconds that a page may take; what takes longer is marked.
MOST = 300
#: Counted only, in each of the last minutes, beside the runs that are kept.
BUSY_MINUTES, PER_MINUTE = 360, 400


class Place(NamedTuple):
    """An empty store, and its server's process if it has one."""

    url: str
    server: int | None = None


@contextmanager
def sqlite() -> Iterator[Place]:
    """A file."""
    with tempfile.TemporaryDirectory() as folder:
        yield Place(f"sqlite:///{folder}/talo.sqlite3")


@contextmanager
def redis() -> Iterator[Place]:
    """A server in memory."""
    with RedisServer() as server:
        yield Place(server.url, server.pid)


@contextmanager
def postgres() -> Iterator[Place]:
    """A server with its default durability."""
    with PostgresServer(fsync="on") as server:
        server.run("CREATE DATABASE past")
        yield Place(server.url_of("past"), server.pid)


@contextmanager
def mariadb() -> Iterator[Place]:
    """A server with its default durability."""
    with MariadbServer() as server:
        yield Place(server.url, server.pid)


STORES: dict[str, Callable[[], AbstractContextManager[Place]]] = {
    "sqlite": sqlite,
    "redis": redis,
    "postgres": postgres,
    "mariadb": mariadb,
}


def questions(app: Talo, runs: int) -> list[str]:
    """What is asked: every page with what it is opened with, and the searches of people."""
    history = app.store.history
    assert history is not None
    [last] = history.runs(RunQuery(states=("FAILURE",)), 1).runs
    [flow] = history.runs(RunQuery(name=past.TASKS[2], states=("SUCCESS",)), 1).runs
    letter = app.store.broker.dead(limit=1)[0].id
    task, rare = past.TASKS[0], past.TASKS[-1]
    old = runs // 3
    pages = [
        *(f"/?window={window}" for window in ("1h", "6h", "24h", "7d")),
        *(f"/tasks?window={window}" for window in ("1h", "6h", "24h", "7d")),
        *("/runs", "/runs?state=SUCCESS", "/runs?state=FAILURE", "/runs?state=running", "/runs?state=waiting"),
        *("/runs?state=delayed", f"/runs?state=delayed&name={task}", "/runs?state=waiting&id=nobody"),
        f"/runs?name={task}",
        f"/runs?name={rare}&state=LOST",
        f"/runs?name={task}&queue=mail",
        f"/runs?name={task}&since=24h",
        f"/runs?name={task}&since=14d&until=13d",
        f"/runs?name={task}&argument=customer-42'&since=7d",
        f"/runs?argument=({old},",
        "/runs?queue=mail&state=IGNORED",
        "/runs?worker=worker3@host3&state=LOST",
        f"/runs?error=({old})",
        "/runs?error=no+such+order&since=7d",
        f"/runs?id={last.id}",
        f"/runs?fingerprint={last.fingerprint}",
        *("/queues", "/queue?queue=mail", "/queue?queue=mail&delayed=true", "/workers", "/schedules", "/workflows"),
        *(f"/failures?window={window}" for window in ("1h", "24h", "7d")),
        *("/dead", "/dead?limit=500", f"/dead?task={task}", f"/dead/letter?id={letter}", "/configuration", "/audit"),
        *(f"/run?id={last.id}", f"/run?id={flow.id}", f"/explain?id={last.id}", "/explain?id=nobody"),
        f"/workflow?id={flow.root or flow.id}",
        *(
            "/runs/bulk?action=forget",
            f"/runs/bulk?action=forget&name={task}",
            "/runs/bulk?action=replay&state=FAILURE",
        ),
    ]
    return [*pages, "/api/pulse", "/api/overview?window=7d", f"/api/runs?name={task}", "/api/runs?limit=500"]


class Took(NamedTuple):
    """Milliseconds of the first answer, of the next ones, and of the processors for one of them; the status."""

    cold: float
    warm: list[float]
    own: float
    server: float
    status: int


async def measure(app: Talo, url: str, server: int | None) -> Took:
    """Ask a new dashboard one thing again and again."""
    took, busy = [], []
    async with Client(dashboard_of(app)) as client:
        for _ in range(1 + WARM):
            before = _busy(server)
            began = time.perf_counter()
            answer = await client.page(url)
            took.append((time.perf_counter() - began) * 1000)
            busy.append(_more(before, _busy(server)))
    own, served = min(busy[1:], key=sum)
    return Took(took[0], took[1:], own, served, answer.status_code)


def _busy(server: int | None) -> tuple[float, dict[int, float]]:
    """Seconds that this process and those of the store were on a processor."""
    pids = [] if server is None else [server, *children(server)]
    return time.process_time(), {pid: on_cpu(pid) for pid in pids}


def _more(before: tuple[float, dict[int, float]], after: tuple[float, dict[int, float]]) -> tuple[float, float]:
    """Milliseconds between; those of a process that has ended meanwhile are not known."""
    served = sum(now - before[1].get(pid, 0.0) for pid, now in after[1].items())
    return (after[0] - before[0]) * 1000, served * 1000


def fill(url: str, runs: int) -> None:
    """Give a store its past."""
    app = shop(url, history_max_runs=10 * runs)
    now = time.time()
    past.keep(app, past.runs(runs, now))
    past.keep(app, past.traffic(BUSY_MINUTES, PER_MINUTE, now))
    past.backlog(app, waiting=20_000, delayed=20_000, letters=2_000)
    app.close()
    if url.startswith("postgresql"):
        # What autovacuum is about to do: a million runs do not come in a minute.
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


def ask(place: Place, runs: int) -> None:
    """Print what the pages of a filled store take."""
    app = shop(place.url)
    asked = questions(app, runs)
    app.close()
    print(f"{'ms':<52} {'cold':>8} {'p50':>8} {'max':>8} {'own':>8} {'server':>8}")
    for path in asked:
        fresh = shop(place.url)
        took = asyncio.run(measure(fresh, path, place.server))
        fresh.close()
        p50 = statistics.median(took.warm)
        note = " <<" if max(took.cold, p50) > MOST else ""
        note += "" if took.status == 200 else f" answered {took.status}"
        numbers = (took.cold, p50, max(took.warm), took.own, took.server)
        print(f"{path[:52]:<52} {' '.join(f'{each:>8.1f}' for each in numbers)}{note}", flush=True)


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(prog="python -m bench.dashboard")
    parser.add_argument("stores", nargs="*", choices=[*STORES, []], help="all, unless named")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--filled", metavar="URL", help="ask this store, which has so many runs")
    parser.add_argument("--server", metavar="PID", type=int, help="the process of its server")
    given = parser.parse_args()
    if given.filled:
        ask(Place(given.filled, given.server), given.runs)
        return
    for name in given.stores or STORES:
        with STORES[name]() as place:
            began = time.monotonic()
            fill(place.url, given.runs)
            print(f"\n{name}: {given.runs:,} runs, filled in {time.monotonic() - began:.0f} s", flush=True)
            ask(place, given.runs)


if __name__ == "__main__":
    main()
