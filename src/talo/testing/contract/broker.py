"""Contract of the broker: sending, fetching, order, delay, numbers."""

from __future__ import annotations

import time

import pytest

from talo.errors import LeaseLost
from talo.stores.base import Store
from talo.testing.contract._support import ContractCase, Place, bodies, end, eventually, message

__all__ = ["BrokerContract"]


class BrokerContract(ContractCase):
    """What is sent is fetched, once, whole, and in its order."""

    def test_a_message_comes_back_as_it_was_sent(self, store: Store, other: Store) -> None:
        # Given a message that uses every field, and headers that Talo does not know
        sent = message("q", b"\x00\xffbody", priority=3, exchange="ex")
        sent.headers["talo-unknown"] = {"deep": [1, 2.5, None, True, "ü"]}
        sent.content_type, sent.content_encoding = "application/x-own", "binary"
        sent.properties["reply_to"] = "somewhere"
        store.broker.open("me", worker="w", slots=1, lease=30)
        # When another process sends it
        other.broker.send([sent])
        # Then it arrives whole, under a lease of ours
        [delivery] = store.broker.turn([], "me", ["q"], 10).deliveries
        assert delivery.message is not None
        got = delivery.message
        assert (got.queue, got.headers, got.body, got.priority) == (sent.queue, sent.headers, sent.body, 3)
        assert (got.content_type, got.content_encoding) == ("application/x-own", "binary")
        assert (got.exchange, got.routing_key) == ("ex", "q")
        assert {key: got.properties[key] for key in sent.properties} == sent.properties
        assert (delivery.queue, delivery.lease.owner, delivery.deliveries) == ("q", "me", 0)
        assert (delivery.suspect, delivery.former, delivery.fault) == (False, None, None)

    def test_what_is_fetched_is_not_fetched_again(self, store: Store, other: Store) -> None:
        store.broker.open("a", worker="w", slots=1, lease=30)
        other.broker.open("b", worker="w", slots=1, lease=30)
        store.broker.send([message(body=str(n)) for n in range(10)])
        first = store.broker.turn([], "a", ["q"], 6)
        second = other.broker.turn([], "b", ["q"], 6)
        assert bodies(first) == ["0", "1", "2", "3", "4", "5"]
        assert bodies(second) == ["6", "7", "8", "9"]
        assert bodies(store.broker.turn([], "a", ["q"], 6)) == []

    def test_only_the_queues_asked_for_are_fetched(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message("one", "1"), message("two", "2"), message("three", "3")])
        assert sorted(bodies(store.broker.turn([], "me", ["one", "three"], 10))) == ["1", "3"]
        assert bodies(store.broker.turn([], "me", ["two", "never heard of"], 10)) == ["2"]

    def test_limit_zero_fetches_nothing(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message()])
        assert store.broker.turn([], "me", ["q"], 0).deliveries == []
        assert len(store.broker.turn([], "me", ["q"], 1).deliveries) == 1

    def test_sending_nothing_is_legal(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([])
        assert store.broker.turn([], "me", ["q"], 1).deliveries == []

    def test_sends_that_were_begun_one_after_the_other_end_in_that_order(self, store: Store) -> None:
        # Given two sends of which the second begins before the first has been waited for
        first = store.broker.begin_send([message(body=str(n)) for n in range(5)], timeout=20)
        second = store.broker.begin_send([message(body=str(n)) for n in range(5, 10)], timeout=20)
        # When both have been, then all of it is there
        first()
        second()
        store.broker.open("me", worker="w", slots=1, lease=30)
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == [str(n) for n in range(10)]

    def test_an_owner_that_is_not_open_gets_nothing(self, store: Store) -> None:
        # Given a message, and an owner that nobody opened
        store.broker.send([message()])
        # When it turns, then it is told, and the message stays where it was
        with pytest.raises(LeaseLost):
            store.broker.turn([], "nobody", ["q"], 1)
        with pytest.raises(LeaseLost):
            store.broker.fetch("nobody", ["q"], 1)
        [numbers] = store.broker.stats(["q"])
        assert (numbers.ready, numbers.leased) == (1, 0)

    def test_a_turn_of_no_open_owner_is_refused_when_no_work_waits_too(self, store: Store) -> None:
        with pytest.raises(LeaseLost):
            store.broker.turn([], "nobody", ["q"], 1)

    def test_tokens_grow_in_the_order_of_fetching(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        tokens: list[int] = []
        for _ in range(3):
            store.broker.send([message() for _ in range(5)])
            deliveries = store.broker.turn([], "me", ["q"], 5).deliveries
            tokens += [each.lease.token for each in deliveries]
            store.broker.settle([end(each) for each in deliveries])
        assert len(set(tokens)) == 15
        assert tokens == sorted(tokens)

    def test_a_thousand_messages_are_one_batch(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body=str(n)) for n in range(1000)])
        found: list[str] = []
        while turn := store.broker.turn([], "me", ["q"], 256).deliveries:
            found += bodies(turn)
        assert found == [str(n) for n in range(1000)]

    def test_large_bodies_come_back_whole(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        body = bytes(range(256)) * 20_480
        store.broker.send([message(body=body), message(body=b"small")])
        large, small = store.broker.turn([], "me", ["q"], 2).deliveries
        assert large.message is not None
        assert large.message.body == body
        assert store.broker.settle([end(large), end(small)]) == []

    @pytest.mark.parametrize("name", ["with space", "a/b/c", "ü-ñ-漢字-🥬", "per%cent:colon", "'quote\"", "x" * 200])
    def test_any_text_is_a_queue_a_task_and_an_id(self, store: Store, name: str) -> None:
        store.broker.open(name, worker=name, slots=1, lease=30)
        store.broker.send([message(name, "1", id=name, task=name)])
        [delivery] = store.broker.turn([], name, [name], 1).deliveries
        assert delivery.message is not None
        assert (delivery.message.queue, delivery.message.id, delivery.message.task) == (name, name, name)
        assert delivery.lease.owner == name
        assert store.broker.settle([end(delivery)]) == []

    def test_the_oldest_comes_first(self, store: Store, other: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        for n in range(6):
            (store if n % 2 else other).broker.send([message(body=f"{n}.{k}") for k in range(3)])
        assert bodies(store.broker.turn([], "me", ["q"], 100)) == [f"{n}.{k}" for n in range(6) for k in range(3)]

    @pytest.mark.promise("F04")
    @pytest.mark.parametrize(("order", "expected"), [("high-first", [9, 6, 3, 0]), ("low-first", [0, 3, 6, 9])])
    def test_the_more_urgent_comes_first(self, place: Place, order: str, expected: list[int]) -> None:
        # Given many messages of middling priority, and some others sent after them
        store = place.open(priority_order=order)
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body=f"{priority}.{n}", priority=priority) for n in range(2) for priority in (3, 0)])
        store.broker.send([message(body=f"{priority}.{n}", priority=priority) for n in range(2) for priority in (9, 6)])
        # Then they come by priority, and the oldest first within it, over several turns
        found = [body for _ in range(8) for body in bodies(store.broker.turn([], "me", ["q"], 1))]
        assert found == [f"{priority}.{n}" for priority in expected for n in range(2)]

    def test_queues_share_evenly(self, store: Store) -> None:
        # Given two queues that never run dry, and one with little
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message("deep", "deep") for _ in range(400)])
        store.broker.send([message("deep too", "too") for _ in range(400)])
        store.broker.send([message("little", "little") for _ in range(5)])
        # When they are fetched in small turns and in single ones
        found: list[str] = []
        for limit in [4] * 30 + [1] * 60:
            found += bodies(store.broker.turn([], "me", ["deep", "deep too", "little"], limit))
        # Then neither of the deep ones starves, and the little one does not either
        assert found.count("little") == 5
        assert abs(found.count("deep") - found.count("too")) <= len(found) // 4

    def test_one_deep_queue_fills_the_turn(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message("deep", "x") for _ in range(50)])
        found = sum(len(store.broker.turn([], "me", ["empty", "deep"], 25).deliveries) for _ in range(2))
        assert found == 50

    def test_a_delayed_message_is_never_early(self, store: Store) -> None:
        # Given a message that is due soon, and one that is due much later
        store.broker.open("me", worker="w", slots=1, lease=30)
        due = time.time() + 0.3
        store.broker.send([message(body="later", due=due + 3600), message(body="soon", due=due)])
        # When we ask all the time, then it comes when it is due and not before
        while not (turn := store.broker.turn([], "me", ["q"], 10)).deliveries:
            assert time.time() < due + 10
        assert time.time() >= due - 0.002
        assert bodies(turn) == ["soon"]

    def test_what_is_due_already_is_ready(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body="past", due=time.time() - 5)])
        assert bodies(store.broker.turn([], "me", ["q"], 1)) == ["past"]

    def test_due_messages_of_other_queues_do_not_come(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send(
            [message("other", "other", due=time.time() + 0.05), message("q", "mine", due=time.time() + 0.05)]
        )
        found: list[str] = []

        def both_are_due() -> None:
            found.extend(bodies(store.broker.turn([], "me", ["q"], 10)))
            assert found == ["mine"]
            [numbers] = store.broker.stats(["other"])
            assert (numbers.delayed or 0) + numbers.ready == 1

        eventually(both_are_due)

    def test_many_due_messages_all_come(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        due = time.time() + 0.1
        store.broker.send([message(body=str(n), due=due) for n in range(1500)])
        found: set[str] = set()

        def all_came() -> None:
            found.update(bodies(store.broker.turn([], "me", ["q"], 500)))
            assert len(found) == 1500

        eventually(all_came)

    def test_a_turn_says_when_the_next_task_falls_due(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        assert store.broker.turn([], "me", ["q"], 1).next_due is None
        soon = time.time() + 1800
        store.broker.send([message(due=soon + 60), message(due=soon), message(body="now")])
        full, empty = store.broker.turn([], "me", ["q"], 1), store.broker.turn([], "me", ["q"], 1)
        assert bodies(full) == ["now"]
        assert empty.next_due == pytest.approx(soon, abs=0.1)

    def test_stats_count_what_is_ready_delayed_and_leased(self, store: Store, other: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send(
            [message("a") for _ in range(5)] + [message("a", due=time.time() + 900)] + [message("b", priority=6)]
        )
        store.broker.turn([], "me", ["a"], 2)
        numbers = {each.name: (each.ready, each.delayed, each.leased) for each in other.broker.stats()}
        assert numbers == {"a": (3, 1, 2), "b": (1, 0, 0)}
        assert [(each.name, each.ready) for each in other.broker.stats(["b", "unknown"])] == [("b", 1), ("unknown", 0)]

    def test_what_is_due_counts_as_ready_without_a_turn(self, store: Store, other: Store) -> None:
        due = time.time() + 0.5
        store.broker.send([message(due=due), message(due=due + 900)])

        def is_ready() -> None:
            [numbers] = other.broker.stats(["q"])
            assert (numbers.ready, numbers.delayed) in ((1, 1), (1, None))
            assert numbers.oldest is None or 0 <= numbers.oldest <= time.time() - due + 1

        eventually(is_ready, 30)

    def test_stats_change_nothing(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body=str(n)) for n in range(3)])
        for _ in range(5):
            store.broker.stats()
            store.broker.stats(["q"])
            store.broker.owners()
            store.broker.held("me")
            store.broker.dead()
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["0", "1", "2"]

    def test_purge_deletes_what_waits_and_leaves_what_is_leased(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message("a", str(n)) for n in range(5)] + [message("b", "kept")])
        store.broker.send([message("a", due=time.time() + 900, priority=3)])
        [leased] = store.broker.turn([], "me", ["a"], 1).deliveries
        assert store.broker.purge(["a", "unknown"]) == 5
        assert bodies(store.broker.turn([], "me", ["a", "b"], 10)) == ["kept"]
        assert store.broker.turn([], "me", ["a"], 10).next_due is None
        assert store.broker.settle([end(leased)]) == []
        assert store.broker.purge(["a"]) == 0
