"""A worker on a Redis Cluster: nodes that die and come back, masters that step down, slots that move. Nobody but the
test may administer."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo.app.app import Talo
from talo.stores.redis.cluster import slot_of
from tests.chaos.kit import (
    HANGS,
    LONG,
    SEED,
    Fleet,
    Judge,
    Storm,
    call,
    check,
    full,
    kill,
    roles,
    send_all,
)
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_unrest import TROUBLES, Trouble
from tests.support import eventually
from tests.workers import client

ENV = {"TALO_WORKER_LEASE": "3"}
SLOT = slot_of("talo")
#: Seconds after the cluster is whole again within which every child has taken up work.
BACK = full(10.0, 30.0)


@pytest.fixture
def app(own_cluster: RedisCluster) -> Iterator[Talo]:
    with client(own_cluster.url) as app:
        yield app


@pytest.mark.promise("B03", "B11")
@pytest.mark.parametrize("fault", TROUBLES, ids=lambda fault: fault.__name__)
@pytest.mark.timeout(HANGS)
def test_nothing_is_lost_and_work_flows_again(
    fault: Trouble,
    own_cluster: RedisCluster,
    app: Talo,
    tmp_path: Path,
) -> None:
    # Given work that flows, with callbacks
    after = app.signature("tests.apps.traced.after")
    count = full(20_000, 1_200)
    ids = send_all(app, [call("nap", 0.005, **({"link": [after]} if n % 20 == 0 else {})) for n in range(count)])
    with Fleet(own_cluster.url, tmp_path, "-c", "2", env=ENV) as fleet:
        eventually(lambda: check(len(fleet.trace.count("end")) > 100), LONG)
        # When the cluster is in trouble, and a child dies besides
        for _ in range(full(10, 1)):
            fault(own_cluster, SLOT)
        kill(roles(app, fleet.last)["child"][SEED % 2])
        back = time.time()
        ids += send_all(app, [call("nap", 0.005) for _ in range(20)])
        # Then all of it ends, once
        judge = Judge(app, fleet.trace, ids)
        judge.wait(LONG)
        judge.nothing_is_left()
    first = min(float(line[3]) for line in fleet.trace.lines() if line[0] == "start" and float(line[3]) > back)
    assert first < back + BACK
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    judge.settled_once(ids[:count:20])


@pytest.mark.promise("D03", "B11")
@pytest.mark.timeout(HANGS)
def test_every_task_ends_while_nodes_and_processes_die(
    own_cluster: RedisCluster,
    app: Talo,
    tmp_path: Path,
) -> None:
    # Given work for a while
    after = app.signature("tests.apps.traced.after")
    count = full(20_000, 1_500)
    ids = send_all(app, [call("nap", 0.005, **({"link": [after]} if n % 20 == 0 else {})) for n in range(count)])
    with Fleet(own_cluster.url, tmp_path, "-c", "2", env=ENV) as fleet:
        judge = Judge(app, fleet.trace, ids)
        troubles: list[str] = []

        # When processes are killed, the master of the slot dies or steps down, and the slot moves, again and again
        def strike(rng: random.Random) -> None:
            fault = rng.choice([None, None, *TROUBLES])
            if fault is None:
                parts = roles(app, fleet.last)
                victims = parts[rng.choice(["child", "agent"])]
                if victims:
                    kill(rng.choice(victims))
            else:
                fault(own_cluster, SLOT)
            troubles.append(fault.__name__ if fault else "kill")

        Storm().until(judge.seem_to_have_ended, strike, every=0.3)
        # Then every task has ended well, and its settlement was applied once
        judge.wait()
        judge.nothing_is_left()
    assert len(troubles) >= 2
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    judge.settled_once(ids[::20])
