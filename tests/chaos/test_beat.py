"""Beats that die while others live, with clocks that are wrong: every tick is sent exactly once."""

from __future__ import annotations

import contextlib
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.beats import TICK, Beat, judged, periodic_app, plans, schedules
from tests.chaos.kit import LONG, SEED, for_seconds, full
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.workers import Worker


def entry(name: str, period: float) -> dict[str, Any]:
    return {"task": TICK, "schedule": period, "args": [name]}


@dataclass
class Project:
    """Where its tasks and its schedules are: in one store, or schedules beside a broker that keeps none."""

    broker: str
    settings: dict[str, Any] = field(default_factory=dict)
    #: One machine has one clock.
    offsets: tuple[float, ...] = (0.0, 0.0, 0.0)

    @property
    def env(self) -> dict[str, str]:
        """The settings, as the environment of a beat says them."""
        values = {name: each if isinstance(each, str) else json.dumps(each) for name, each in self.settings.items()}
        return {f"TALO_{name.upper()}": value for name, value in values.items()}


CLOCKS = (-3.0, 0.0, 3.0)


@pytest.fixture(params=["sqlite", "redis", "rabbit and redis", "sqs and sqlite"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    file = f"sqlite:///{tmp_path}/talo.sqlite3"
    if request.param == "sqlite":
        return Project(file)
    if request.param == "sqs and sqlite":
        options = {
            "region": "us-east-1",
            "endpoint_url": request.getfixturevalue("sqs_endpoint"),
            "queue_name_prefix": f"beat{SEED}-",
            "ledger": str(tmp_path / "ledger.sqlite3"),
            "wait_time_seconds": 1,
        }
        return Project("sqs://key:secret@", {"broker_transport_options": options, "result_backend": file})
    redis = str(request.getfixturevalue("redis_url"))
    if request.param == "redis":
        return Project(redis, offsets=CLOCKS)
    return Project(request.getfixturevalue("rabbit_url"), {"result_backend": redis}, CLOCKS)


@pytest.mark.promise("S01")
@pytest.mark.timeout(7200)
def test_every_tick_is_sent_exactly_once_while_beats_are_killed(project: Project, tmp_path: Path) -> None:
    # Given three beats whose clocks are off by three seconds, and many schedules
    rng = random.Random(SEED)
    periods = {f"e{n}": round(0.7 + n / 10, 1) for n in range(full(100, 24))}
    entries = {name: entry(name, period) for name, period in periods.items()}
    with contextlib.ExitStack() as stack:
        beats = [
            stack.enter_context(
                Beat(project.broker, tmp_path, entries, name=f"beat{n}", offset=offset, env=project.env)
            )
            for n, offset in enumerate(project.offsets)
        ]
        for beat in beats:
            beat.wait_ready()
        # When one of them is killed every now and then
        for _ in range(full(360, 4)):
            for_seconds(rng.uniform(1.5, 2.5) if full(0, 1) else 10)
            victim = rng.choice(beats)
            victim.kill()
            victim.start()
        for_seconds(2)
        for beat in beats:
            beat.kill()
    with periodic_app(project.broker, **project.settings) as app:
        total = sum(plan.total for plan in plans(app).values())
        worker = Worker(project.broker, tmp_path, "-c", "2", app="tests.apps.periodic", env=project.env)

        def all_ran() -> None:
            # Who reads on carries what beats that died have left between two stores.
            schedules(app).read("periodic", 1)
            assert len(worker.trace.count("start")) >= total

        with worker:
            eventually(all_ran, LONG, 0.2)
            assert worker.stop() == 0
        # Then every due time is in the ledger once and less than five seconds late, and has run once
        assert set(worker.trace.count("start").values()) == {1}
        ran = [(line[4], line[1]) for line in worker.trace.lines()]
        for name, period in periods.items():
            ledger = judged(app, name, period)
            assert {run.fate for run in ledger} == {"ran"}, (name, ledger)
            assert max(run.at - run.due for run in ledger) < 5
            assert {(name, run.task_id) for run in ledger} <= set(ran)
            assert sum(of == name for of, _ in ran) == plans(app)[name].total


@pytest.mark.promise("S01")
def test_a_lone_beat_that_lost_its_store_sends_again(own_redis: RedisServer, tmp_path: Path) -> None:
    # Given a lone beat whose store goes away
    url = own_redis.url
    with periodic_app(url) as app, Beat(url, tmp_path, {"a": entry("a", 0.5)}) as beat:
        beat.wait_ready()

        def has_sent(count: int) -> None:
            assert plans(app)["a"].total >= count

        eventually(lambda: has_sent(2))
        own_redis.kill()
        eventually(lambda: check("The store is away" in beat.output()))
        own_redis.start()
        # When it is back, then ticks are sent again, soon
        with periodic_app(url) as fresh:
            before = plans(fresh).get("a")
            eventually(lambda: check(plans(fresh)["a"].total > (before.total if before else 0)), timeout=10)
        assert "The store is back" in beat.output()


def check(fact: object) -> None:
    assert fact
