"""Database connections in a worker: checked before each task, closed after it, none across a fork, never too many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from talo.app.app import Talo
from tests.chaos.kit import HANGS, full
from tests.django.postgres import Postgres
from tests.django.site import Site
from tests.support import eventually
from tests.workers import client

#: Pool, slots, and the tasks of a round.
POOLS = {
    "processes": (2, ("orders.tasks.note",)),
    "threads": (4, ("orders.tasks.note",)),
    "asyncio": (4, ("orders.tasks.note", "orders.tasks.anote")),
}


def backends(postgres: Postgres, name: str) -> list[int]:
    """Pids of the server's processes for connections to a database."""
    return [row[0] for row in postgres.execute(f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}'")]


def cut(postgres: Postgres, name: str) -> None:
    """End every connection to a database, and wait until the server has."""
    postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


def a_round(app: Talo, names: tuple[str, ...], count: int) -> list[Any]:
    results = app.send_many([(name, (1,)) for _ in range(count) for name in names])
    return [result.get(timeout=60, propagate=False) for result in results]


@pytest.mark.parametrize("pool", list(POOLS))
@pytest.mark.promise("J03")
@pytest.mark.timeout(HANGS)
def test_a_cut_between_tasks_fails_none(tmp_path: Path, postgres: Postgres, pool: str) -> None:
    rounds = full(1000, 10)
    # Given a worker that keeps its connections, of which Django would not check any
    slots, names = POOLS[pool]
    database = postgres.database(CONN_MAX_AGE=None)
    site = Site(tmp_path, databases={"default": database})
    site.migrate()
    app = client(site.broker)
    kept = 0
    with app, site.worker("-P", pool, "-c", str(slots)) as worker:
        for _ in range(rounds):
            # When its tasks have used them and all are cut
            assert a_round(app, names, slots * 2) == [False] * slots * 2 * len(names)
            open_now = len(backends(postgres, database["NAME"]))
            assert open_now <= slots + 1
            kept += open_now
            cut(postgres, database["NAME"])
        # Then no task has failed, though connections had been kept from one task to the next
        assert kept >= rounds
        assert " raised " not in worker.output()
        assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["processes", "asyncio"])
def test_after_a_task_its_connection_is_closed_unless_it_may_be_kept(
    tmp_path: Path, postgres: Postgres, pool: str
) -> None:
    slots, names = POOLS[pool]
    database = postgres.database()
    site = Site(tmp_path, databases={"default": database})
    site.migrate()
    with client(site.broker) as app, site.worker("-P", pool, "-c", str(slots)) as worker:
        a_round(app, names, slots * 2)

        def none_is_open() -> None:
            assert backends(postgres, database["NAME"]) == []

        eventually(none_is_open, timeout=20)
        assert worker.stop() == 0


def test_no_connection_crosses_the_fork(tmp_path: Path, postgres: Postgres) -> None:
    # Given a project that uses its database while the worker starts
    database = postgres.database(CONN_MAX_AGE=None)
    site = Site(tmp_path, databases={"default": database}, settings={"SHOP_QUERY_AT_START": True})
    site.migrate()
    with client(site.broker) as app, site.worker("-c", "2") as worker:
        found = [app.send_task("orders.tasks.backend").get(timeout=30) for _ in range(20)]
        # Then what was open is closed before the fork, and every process has its own
        assert len({backend for backend, _ in found}) == len({pid for _, pid in found})
        assert "Closed 1 database connections: none may cross a fork" in worker.output()
        assert worker.stop() == 0
