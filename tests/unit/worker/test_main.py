"""What is refused before anything is forked."""

from __future__ import annotations

from pathlib import Path

import pytest

from talo.app.app import Talo
from talo.errors import ImproperlyConfigured, StoreUnavailable
from talo.util.cpu import available_cpus
from talo.worker.main import run_worker
from talo.worker.plan import node_name, plan_worker
from talo.worker.starters import Spawning


@pytest.fixture
def app() -> Talo:
    return Talo("main", broker="memory://main", set_as_current=False)


def test_a_store_that_lives_in_one_process_is_refused(app: Talo) -> None:
    with pytest.raises(ImproperlyConfigured, match="has several"):
        run_worker(app, quiet=True)


def test_a_store_that_is_away_is_told_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    app = Talo("main", broker="redis://127.0.0.1:1/0", set_as_current=False)
    with pytest.raises(StoreUnavailable):
        run_worker(app)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pool": "gevent"}, "processes, solo, threads"),
        ({"concurrency": -1}, "at least 1"),
        ({"time_limit": 1.0, "soft_time_limit": 2.0}, "longer than the hard one"),
        ({"start_method": "forkserver"}, "auto, fork or spawn"),
        ({"exclude_queues": "celery"}, "no queue is left"),
        ({"max_memory_per_child": 10}, "replaced for ever"),
        ({"children": 2, "concurrency": 2}, "say --concurrency"),
        ({"pool": "threads", "children": 3, "concurrency": 2}, "cannot share"),
    ],
)
def test_what_cannot_work_is_refused_with_the_mend(app: Talo, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        plan_worker(app, **arguments)  # type: ignore[arg-type]


def test_a_spawned_worker_needs_an_app_that_can_be_imported(app: Talo) -> None:
    with pytest.raises(ImproperlyConfigured, match="can be imported"):
        Spawning(app, plan_worker(app, start_method="spawn", concurrency=1))


def test_a_solo_worker_runs_one_task_at_a_time(app: Talo) -> None:
    options = plan_worker(app, pool="solo", concurrency=8)
    assert (options.concurrency, options.processes, options.slots) == (1, 1, 1)


@pytest.mark.parametrize(
    ("pool", "processes", "slots"), [("prefork", 3, 1), ("processes", 3, 1), ("threads", 1, 3), ("asyncio", 1, 3)]
)
def test_a_pool_is_processes_times_slots(app: Talo, pool: str, processes: int, slots: int) -> None:
    options = plan_worker(app, pool=pool, concurrency=3)
    assert (options.processes, options.slots) == (processes, slots)


def test_slots_spread_over_children(app: Talo) -> None:
    options = plan_worker(app, pool="asyncio", concurrency=100, children=3)
    assert (options.processes, options.slots) == (3, 34)


def test_node_names_expand_as_celery_s() -> None:
    assert node_name(None).startswith("celery@")
    assert "@" in node_name("only")
    assert node_name("a%%b@x") == "a%b@x"
    assert node_name("w@%n").removeprefix("w@") == node_name("w@%h").removeprefix("w@").partition(".")[0]


@pytest.mark.promise("P07")
@pytest.mark.parametrize(("text", "cpus"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", None)])
def test_a_quota_of_the_control_group_counts(tmp_path: Path, text: str, cpus: int | None) -> None:
    without = available_cpus(tmp_path)
    (tmp_path / "cpu.max").write_text(text)
    assert available_cpus(tmp_path) == (without if cpus is None else min(cpus, without))
