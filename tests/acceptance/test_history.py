"""History with real workers: it outlives them, nothing is missing from it, and a large one is searched quickly."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from talo.stores.history import History, RunQuery, RunRecord
from tests.support import eventually
from tests.workers import Worker, client

#: A busy machine may need as long.
LONG = 120.0


def kept(app: Any) -> History:
    assert app.store.history is not None
    history: History = app.store.history
    return history


def counted(history: History) -> Counter[tuple[str, str]]:
    sums: Counter[tuple[str, str]] = Counter()
    for each in history.counters(time.time() - 7200, time.time() + 60, 3600):
        sums[each.name.rpartition(".")[2], each.state] += each.count
    return sums


def test_history_outlives_workers_and_misses_nothing(place: str, tmp_path: Path) -> None:
    # Given a worker that has run tasks of every end, one of which kills its process, and is gone
    traced = "tests.apps.traced."
    with client(place) as app, Worker(place, tmp_path, "-c", "2", env={"TALO_HISTORY": "all"}) as worker:
        app.send_many([(f"{traced}add", (n, n)) for n in range(300)])
        failed = app.send_many([(f"{traced}fails", (str(n),)) for n in range(20)])
        stubborn = app.send_task(f"{traced}stubborn")
        poisoned = app.send_task(f"{traced}poison")
        expected = Counter(
            {
                ("add", "SUCCESS"): 300,
                ("fails", "FAILURE"): 20,
                ("stubborn", "RETRY"): 2,
                ("stubborn", "FAILURE"): 1,
                ("poison", "LOST"): 2,
                ("poison", "FAILURE"): 1,
            }
        )

        def all_ended() -> None:
            assert counted(kept(app)) == expected

        eventually(all_ended, timeout=LONG, interval=0.2)
        worker.stop()
    # When somebody else looks
    with client(place) as app:
        history = kept(app)
        # Then every end is there, once
        assert counted(history) == expected
        assert history.count(RunQuery()) == {"SUCCESS": 300, "FAILURE": 22, "RETRY": 2, "LOST": 2}
        assert [run.state for run in history.attempts(stubborn.id)] == ["RETRY", "RETRY", "FAILURE"]
        lost, again, dead = history.attempts(poisoned.id)
        assert (lost.state, again.state, dead.state, dead.dead) == ("LOST", "LOST", "FAILURE", "worker_lost")
        [run] = history.attempts(failed[7].id)
        assert (run.args, run.worker, run.error) == ("('7',)", "w@test", "ValueError: 7")
        assert run.traceback is not None and "raise ValueError(text)" in run.traceback
        assert {each.name.rpartition(".")[2]: each.count for each in history.failures(0, 10)}["fails"] == 20


def _fill(history: History, runs: int) -> None:
    chance = random.Random(1)
    now = time.time()
    for start in range(0, runs, 5000):
        records = []
        for number in range(start, min(runs, start + 5000)):
            bad = chance.random() < 0.02
            records.append(
                RunRecord(
                    id=f"{number:036d}",
                    name=f"app.tasks.t{chance.randrange(50)}",
                    queue=f"q{chance.randrange(10)}",
                    worker=f"w{chance.randrange(20)}@host",
                    state="FAILURE" if bad else "SUCCESS",
                    ended=now - 86_400 + number * 86_400 / runs,
                    seconds=0.01,
                    keep=2 * 86_400.0,
                    error=f"ValueError: bad {number}" if bad else None,
                    fingerprint=f"f{number % 40}" if bad else None,
                    args="(1, 2, 'abc')",
                )
            )
        history.record(records)


@pytest.mark.parametrize(
    "size",
    [20_000, pytest.param(1_000_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])],
    ids=["some", "million"],
)
def test_a_large_history_is_searched(place: str, size: int) -> None:
    with client(place) as app:
        history = kept(app)
        history.forget(RunQuery())
        _fill(history, size)
        now = time.time()
        one = {"name": "app.tasks.t3", "worker": "w1@host", "queue": "q2"}
        searches: dict[str, Callable[[], Any]] = {
            "latest": lambda: history.runs(RunQuery(), 50),
            "one task": lambda: history.runs(RunQuery(name="app.tasks.t3"), 50),
            "one task's failures": lambda: history.runs(RunQuery(name="app.tasks.t3", states=["FAILURE"]), 50),
            "three filters": lambda: history.runs(RunQuery(**one), 50),
            "nothing fits": lambda: history.runs(RunQuery(worker="w1@host", states=["REVOKED"]), 50),
            "text": lambda: history.runs(RunQuery(text="bad 777"), 50),
            "time": lambda: history.runs(RunQuery(since=now - 50_000, until=now - 40_000), 50),
            "id": lambda: history.attempts(f"{size // 2:036d}"),
            "count": lambda: history.count(RunQuery()),
            "count of three filters": lambda: history.count(RunQuery(**one)),
            "failures": lambda: history.failures(0, 50),
        }
        took = {}
        for name, search in searches.items():
            began = time.perf_counter()
            search()
            took[name] = time.perf_counter() - began
        assert len(history.attempts(f"{size // 2:036d}")) == 1
        assert sum(history.count(RunQuery()).values()) == size
        assert 0 < sum(history.count(RunQuery(name="app.tasks.t3")).values()) < size / 40
        assert len(history.failures(0, 50)) == 40
        # Time is a promise about the reference machine: measured in the soak run, not while others compete for it.
        if os.environ.get("TALO_SOAK"):
            assert max(took.values()) < 1.0, took
