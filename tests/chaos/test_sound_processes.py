"""Children that live for ten tasks, are killed every second, and are forked beside threads that hold locks: there is
always another one, at once. And children of a parent whose forks could not use the graphics processor."""

from __future__ import annotations

import itertools
import random
import shutil
from pathlib import Path

import msgspec
import pytest

from tests.chaos.kit import HANGS, LONG, SEED, Judge, Storm, call, full, kill, send_all
from tests.places import STORES, Place, a_place  # noqa: F401  fixture
from tests.workers import Worker, client

#: The promised numbers in a soak, which takes as long as these tasks do: twelve hours.
TASKS, SECONDS = full((1_000_000, (0.0, 0.08)), (400, (0.0, 0.04)))
#: The longest time for which a slot may start nothing; a machine that does other things besides takes more.
IDLE = full(5.0, 25.0)


@pytest.mark.parametrize("place", full(STORES, ("sqlite", "redis_url")), indirect=True)
@pytest.mark.timeout(full(60_000, HANGS))
def test_a_slot_is_filled_again_however_its_process_ends(place: Place, tmp_path: Path) -> None:
    # Given work for one slot, in a project whose threads hold locks whenever a child is forked
    rng = random.Random(SEED)
    with place.client() as app:
        ids = send_all(app, [call("burn", rng.uniform(*SECONDS)) for _ in range(TASKS)])
        # Where the broker charges for each dead process, a task that is hit several times is no poison
        env = {"TALO_TASK_MAX_DELIVERIES": "1000"}
        words = ("-c", "1", "--max-tasks-per-child", "10")
        with place.worker(*words, app="tests.apps.threaded", env=env) as worker:
            judge = Judge(app, worker.trace, ids)

            # When its child is replaced after ten tasks, and killed every second
            def strike(_rng: random.Random) -> None:
                for pid in worker.children():
                    kill(pid)

            strikes = Storm().until(judge.all_have_ended, strike, every=1.0)
            judge.wait()
        # Then every task has ended well, and something started all the time
        assert judge.states() == {"SUCCESS": TASKS}
        assert strikes >= 3
        starts = [line for line in worker.trace.lines() if line[0] == "start"]
        begun = sorted(float(line[3]) for line in starts)
        assert max(later - earlier for earlier, later in itertools.pairwise(begun)) < IDLE
        assert len({line[2] for line in starts}) >= TASKS // 10


def on_gpu(tmp: Path, at: str, *words: str) -> Worker:
    """A worker of a project that initialises a stand-in for CUDA, ``at`` its import or in its tasks."""
    device = tmp / "dev" / "nvidia0"
    device.parent.mkdir()
    device.touch()
    # Any library does, if it has the name.
    library = shutil.copy(str(msgspec._core.__file__), tmp / "libcuda.so.1")
    env = {"LIBCUDA": str(library), "DEVICE": str(device), "CUDA_AT": at}
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


@pytest.mark.promise("C09", "D12")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_ends_although_a_thread_of_the_app_does_not(method: str, tmp_path: Path) -> None:
    # Given a project with a thread that Python would wait for
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    words = ("-c", "1", "--max-tasks-per-child", "1", "--start-method", method)
    with Worker(broker, tmp_path, *words, app="tests.apps.lingering"), client(broker) as app:
        # When each process is replaced after its task, Then the next task is run all the same
        for number in range(3):
            assert app.send_task("tests.apps.traced.add", (number, 1)).get(timeout=LONG) == number + 1
