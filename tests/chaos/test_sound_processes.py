"""Children that live for ten tasks, are killed every second, and are forked beside threads that hold locks: there is
always another one, at once. And children of a parent whose forks could not use the graphics processor."""

from __future__ import annotations

import random
import shutil
from functools import partial
from pathlib import Path

import msgspec
import pytest

from talo.worker.starts import BUDGET
from tests.chaos.idleness import Idleness, beats
from tests.chaos.kit import HANGS, LONG, SEED, SOAK, Judge, Storm, call, check, full, kill, roles, send_all
from tests.places import STORES, Place, a_place  # noqa: F401  fixture
from tests.support import eventually
from tests.workers import Worker, client

#: The promised numbers in a soak, which takes as long as these tasks do: twelve hours.
TASKS, SECONDS, EVERY = full((1_000_000, (0.0, 0.08), 1.0), (120, (0.0, 0.03), 0.4))
#: Beats in which a slot may do nothing while work is ready: five seconds of a machine that does nothing else.
IDLE = beats(5.0)


@pytest.mark.promise("D12")
@pytest.mark.parametrize("place", STORES, indirect=True)
@pytest.mark.timeout(full(60_000, HANGS))
def test_a_slot_is_filled_again_however_its_process_ends(place: Place, tmp_path: Path) -> None:
    # Given work for one slot, in a project whose threads hold locks whenever a child is forked
    rng = random.Random(SEED)
    with place.client() as app:
        ids = send_all(app, [call("burn", rng.uniform(*SECONDS)) for _ in range(TASKS)])
        # Where the broker charges for each dead process, a task that is hit several times is no poison
        env = {"TALO_TASK_MAX_DELIVERIES": "1000"}
        if place.broker.startswith("sqs") and not SOAK:
            # What SQS hides from everybody because of a dead process, it hides for so long
            env["TALO_WORKER_LEASE"] = "5"
        words = ("-c", "1", "--max-tasks-per-child", "10", "--start-method", "fork")
        with place.worker(*words, app="tests.apps.threaded", env=env) as worker:
            judge = Judge(app, worker.trace, ids)

            # When its child is replaced after ten tasks, and killed every second
            def strike(_rng: random.Random) -> None:
                for pid in worker.children():
                    kill(pid)

            with Idleness(app, worker.trace.path) as idleness:
                over = lambda: idleness.longest >= IDLE or judge.all_have_ended()  # noqa: E731
                ended = partial(worker.trace.number, "end")
                strikes = Storm().until(over, strike, EVERY, progress=ended, abates=1.0)
            # Then there was always somebody to run the next task, and every task has ended well
            assert idleness.longest < IDLE
        assert judge.states() == {"SUCCESS": TASKS}
        assert strikes >= 3
        assert len({line[2] for line in worker.trace.lines() if line[0] == "start"}) >= TASKS // 10


def test_idle_children_that_somebody_kills_are_replaced_however_often(tmp_path: Path) -> None:
    # Given an idle worker
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    with client(broker) as app, Worker(broker, tmp_path, "-c", "1") as worker:
        killed: set[int] = set()
        # When its child is killed as soon as it is ready, more often than children may fail at their start
        for _ in range(BUDGET + 2):
            child = eventually(lambda: only(roles(app, worker)["child"], killed), LONG)
            killed.add(child)
            kill(child)
        # Then there is always another one
        assert app.send_task("tests.apps.traced.add", (1, 2)).get(timeout=LONG) == 3
        assert "giving up" not in worker.output()


def test_agents_that_somebody_kills_are_replaced_however_often(tmp_path: Path) -> None:
    # Given a worker whose agent is killed as soon as it renews leases, more often than agents may fail at their start
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    with client(broker) as app, Worker(broker, tmp_path, "-c", "1") as worker:
        killed: set[int] = set()
        for _ in range(BUDGET + 2):
            agent = eventually(lambda: only(roles(app, worker)["agent"], killed), LONG)
            killed.add(agent)
            kill(agent)
        # Then there is always another one, which buries
        kill(eventually(lambda: only(roles(app, worker)["child"], set()), LONG))
        assert app.send_task("tests.apps.traced.add", (1, 2)).get(timeout=LONG) == 3
        assert "giving up" not in worker.output()


