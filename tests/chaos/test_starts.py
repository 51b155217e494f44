"""Children that fail at their start, stand still in it or in their end, or take long; and a system that has no process
for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from talo.worker.starts import BUDGET
from tests.chaos.kit import LONG, check, kill, roles, stopped
from tests.support import eventually
from tests.workers import Worker, client


def faltering(tmp: Path, ways: str, *words: str, patience: float = 60.0) -> Worker:
    """A worker of one child at a time, which starts in these ways (see ``tests.apps.faltering``)."""
    env = {
        "FALTERS": ways,
        "STARTS": str(tmp / "starts"),
        "TALO_WORKER_PROC_ALIVE_TIMEOUT": str(patience),
    }
    return Worker(f"sqlite:///{tmp}/talo.sqlite3", tmp, "-c", "1", *words, app="tests.apps.faltering", env=env)


def starts(tmp: Path) -> int:
    """How many there have been."""
    file = tmp / "starts"
    return file.stat().st_size if file.exists() else 0


def test_starts_that_fail_now_and_then_are_no_reason_to_give_up(tmp_path: Path) -> None:
    # Given a worker of which every other child dies at its start, and the others run one task each
    times = BUDGET + 2
    ways = "exit:3 well " * times
    with (
        client(f"sqlite:///{tmp_path}/talo.sqlite3") as app,
        faltering(tmp_path, ways, "--max-tasks-per-child", "1") as worker,
    ):
        # Then it runs them all, with more failures than may come in a row
        sent = [app.send_task("tests.apps.traced.add", (n, 1)) for n in range(times)]
        assert [result.get(timeout=LONG) for result in sent] == [n + 1 for n in range(times)]
        assert "giving up" not in worker.output()
    assert starts(tmp_path) >= 2 * times


@pytest.mark.parametrize("code", [0, 3])
def test_who_never_starts_ends_the_worker(code: int, tmp_path: Path) -> None:
    # When every child ends at its start, in whatever way
    worker = faltering(tmp_path, f"exit:{code}").start(ready=False)
    # Then the worker does not go on for ever
    try:
        assert worker.wait(LONG) == 1
    finally:
        worker.destroy()
    assert f"Children die as soon as they start (last: exit code {code}); giving up" in worker.output()
    assert starts(tmp_path) == BUDGET


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_who_stands_still_in_its_start_is_replaced(method: str, tmp_path: Path) -> None:
    # Given children that do not come up, as one does that waits for a lock which nobody holds any more
    ways = "nap:3600 nap:3600 well"
    with (
        client(f"sqlite:///{tmp_path}/talo.sqlite3") as app,
        faltering(tmp_path, ways, "--start-method", method, patience=0.5) as worker,
    ):
        # Then there is one in the end that does
        assert app.send_task("tests.apps.traced.add", (1, 2)).get(timeout=LONG) == 3
        assert "has not started within 0.5 s; replacing it" in worker.output()
        assert worker.stop(LONG) == 0


def test_who_takes_long_to_start_gets_the_time_in_the_end(tmp_path: Path) -> None:
    # Given children that take far longer to start than they may
    with (
        client(f"sqlite:///{tmp_path}/talo.sqlite3") as app,
        faltering(tmp_path, "nap:2", "--max-tasks-per-child", "1", patience=0.1) as worker,
    ):
        # Then one comes up, and so do those after it
        for n in range(3):
            assert app.send_task("tests.apps.traced.add", (n, 2)).get(timeout=LONG) == n + 2
        assert worker.output().count("replacing it") >= 3


def test_a_worker_can_be_stopped_while_a_child_stands_still_in_its_start(tmp_path: Path) -> None:
    with faltering(tmp_path, "nap:3600", patience=1.0) as worker:
        eventually(lambda: check(starts(tmp_path)), LONG)
        assert worker.stop(LONG) == 0


def test_the_slot_of_one_that_stands_still_in_its_end_is_filled(tmp_path: Path) -> None:
    # Given a child that has run its tasks and does not end
    with (
        client(f"sqlite:///{tmp_path}/talo.sqlite3") as app,
        faltering(tmp_path, "stay:3600 well", "--max-tasks-per-child", "1", patience=1.0) as worker,
    ):
        # Then another one takes its place
        for n in range(2):
            assert app.send_task("tests.apps.traced.add", (n, 1)).get(timeout=LONG) == n + 1
        # And it is not waited for, either when the worker ends
        eventually(lambda: check("has run its tasks and does not end; killing it" in worker.output()), LONG)
        assert worker.stop(LONG) == 0


def test_an_agent_and_children_that_die_at_the_same_moment_are_replaced(tmp_path: Path) -> None:
    # Given a worker whose first process looks away while all others die
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    with client(broker) as app, Worker(broker, tmp_path, "-c", "2") as worker:
        for round_ in range(3):
            pids = eventually(lambda: complete(roles(app, worker)), LONG)
            with stopped([worker.pid]):
                for pid in pids:
                    kill(pid)
            # Then it goes on
            assert app.send_task("tests.apps.traced.add", (round_, 2)).get(timeout=LONG) == round_ + 2
        assert worker.stop(LONG) == 0


def complete(found: dict[str, list[int]]) -> list[int]:
    """The agent and both children."""
    check([len(found[role]) for role in ("agent", "child")] == [1, 2])
    return found["agent"] + found["child"]


@pytest.mark.parametrize("who", ["child", "agent"])
def test_who_cannot_be_started_now_is_started_later(who: str, tmp_path: Path) -> None:
    # Given a system that has no more processes for a while, when a child or an agent has to be replaced
    broker, limit = f"sqlite:///{tmp_path}/talo.sqlite3", tmp_path / "limit"
    env, words = {"LIMIT": str(limit)}, ("-c", "1", "--start-method", "fork")
    with client(broker) as app, Worker(broker, tmp_path, *words, app="tests.apps.crowded", env=env) as worker:
        [pid] = eventually(lambda: one_of(roles(app, worker)[who]), LONG)
        limit.touch()
        kill(pid)
        eventually(lambda: check("No process can be started" in worker.output()), LONG)
        limit.unlink()
        # Then it is when there are some again
        [other] = eventually(lambda: one_of(roles(app, worker)[who], pid), LONG)
        assert app.send_task("tests.apps.traced.add", (1, 2)).get(timeout=LONG) == 3
        kill(other)
        eventually(lambda: one_of(roles(app, worker)[who], pid, other), LONG)
        assert worker.stop(LONG) == 0


def one_of(pids: list[int], *without: int) -> list[int]:
    """The only one of these, when it is another one."""
    check(len(pids) == 1 and pids[0] not in without)
    return pids
