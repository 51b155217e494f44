"""Contract of the dead letters: kept with their reason, listed, replayed or dropped once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from talo.stores.base import Delivery, Store, Verdict
from talo.testing.contract._support import ContractCase, Place, bodies, death, end, eventually, message, race

__all__ = ["DeadContract"]


def _die(store: Store, *sent: str, queue: str = "q", **fields: object) -> list[Delivery]:
    """Send a message per body and let each die."""
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message(queue, body) for body in sent])
    deliveries = store.broker.turn([], "me", [queue], len(sent)).deliveries
    store.broker.settle([end(each, Verdict.DEAD, death=death(each, **fields)) for each in deliveries])  # type: ignore[arg-type]
    return deliveries


def _dead(store: Store, **query: object) -> list[str]:
    return [each.message.body.decode() for each in store.broker.dead(**query) if each.message]  # type: ignore[arg-type]


class DeadContract(ContractCase):
    """What will not be run again is not lost."""

    def test_a_dead_letter_says_why(self, store: Store, other: Store) -> None:
        [delivery] = _die(store, "x", reason="worker_lost", text="SIGKILL", detail={"exitcode": -9, "peak": 1.5})
        assert delivery.message is not None
        [letter] = other.broker.dead()
        assert (letter.queue, letter.message, letter.deliveries) == ("q", delivery.message, 0)
        assert (letter.death.reason, letter.death.text) == ("worker_lost", "SIGKILL")
        assert letter.death.detail == {"exitcode": -9, "peak": 1.5}
        assert (letter.death.task_id, letter.death.task) == (delivery.message.id, "contract.task")
        assert letter.died > 1.6e9
        assert store.broker.held("me") == []

    def test_a_dead_letter_keeps_its_charges(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message()])
        for _ in range(2):
            [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
            store.broker.settle([end(delivery, Verdict.AGAIN, charge=True)])
        [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
        store.broker.settle([end(delivery, Verdict.DEAD, death=death(delivery))])
        assert [each.deliveries for each in store.broker.dead()] == [2]

    def test_a_dead_letter_is_kept_under_the_queue_to_which_it_belonged(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message("aside", "x")])
        [delivery] = store.broker.turn([], "me", ["aside"], 1).deliveries
        store.broker.settle([end(delivery, Verdict.DEAD, death=death(delivery, queue="q"))])
        assert [each.queue for each in store.broker.dead()] == ["q"]
        assert _dead(store, queue="q") == ["x"]
        assert _dead(store, queue="aside") == []

    def test_a_death_without_words_is_kept_too(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        sent = message()
        store.broker.send([sent])
        [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
        store.broker.settle([end(delivery, Verdict.DEAD)])
        [letter] = store.broker.dead()
        assert letter.message is not None
        assert letter.message.id == sent.id

    def test_the_latest_is_listed_first_and_in_pages(self, store: Store) -> None:
        for n in range(5):
            _die(store, str(n))
        assert _dead(store) == ["4", "3", "2", "1", "0"]
        assert _dead(store, limit=2) == ["4", "3"]
        assert _dead(store, limit=2, offset=3) == ["1", "0"]
        assert _dead(store, limit=2, offset=9) == []

    @pytest.mark.promise("M04")
    def test_they_are_filtered_by_task_and_queue(self, store: Store) -> None:
        _die(store, "a", queue="one", task="tasks.a")
        _die(store, "b", queue="two", task="tasks.b")
        _die(store, "c", queue="two", task="tasks.a")
        assert _dead(store, task="tasks.a") == ["c", "a"]
        assert _dead(store, queue="two") == ["c", "b"]
        assert _dead(store, queue="two", task="tasks.a", limit=1) == ["c"]
        assert _dead(store, queue="nowhere") == []

    def test_they_are_found_by_their_id_and_by_the_task_s(self, store: Store) -> None:
        deliveries = _die(store, "a", "b", "c")
        letters = {each.message.body: each for each in store.broker.dead() if each.message}
        assert deliveries[1].message is not None
        task_id = deliveries[1].message.id
        assert task_id is not None
        found = store.broker.dead_get([letters[b"a"].id, task_id, "unknown"])
        assert sorted(each.message.body for each in found if each.message) == [b"a", b"b"]
        assert store.broker.dead_get([]) == []

    @pytest.mark.promise("M04")
    def test_a_replay_sends_and_deletes_in_one_step(self, store: Store) -> None:
        _die(store, "a", "b")
        letters = store.broker.dead()
        replayed = store.broker.dead_replace(
            [each.id for each in letters], [message(body="new"), message(body="newer")]
        )
        assert replayed == 2
        assert store.broker.dead() == []
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["new", "newer"]

    @pytest.mark.promise("M04")
    def test_a_drop_is_a_replay_of_nothing(self, store: Store) -> None:
        _die(store, "a", "b", "c")
        ids = [each.id for each in store.broker.dead()]
        assert store.broker.dead_replace(ids[:2], []) == 2
        assert _dead(store) == ["a"]
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == []

    def test_when_one_is_gone_nothing_is_done(self, store: Store) -> None:
        _die(store, "a", "b")
        first, second = store.broker.dead()
        store.broker.dead_replace([first.id], [])
        assert store.broker.dead_replace([second.id, first.id], [message(body="new")]) == 0
        assert [each.id for each in store.broker.dead()] == [second.id]
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == []

    def test_they_are_counted_up_to_a_number(self, store: Store) -> None:
        _die(store, "a", "b", "c")
        _die(store, "short", expires=0.01)
        count = store.broker.dead_count

        def three() -> None:
            assert [count(10), count(2), count(10, queue="q"), count(10, queue="other")] == [3, 2, 3, 0]

        eventually(three)
        task = store.broker.dead(limit=1)[0].death.task
        assert count(10, task=task) == (0 if task is None else 3)

    @pytest.mark.promise("M05")
    def test_they_expire(self, store: Store) -> None:
        _die(store, "short", expires=0.05)
        _die(store, "long", expires=600.0)

        def only_the_long_one() -> None:
            store.results.cleanup(100)
            assert _dead(store) == ["long"]

        eventually(only_the_long_one)

    @pytest.mark.parametrize("replay", [True, False], ids=["replay", "drop"])
    def test_of_many_who_replace_one_succeeds(self, place: Place, store: Store, replay: bool) -> None:
        # Given dead letters, and ten who replace the same ones
        _die(store, "a", "b")
        ids = [each.id for each in store.broker.dead()]
        stores = [place.open() for _ in range(10)]

        def replace(n: int) -> Callable[[], int]:
            new = [message(body=f"new{k}") for k in range(2)] if replay else []
            return lambda: stores[n].broker.dead_replace(ids, new)

        # When all do it at once
        counts = race([replace(n) for n in range(10)])
        # Then one has done it
        assert sorted(counts) == [0] * 9 + [2]
        assert store.broker.dead() == []
        assert len(store.broker.turn([], "me", ["q"], 100).deliveries) == (2 if replay else 0)
