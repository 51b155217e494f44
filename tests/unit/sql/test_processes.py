"""Several processes on one file: killed half-way, in each other's way, and asleep."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from talo.stores.sql.waker import PipeWaker
from talo.stores.url import open_store
from talo.testing.contract._support import bodies, document, eventually, message
from tests.unit.sql.churning import KILLS, churn, fork, stays_whole_under_kills


@pytest.mark.promise("D08", "T07")
@pytest.mark.parametrize("kills", KILLS)
def test_a_process_killed_anywhere_leaves_every_message_in_one_place(tmp_path: Path, kills: int) -> None:
    stays_whole_under_kills(f"sqlite:///{tmp_path}/talo.db", kills)


def test_processes_in_each_others_way_all_get_on(tmp_path: Path) -> None:
    # Given four processes that do nothing but turn
    url = f"sqlite:///{tmp_path}/talo.db"
    store = open_store(url)
    store.broker.send([message() for _ in range(400)])
    store.close()
    answers = fork.Queue()

    def run(n: int) -> None:
        answers.put(churn(url, f"owner{n}", 50, lambda: None))

    children = [fork.Process(target=run, args=(n,), daemon=True) for n in range(4)]
    for child in children:
        child.start()
    # Then none of them fails for want of the lock
    assert all(answers.get(timeout=60) > 0 for _ in children)
    for child in children:
        child.join(30)
        assert child.exitcode == 0


def test_a_wake_up_that_died_with_its_waiter_delays_and_does_not_strand(tmp_path: Path) -> None:
    # Given a waiter that takes every wake-up and does nothing
    url = f"sqlite:///{tmp_path}/talo.db"
    store, other = open_store(url), open_store(url)
    store.broker.open("me", worker="w", slots=1, lease=60)
    thief = PipeWaker(Path(f"{tmp_path}/talo.db-wake"))
    with thief.listen(["q"]) as ear:
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(store.broker.wait(["q"], 30)))
        thread.start()
        other.broker.send([message(body="found")])
        ear.take(ear.descriptors[0])
        # Then the other finds the message all the same
        thread.join(40)
    assert answers == [True]
    assert bodies(store.broker.turn([], "me", ["q"], 1)) == ["found"]
    store.close()
    other.close()


def test_nobody_who_waits_leaves_no_wake_ups_behind(tmp_path: Path) -> None:
    waker = PipeWaker(tmp_path / "wake")
    waker.ring({"q": 5})
    with waker.listen(["q"]) as ear:
        assert not ear.take(ear.descriptors[0])
        waker.ring({"q": 2, "other": 1})
        assert [ear.take(ear.descriptors[0]) for _ in range(3)] == [True, True, False]
    with waker.listen(["q"]) as ear:
        assert not ear.take(ear.descriptors[0])


@pytest.mark.parametrize("queue", ["", ".", "..", "a/../b", "x" * 300, "ü" * 60, "%2F", "a b"])
def test_every_queue_name_has_a_pipe_of_its_own(tmp_path: Path, queue: str) -> None:
    waker = PipeWaker(tmp_path / "wake")
    with waker.listen([queue, "q"]) as ear:
        waker.ring({queue: 1})
        mine, other = ear.descriptors
        assert ear.take(mine)
        assert not ear.take(other)
    assert {each.name for each in tmp_path.iterdir()} == {"wake"}


def test_where_no_pipe_can_be_made_waiting_works_by_looking(tmp_path: Path) -> None:
    # Given a place for pipes that is taken by a file
    (tmp_path / "talo.db-wake").write_text("in the way")
    store, other = open_store(f"sqlite:///{tmp_path}/talo.db"), open_store(f"sqlite:///{tmp_path}/talo.db")
    store.ping(5)
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(store.broker.wait(["q"], 30)))
    thread.start()
    other.broker.send([message()])
    thread.join(40)
    assert answers == [True]
    store.close()
    other.close()


def test_any_number_of_waiting_threads_needs_one_thread_and_one_connection_more(tmp_path: Path) -> None:
    # Given sixty-four threads that wait for results
    path = tmp_path / "talo.db"
    store, other = open_store(f"sqlite:///{path}"), open_store(f"sqlite:///{path}")
    store.ping(5)
    answers: list[dict[str, bytes]] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(store.results.wait([f"t{n}"], 30))) for n in range(64)
    ]
    for thread in threads:
        thread.start()

    def all_wait() -> None:
        assert sum(each.name == "talo-sql-listener" for each in threading.enumerate()) == 1
        assert len(store.results._wishes) == 64

    eventually(all_wait)
    # Then the file is open twice
    names = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
    assert names.count(os.path.realpath(path)) == 2
    # And each gets its own
    other.results.store([document(f"t{n}") for n in range(64)])
    for thread in threads:
        thread.join(40)
    assert sorted(next(iter(each)) for each in answers) == sorted(f"t{n}" for n in range(64))
    store.close()
    other.close()
