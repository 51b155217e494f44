"""Beats that die while others live, with clocks that are wrong: every tick is sent exactly once."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

from tests.beats import TICK, Beat, judged, periodic_app, plans, sent_names
from tests.chaos.kit import SEED, for_seconds, full
from tests.servers.redis import RedisServer, own_redis  # noqa: F401  fixture
from tests.support import eventually


def entry(name: str, period: float) -> dict[str, Any]:
    return {"task": TICK, "schedule": period, "args": [name]}


@pytest.mark.promise("S01")
@pytest.mark.timeout(7200)
def test_every_tick_is_sent_exactly_once_while_beats_are_killed(broker: str, tmp_path: Path) -> None:
    # Given three beats whose clocks are off by three seconds, and many schedules
    rng = random.Random(SEED)
    periods = {f"e{n}": round(0.7 + n / 10, 1) for n in range(full(100, 24))}
    entries = {name: entry(name, period) for name, period in periods.items()}
    offsets = [-3.0, 0.0, 3.0] if broker.startswith("redis") else [0.0, 0.0, 0.0]  # one machine has one clock
    with contextlib.ExitStack() as stack:
        beats = [
            stack.enter_context(Beat(broker, tmp_path, entries, name=f"beat{n}", offset=offset))
            for n, offset in enumerate(offsets)
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
    # Then every due time is in the ledger once, sent, and less than five seconds late
    with periodic_app(broker) as app:
        messages = sent_names(app)
        assert len({task_id for _, task_id in messages}) == len(messages)
        by_name = {name: {task_id for of, task_id in messages if of == name} for name in periods}
        for name, period in periods.items():
            ledger = judged(app, name, period)
            assert {run.fate for run in ledger} == {"ran"}, (name, ledger)
            assert max(run.at - run.due for run in ledger) < 5
            kept = {run.task_id for run in ledger}
            assert kept <= by_name[name]
            assert len(by_name[name]) == plans(app)[name].total


@pytest.mark.promise("S01")
def test_a_lone_beat_that_lost_its_store_sends_again(own_redis: RedisServer, tmp_path: Path) -> None:  # noqa: F811
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
