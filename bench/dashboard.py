"""The dashboard with a million runs: how long each page takes, cold and warm, on each store that keeps history.

Apart from the other measures, because it needs no workers: ``python -m bench.dashboard [--runs N] [STORE ...]`` fills a
store of its own (``tests.web.past``), asks what a browser asks, and prints milliseconds. *Cold* is the first question
to a new dashboard on a new connection; p50 and max are of the next ones, cpu is what this process took for one of them.
``--filled URL`` asks a store that was filled before.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.web import past
from tests.web.support import Client, dashboard_of, shop

from talo import Talo
from talo.stores.history import RunQuery

#: Questions of each page after the first.
WARM = 10
#: Milliseconds that a page may take; what takes longer is marked.
MOST = 300
#: Counted only, in each of the last minutes, beside the runs that are kept.
BUSY_MINUTES, PER_MINUTE = 360, 400


@contextmanager
def sqlite() -> Iterator[str]:
    """A file."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/talo.sqlite3"


@contextmanager
def redis() -> Iterator[str]:
    """A server in memory."""
    with RedisServer() as server:
        yield server.url


@contextmanager
def postgres() -> Iterator[str]:
    """A server with its default durability."""
    with PostgresServer(fsync="on") as server:
        server.run("CREATE DATABASE past")
        yield server.url_of("past")


@contextmanager
def mariadb() -> Iterator[str]:
    """A server with its default durability."""
    with MariadbServer() as server:
        yield server.url


STORES: dict[str, Callable[[], AbstractContextManager[str]]] = {
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


async def measure(app: Talo, url: str) -> tuple[float, list[float], float, int]:
    """Ask a new dashboard one thing again and again: the first answer, the next ones, the processor, the status."""
    async with Client(dashboard_of(app)) as client:
        took = []
        busy = 0.0
        for number in range(1 + WARM):
            if number == 1:
                busy = time.process_time()
            began = time.perf_counter()
            answer = await client.page(url)
            took.append((time.perf_counter() - began) * 1000)
    return took[0], took[1:], (time.process_time() - busy) * 1000 / WARM, answer.status_code


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


def ask(url: str, runs: int) -> None:
    """Print what the pages of a filled store take."""
    app = shop(url)
    asked = questions(app, runs)
    app.close()
    print(f"{'ms':<52} {'cold':>8} {'p50':>8} {'max':>8} {'cpu':>8}")
    for path in asked:
        fresh = shop(url)
        cold, warm, busy, status = asyncio.run(measure(fresh, path))
        fresh.close()
        p50 = statistics.median(warm)
        note = " <<" if max(cold, p50) > MOST else ""
        note += "" if status == 200 else f" answered {status}"
        print(f"{path[:52]:<52} {cold:>8.0f} {p50:>8.0f} {max(warm):>8.0f} {busy:>8.1f}{note}", flush=True)


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(prog="python -m bench.dashboard")
    parser.add_argument("stores", nargs="*", choices=[*STORES, []], help="all, unless named")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--filled", metavar="URL", help="ask this store, which has so many runs")
    given = parser.parse_args()
    if given.filled:
        ask(given.filled, given.runs)
        return
    for name in given.stores or STORES:
        with STORES[name]() as url:
            began = time.monotonic()
            fill(url, given.runs)
            print(f"\n{name}: {given.runs:,} runs, filled in {time.monotonic() - began:.0f} s", flush=True)
            ask(url, given.runs)


if __name__ == "__main__":
    main()
