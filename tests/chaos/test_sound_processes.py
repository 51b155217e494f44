"""Children that live for ten tasks, are killed every second, and are forked beside threads that hold locks: there is
always another one, at once."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from tests.chaos.kit import HANGS, SEED, Judge, Storm, call, full, kill, send_all
from tests.places import STORES, Place, a_place  # noqa: F401  fixture

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
