"""A Redis at its limits, under a worker: no memory left, turned into a replica, restarted again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from talo.app.app import Talo
from talo.errors import OperationalError, PublishTimeout, StoreFull
from tests.chaos.kit import HANGS, LONG, Fleet, Judge, call, check, for_seconds, full, send_all
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.workers import Worker, client

ENV = {"TALO_WORKER_LEASE": "3", "TALO_STORE_TIMEOUT": "2"}
#: The promise: at work again so soon after relief.
BACK = 10.0


@pytest.fixture
def app(own_redis: RedisServer) -> Iterator[Talo]:
    with client(own_redis.url, task_publish_retry=False) as app:
        yield app


def no_memory(server: RedisServer) -> Callable[[], object]:
    server.command("CONFIG", "SET", "maxmemory", "1")
    return lambda: server.command("CONFIG", "SET", "maxmemory", "0")


def read_only(server: RedisServer) -> Callable[[], object]:
    server.command("REPLICAOF", "127.0.0.1", "1")
    return lambda: server.command("REPLICAOF", "NO", "ONE")


@pytest.mark.promise("B13")
@pytest.mark.parametrize(
    ("limit", "error"),
    [
        (no_memory, StoreFull),
        # In a cluster a replica says where its master is, and is followed there.
        pytest.param(read_only, PublishTimeout, marks=pytest.mark.one_server),
    ],
)
@pytest.mark.timeout(HANGS)
def test_at_its_limit_sends_fail_by_type_and_work_resumes_after_relief(
    limit: Callable[[RedisServer], Callable[[], object]],
    error: type[OperationalError],
    own_redis: RedisServer,
    app: Talo,
    tmp_path: Path,
) -> None:
    # Given work that flows
    ids = send_all(app, [call("nap", 0.005) for _ in range(full(20_000, 800))])
    with Fleet(own_redis.url, tmp_path, "-c", "2", env=ENV) as fleet:
        eventually(lambda: check(len(fleet.trace.count("end")) > 50), LONG)
        # When the server takes no more
        relieve = limit(own_redis)
        # Then a send says why
        with pytest.raises(error):
            send_all(app, [call("nap", 0.0)])
        for_seconds(2.0)
        # And after relief everything that was confirmed runs, soon, and once
        relieve()
        back = time.time()
        ids += send_all(app, [call("nap", 0.0)])
        judge = Judge(app, fleet.trace, ids)
        judge.wait()
        judge.nothing_is_left()
    assert (
        min(float(line[3]) for line in fleet.trace.lines() if line[0] == "end" and float(line[3]) > back) < back + BACK
    )
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    assert judge.repeated() == set()


def confirmed(app: Talo) -> list[str]:
    """Send one; what the server did not answer does not count."""
    try:
        return send_all(app, [call("nap", 0.0)])
    except OperationalError as error:
        raise AssertionError from error


@pytest.mark.promise("B03")
@pytest.mark.timeout(HANGS)
def test_a_server_that_restarts_again_and_again_loses_nothing(
    own_redis: RedisServer, app: Talo, tmp_path: Path
) -> None:
    # Given work for a while, and somebody who sends
    ids = send_all(app, [call("nap", 0.005) for _ in range(full(20_000, 1_000))])
    restarts = full(200, 8)
    with Fleet(own_redis.url, tmp_path, "-c", "2", env=ENV) as fleet:
        for n in range(restarts):
            for_seconds(0.2)
            if n % 2:
                own_redis.kill()
                own_redis.start()
            else:
                own_redis.restart()
            # What a send has answered is there, whatever comes next
            ids += eventually(lambda: confirmed(app), LONG)
        judge = Judge(app, fleet.trace, ids)
        judge.wait()
        judge.nothing_is_left()
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    assert judge.repeated_without_cause() == set()


@pytest.mark.promise("B07")
def test_a_server_that_may_lose_tasks_is_named_at_start(tmp_path: Path) -> None:
    with RedisServer(maxmemory="100mb", maxmemory_policy="allkeys-lru") as server:
        with Worker(server.url, tmp_path, "-c", "1") as worker:
            said = worker.output()
    assert "set maxmemory-policy to noeviction" in said
    assert "set appendonly to yes" in said