def only(pids: list[int], without: set[int]) -> int:
    """The one that is left."""
    left = set(pids) - without
    check(len(left) == 1)
    return left.pop()


def on_gpu(tmp: Path, at: str, *words: str) -> Worker:
    """A worker of a project that initialises a stand-in for CUDA, ``at`` its import or in its tasks."""
    device = tmp / "dev" / "nvidia0"
    device.parent.mkdir()
    device.touch()
    # Any library does, if it has the name.
    library = shutil.copy(str(msgspec._core.__file__), tmp / "libcuda.so.1")
    env = {"LIBCUDA": str(library), "DEVICE": str(device), "CUDA_AT": at}
    words = words if "--start-method" in words else (*words, "--start-method", "auto")
    return Worker(f"sqlite:///{tmp}/talo.sqlite3", tmp, "-c", "2", *words, app="tests.apps.on_gpu", env=env)


@pytest.mark.promise("D12")
@pytest.mark.parametrize("pool", ["processes", "threads", "asyncio", "solo"])
def test_a_task_may_use_what_does_not_survive_a_fork_although_it_was_initialised_at_import(
    pool: str, tmp_path: Path
) -> None:
    """CUDA itself needs a graphics processor; what is proven here is proven with a stand-in that the kernel shows in
    the same way, and that refuses in the same way."""
    # Given an app whose import has initialised CUDA
    with on_gpu(tmp_path, "import", "-P", pool) as worker, client(f"sqlite:///{tmp_path}/talo.sqlite3") as app:
        # When its tasks use it, Then it works, in processes that are no forks, and one line says why
        number, command = app.send_task("tests.apps.on_gpu.double", (21,)).get(timeout=LONG)
        assert (number, "talo.worker.spawned_child" in command) == (42, True)
        assert worker.output().count("CUDA is initialised where the app is imported") == 1
        # And so it is in the process that takes the place of another
        for child in worker.children():
            kill(child)
        number, _ = app.send_task("tests.apps.on_gpu.double", (4,)).get(timeout=LONG)
        assert number == 8
        assert worker.stop() == 0


@pytest.mark.promise("D12")
def test_a_task_may_initialise_it_in_a_forked_process(tmp_path: Path) -> None:
    with on_gpu(tmp_path, "task") as worker, client(f"sqlite:///{tmp_path}/talo.sqlite3") as app:
        number, command = app.send_task("tests.apps.on_gpu.double", (21,)).get(timeout=LONG)
        assert (number, "talo.worker.spawned_child" in command) == (42, False)
        assert "CUDA" not in worker.output()


def test_who_asks_for_forks_is_told_what_they_cannot_do(tmp_path: Path) -> None:
    words = ("--start-method", "fork")
    with on_gpu(tmp_path, "import", *words) as worker, client(f"sqlite:///{tmp_path}/talo.sqlite3") as app:
        with pytest.raises(RuntimeError, match="forked subprocess"):
            app.send_task("tests.apps.on_gpu.double", (21,)).get(timeout=LONG)
        assert "initialise it in a task or in worker_process_init" in worker.output()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_ends_although_a_thread_of_the_app_does_not(method: str, tmp_path: Path) -> None:
    # Given a project with a thread that Python would wait for
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    words = ("-c", "1", "--max-tasks-per-child", "1", "--start-method", method)
    with Worker(broker, tmp_path, *words, app="tests.apps.lingering"), client(broker) as app:
        # When each process is replaced after its task, Then the next task is run all the same
        for number in range(3):
            assert app.send_task("tests.apps.traced.add", (number, 1)).get(timeout=LONG) == number + 1
