"""Contract of waiting: whoever waits hears of new work, and nothing that came is overslept."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

from talo.stores.base import Store, Verdict
from talo.testing.contract._support import ContractCase, bodies, death, end, eventually, message

__all__ = ["LONG", "Waiter", "WaitingContract"]

#: Much longer than any wake-up takes: a wait that lasts as long has overslept.
LONG = 20.0


class Waiter:
    """A thread that turns, waits, and turns again until it has fetched something or the time is over."""

    def __init__(self, store: Store, queues: list[str], owner: str = "waiter") -> None:
        self.store, self.queues, self.owner = store, queues, owner
        self.found: list[str] = []
        self.asleep = threading.Event()
        store.broker.open(owner, worker="w", slots=1, lease=60)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self.asleep.wait(LONG)

    def _run(self) -> None:
        deadline = time.monotonic() + LONG
        while time.monotonic() < deadline:
            turn = self.store.broker.turn([], self.owner, self.queues, 1)
            if turn.deliveries:
                self.found = bodies(turn)
                return
            until = deadline - time.monotonic()
            if turn.next_due is not None:
                until = min(until, max(0.0, turn.next_due - time.time()))
            self.asleep.set()
            self.store.broker.wait(self.queues, max(0.0, until))

    def woken(self) -> list[str]:
        """What it fetched."""
        self.thread.join(LONG + 5)
        return self.found


def _in_thread(wait: Callable[[], bool]) -> tuple[threading.Thread, list[bool]]:
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(wait()), daemon=True)
    thread.start()
    return thread, answers


class WaitingContract(ContractCase):
    """Waiting costs nothing and misses nothing."""

    def test_a_send_of_another_process_wakes(self, store: Store, other: Store) -> None:
        waiter = Waiter(store, ["q"])
        other.broker.send([message(body="new")])
        assert waiter.woken() == ["new"]

    def test_a_send_of_the_same_store_object_wakes(self, store: Store) -> None:
        waiter = Waiter(store, ["q"])
        store.broker.send([message(body="new")])
        assert waiter.woken() == ["new"]

    def test_a_delayed_send_wakes_in_time(self, store: Store, other: Store) -> None:
        waiter = Waiter(store, ["q"])
        other.broker.send([message(body="soon", due=time.time() + 0.2)])
        assert waiter.woken() == ["soon"]

    def test_a_message_given_back_wakes(self, store: Store, other: Store) -> None:
        other.broker.open("giver", worker="w", slots=1, lease=60)
        other.broker.send([message(body="back")])
        [delivery] = other.broker.turn([], "giver", ["q"], 1).deliveries
        waiter = Waiter(store, ["q"])
        other.broker.settle([end(delivery, Verdict.AGAIN)])
        assert waiter.woken() == ["back"]

    def test_a_follow_up_wakes(self, store: Store, other: Store) -> None:
        other.broker.open("giver", worker="w", slots=1, lease=60)
        other.broker.send([message("p")])
        [delivery] = other.broker.turn([], "giver", ["p"], 1).deliveries
        waiter = Waiter(store, ["q"])
        other.broker.turn([end(delivery, follow=[message("q", "follow")])], "giver", ["p"], 0)
        assert waiter.woken() == ["follow"]

    def test_a_replayed_dead_letter_wakes(self, store: Store, other: Store) -> None:
        other.broker.open("giver", worker="w", slots=1, lease=60)
        other.broker.send([message("p")])
        [delivery] = other.broker.turn([], "giver", ["p"], 1).deliveries
        other.broker.settle([end(delivery, Verdict.DEAD, death=death(delivery))])
        [letter] = other.broker.dead()
        waiter = Waiter(store, ["q"])
        assert other.broker.dead_replace([letter.id], [message(body="replayed")]) == 1
        assert waiter.woken() == ["replayed"]

    def test_only_queues_that_are_waited_for_matter(self, store: Store, other: Store) -> None:
        waiter = Waiter(store, ["q", "r"])
        other.broker.send([message("other", "other")])
        other.broker.send([message("r", "mine")])
        assert waiter.woken() == ["mine"]

    def test_every_waiter_gets_one_of_many(self, store: Store, other: Store) -> None:
        waiters = [Waiter(each, ["q"], f"waiter{n}") for n, each in enumerate([store, other])]
        store.broker.send([message(body="1"), message(body="2")])
        assert sorted(body for each in waiters for body in each.woken()) == ["1", "2"]

    @pytest.mark.parametrize("delay", [None, 0.1], ids=["ready", "delayed"])
    def test_what_came_since_the_last_turn_ends_the_wait(self, store: Store, other: Store, delay: float | None) -> None:
        # Given a turn that brought nothing, and a message that came after it
        store.broker.open("me", worker="w", slots=1, lease=60)
        assert store.broker.turn([], "me", ["q"], 1).deliveries == []
        other.broker.send([message(due=None if delay is None else time.time() + delay)])
        # When it waits for long, then it is woken, at the latest when the message is due
        assert store.broker.wait(["q"], LONG) is True

    def test_a_wait_for_nothing_ends_when_its_time_is_over(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.turn([], "me", ["q"], 1)

        def over() -> None:
            assert store.broker.wait(["q"], 0.05) is False

        eventually(over)

    def test_a_descriptor_ends_the_wait(self, store: Store) -> None:
        reader, writer = os.pipe()
        try:
            store.broker.open("me", worker="w", slots=1, lease=60)
            store.broker.turn([], "me", ["q"], 1)
            thread, answers = _in_thread(lambda: store.broker.wait(["q"], LONG, [reader]))
            os.write(writer, b"x")
            thread.join(LONG + 5)
            assert answers == [True]
            assert os.read(reader, 10) == b"x"
        finally:
            os.close(reader)
            os.close(writer)

    def test_interrupt_ends_the_wait_of_another_thread(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.turn([], "me", ["q"], 1)
        thread, answers = _in_thread(lambda: store.broker.wait(["q"], LONG))
        store.broker.interrupt()
        thread.join(LONG + 5)
        assert answers == [True]

    def test_interrupt_ends_the_next_wait(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.turn([], "me", ["q"], 1)
        store.broker.interrupt()
        assert store.broker.wait(["q"], LONG) is True

    def test_one_by_one_nothing_is_overslept(self, store: Store, other: Store) -> None:
        # Given a worker that waits whenever it finds nothing
        waited: list[bool] = []
        store.broker.open("me", worker="w", slots=1, lease=60)
        for n in range(50):
            # When a message comes about the time it falls asleep
            thread = threading.Thread(target=other.broker.send, args=([message(body=str(n))],), daemon=True)
            thread.start()
            turn = store.broker.turn([], "me", ["q"], 1)
            while not turn.deliveries:
                waited.append(store.broker.wait(["q"], LONG))
                turn = store.broker.turn([], "me", ["q"], 1)
            # Then it gets it
            assert bodies(turn) == [str(n)]
            store.broker.settle([end(turn.deliveries[0])])
            thread.join(LONG)
        assert False not in waited
