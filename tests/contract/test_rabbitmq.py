"""RabbitMQ passes the contract, with results kept in another store; where AMQP cannot, the case says what holds.

A lease on RabbitMQ is a connection (``features.hands_over`` is False): the cases of ``LeaseContract`` that take leases
over by their time have their counterparts here.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from talo.errors import LeaseLost, NotSupported, StoreUnavailable
from talo.stores.base import Delivery, Settlement, Store, Turn, Verdict
from talo.stores.rabbitmq import RabbitStore
from talo.stores.url import open_store
from talo.testing.contract import (
    BrokerContract,
    BusContract,
    DeadContract,
    ForkContract,
    ProcessContract,
    SettlingContract,
    WaitingContract,
)
from talo.testing.contract._support import ContractCase, Place, bodies, death, document, end, eventually, message
from talo.wire.queues import Queue
from talo.worker.split import split_of

_serial = itertools.count()


class RabbitPlace:
    """One virtual host, with results in a memory beside it, as a worker brings them there."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.options = options
        self.results = f"memory://rabbit-{next(_serial)}"
        self.opened: list[Store] = []

    def open(self, **options: Any) -> RabbitStore:
        options.pop("priority_order", None)
        store, results = RabbitStore(self.url, **{**self.options, **options}), open_store(self.results)
        split, settle, turn = split_of(store, results), store.broker.settle, store.broker.turn

        def apart(settlements: Sequence[Settlement], owner: str, queues: Sequence[str], limit: int) -> Turn:
            return turn(split(settlements), owner, queues, limit)

        store.results = results.results
        store.broker.settle = lambda settlements: settle(split(settlements))  # type: ignore[method-assign]
        store.broker.turn = apart  # type: ignore[method-assign]
        self.opened += [store, results]
        return store

    def close(self) -> None:
        for store in self.opened:
            store.close()


def _fetched(store: Store, queues: Sequence[str] = ("q",), owner: str = "me") -> Callable[[], list[Delivery]]:
    def some() -> list[Delivery]:
        found = store.broker.turn([], owner, queues, 1).deliveries
        assert found
        return found

    return some


class TestRabbit(
    BrokerContract, SettlingContract, WaitingContract, DeadContract, BusContract, ProcessContract, ForkContract
):
    @pytest.fixture
    def place(self, rabbit_url: str) -> Iterator[RabbitPlace]:
        place = RabbitPlace(rabbit_url)
        yield place
        place.close()

    # -- what AMQP cannot do, and what it does instead

    def test_what_it_cannot_do_is_said(self, place: Place) -> None:
        store = RabbitStore(place.open().url.replace("**", "guest"))
        assert (store.features.atomic, store.features.locks, store.features.results) == (False, False, False)
        assert not store.features.hands_over
        for ask in (
            lambda: store.results.get(["id"]),
            lambda: store.locks.acquire("name", "me", 1.0),
            lambda: store.results.open_groups([None]),  # type: ignore[list-item]
        ):
            with pytest.raises(NotSupported, match="result_backend"):
                ask()

    def test_the_more_urgent_comes_first(self, rabbit_url: str) -> None:  # type: ignore[override]
        """Only in a classic queue with a highest priority, and 9 before 0: quorum queues know no priorities."""
        store = RabbitStore(rabbit_url, queues=lambda: {"q": Queue("q", max_priority=9)})
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body=str(priority), priority=priority) for priority in (3, 0, 9, 6)])
        assert bodies([each for _ in range(4) for each in eventually(_fetched(store))]) == ["9", "6", "3", "0"]
        store.close()

    def test_sends_that_were_begun_find_their_queue_again(self, store: Store, other: RabbitStore) -> None:
        # Given two sends that were begun behind the back of who deletes their queue
        store.broker.send([message(body="before")])
        connection = other._client.another(other._client.deadline())
        connection.channel(other._client.deadline()).delete_queue("q", other._client.deadline())
        began = [store.broker.begin_send([message(body=str(n))]) for n in range(2)]
        # When they are waited for, then each is in the queue that is made anew
        for wait in began:
            wait()
        store.broker.open("me", worker="w", slots=1, lease=30)
        found = {body for _ in range(2) for body in bodies(eventually(_fetched(store)))}
        assert found == {"0", "1"}
        connection.close()

    def test_a_send_whose_connection_is_lost_before_it_was_waited_for_says_so(self, store: RabbitStore) -> None:  # type: ignore[override]
        wait = store.broker.begin_send([message()])
        store._client.drop()
        with pytest.raises(StoreUnavailable):
            wait()

    def test_one_deep_queue_fills_the_turn(self, store: Store) -> None:
        """Or the one after it: what is sent here comes when it comes."""
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message("deep", "x") for _ in range(50)])
        turns = [len(store.broker.turn([], "me", ["empty", "deep"], 25).deliveries)]
        while sum(turns) < 50:
            turns.append(len(store.broker.turn([], "me", ["empty", "deep"], 25).deliveries))
        assert turns[0] == 25
        assert sum(turns) == 50

    def test_who_holds_many_is_sent_more(self, store: Store) -> None:
        """What is held counts against a consumer's prefetch: a child of coroutines may hold more than that."""
        store.broker.open("me", worker="w", slots=1500, lease=60)
        store.broker.send([message(body=str(n)) for n in range(1500)])
        sizes = []
        while sum(sizes) < 1500:
            sizes.append(len(store.broker.turn([], "me", ["q"], 256).deliveries))
        # They come by many, not one by one as they are asked for.
        assert sizes.count(1) < 100

    def test_what_was_settled_just_before_the_end_does_not_come_again(self, store: Store, other: Store) -> None:
        """RabbitMQ keeps acknowledgements of a quorum queue back, and loses those of a channel that ends meanwhile."""
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message(body=str(n)) for n in range(250)])
        held: list[Delivery] = []
        while len(held) < 250:
            held += store.broker.turn([], "me", ["q"], 256).deliveries
        # When they end from the last to the first, so that each is acknowledged by itself, and then their owner
        held.reverse()
        for at in range(0, 250, 10):
            store.broker.settle([end(each) for each in held[at : at + 10]])
        store.broker.close_owner("me")
        store.close()
        # Then only what is sent afterwards comes
        other.broker.send([message(body="last")])
        other.broker.open("you", worker="w", slots=1, lease=60)
        came: list[str] = []
        while "last" not in came:
            came += bodies(other.broker.turn([], "you", ["q"], 256))
        came += bodies(other.broker.turn([], "you", ["q"], 256))
        assert came == ["last"]

    def test_a_turn_says_when_the_next_task_falls_due(self, store: Store) -> None:
        """It cannot know, and need not: the server sends it when it is due."""
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(due=time.time() + 60)])
        assert store.broker.turn([], "me", ["q"], 1) == Turn([], [], None)

    def test_stats_count_what_is_ready_delayed_and_leased(self, store: Store, other: Store) -> None:
        """What is ready everywhere, what is leased by this process; what is delayed stands in queues that all others
        share, so nobody knows how much is whose: that is told as unknown, not as none."""
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message("a") for _ in range(5)] + [message("a", due=time.time() + 900)])
        store.broker.turn([], "me", ["a"], 2)
        numbers = [(each.name, each.ready, each.delayed, each.leased) for each in store.broker.stats()]
        assert numbers == [("a", 3, None, 2)]
        assert [(each.name, each.ready) for each in other.broker.stats(["a", "unknown"])] == [("a", 3), ("unknown", 0)]

    def test_purge_deletes_what_waits_and_leaves_what_is_leased(self, store: Store) -> None:
        """What is delayed comes later all the same."""
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message("a", str(n)) for n in range(5)] + [message("b", "kept")])
        [leased] = store.broker.turn([], "me", ["a"], 1).deliveries
        assert store.broker.purge(["a", "unknown"]) == 4
        assert bodies(store.broker.turn([], "me", ["a", "b"], 10)) == ["kept"]
        assert store.broker.settle([end(leased)]) == []
        assert store.broker.purge(["a"]) == 0

    @pytest.mark.parametrize("closes", ["group", "once:1:a"], ids=["group", "step"])
    def test_what_closes_once_is_remembered_by_the_store_of_the_results(
        self, store: Store, other: Store, closes: str
    ) -> None:
        # Given three messages that end the same, held here and elsewhere
        one, two = self._held(store, "me", 2)
        [three] = self._held(other, "other", 1)
        # When all of them end
        copies = [
            end(one, closes=closes, follow=[message("next", "body")], result=document("one")),
            end(two, closes=closes, follow=[message("next", "body")], result=document("two")),
        ]
        assert store.broker.settle(copies) == []
        late = end(three, Verdict.DEAD, closes=closes, follow=[message("next", "body")], result=document("three"))
        assert other.broker.settle([late]) == []
        # Then one of them has an effect, and none is held any more
        assert [each.ready for each in store.broker.stats(["next"])] == [1]
        assert set(store.results.get(["one", "two", "three"])) == {"one"}
        assert (store.broker.dead(), store.broker.held("me"), other.broker.held("other")) == ([], [], [])

    @staticmethod
    def _held(store: Store, owner: str, count: int) -> list[Delivery]:
        store.broker.open(owner, worker="w", slots=1, lease=30)
        store.broker.send([message() for _ in range(count)])
        return [each for _ in range(count) for each in eventually(_fetched(store, owner=owner))]

    def test_result_and_follow_ups_come_with_the_end(self, store: Store, other: Store) -> None:
        [delivery] = self._one(store)
        follow = [message("q", "follow"), message("else", "elsewhere")]
        turn = store.broker.turn([end(delivery, result=document("t1"), follow=follow)], "me", ["q"], 10)
        assert bodies(turn) == ["follow"]
        assert set(other.results.get(["t1"])) == {"t1"}
        assert [(each.name, each.ready) for each in other.broker.stats(["q", "else"])] == [("q", 0), ("else", 1)]

    def test_again_is_the_next_to_be_fetched(self, store: Store) -> None:
        """Behind what waits: what is put back to the head looks like what a dead process left."""
        self._again_comes_last(store)

    def test_a_batch_given_back_keeps_its_order(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body=str(n)) for n in range(4)])
        first, second, *_ = store.broker.turn([], "me", ["q"], 2).deliveries
        store.broker.settle([end(first, Verdict.AGAIN), end(second, Verdict.AGAIN)])
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["2", "3", "0", "1"]

    def test_what_is_given_back_last_comes_first(self, store: Store) -> None:
        self._again_comes_last(store)

    @pytest.mark.parametrize("kind", ["quorum", "classic"])
    @pytest.mark.parametrize("limit", [4, 16])
    def test_what_is_given_back_while_its_queue_is_left_out_stays_ahead_of_it(
        self, place: RabbitPlace, kind: str, limit: int
    ) -> None:
        """A queue that is paused goes on in its order, whether its messages are asked for or sent here."""
        store = place.open(queue_type=kind)
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body=str(n)) for n in range(120)])
        begun: list[str] = []
        held: list[Delivery] = []
        while len(begun) < 40:
            turn = store.broker.turn([end(each) for each in held], "me", ["q"], limit)
            held = turn.deliveries
            begun += bodies(turn)
        assert store.broker.wait(["q"], 10)  # until something more has come
        # When all that is held goes back in a turn that asks for another queue only
        store.broker.turn([end(each, Verdict.AGAIN) for each in held], "me", ["else"], limit)
        assert store.broker.turn([], "me", ["else"], limit).deliveries == []
        # Then it comes first, uncharged, and then the rest
        came: list[Delivery] = []
        while len(came) < 120 - len(begun) + len(held):
            found = store.broker.turn([], "me", ["q"], limit).deliveries
            store.broker.settle([end(each) for each in found])
            came += found
        assert bodies(came) == [str(n) for n in range(len(begun) - len(held), 120)]
        assert not any(each.deliveries for each in came[: len(held)])

    def _again_comes_last(self, store: Store) -> None:
        [delivery] = self._one(store)
        store.broker.send([message(body="waits")])
        store.broker.settle([end(delivery, Verdict.AGAIN)])
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["waits", "0"]

    def test_again_after_a_delay_is_never_early(self, store: Store) -> None:
        """And up to a second late: the server's levels are whole seconds."""
        [delivery] = self._one(store)
        began = time.time()
        assert store.broker.turn([end(delivery, Verdict.AGAIN, delay=0.3)], "me", ["q"], 1).deliveries == []
        assert bodies(eventually(_fetched(store))) == ["0"]
        assert time.time() >= began + 0.298

    def test_a_suspect_is_marked_and_its_neighbour_is_not(self, store: Store) -> None:
        """And it is handed out alone."""
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body="0"), message(body="1"), message(body="2")])
        first, second, third = store.broker.turn([], "me", ["q"], 3).deliveries
        store.broker.settle([end(third, Verdict.AGAIN)])
        store.broker.settle([end(first, Verdict.AGAIN, suspect=True), end(second, Verdict.AGAIN)])
        found = [eventually(_fetched(store)) for _ in range(3)]
        marks = {body: each.suspect for batch in found for each, body in zip(batch, bodies(batch), strict=True)}
        assert marks == {"0": True, "1": False, "2": False}
        assert [len(batch) for batch in found if batch[0].suspect] == [1]

    def test_again_can_bring_a_result(self, store: Store) -> None:
        [delivery] = self._one(store)
        store.broker.settle([end(delivery, Verdict.AGAIN, delay=900, result=document("t", "RETRY"))])
        assert set(store.results.get(["t"])) == {"t"}
        assert store.broker.turn([], "me", ["q"], 1).deliveries == []

    @pytest.mark.parametrize("verdict", list(Verdict))
    def test_a_refused_settlement_of_any_verdict_changes_nothing(self, store: Store, verdict: Verdict) -> None:
        """But for its result, which goes to its store first: whoever repeats a step stores it again."""
        [delivery] = self._one(store)
        store.broker.settle([end(delivery)])
        late = end(delivery, verdict, death=death(delivery), result=document("late"), follow=[message()])
        assert store.broker.settle([late]) == [delivery.lease]
        assert store.broker.dead() == []
        assert [each.ready for each in store.broker.stats(["q"])] == [0]

    def test_a_repeated_settlement_is_refused_and_changes_nothing(self, store: Store) -> None:
        [delivery] = self._one(store)
        assert store.broker.settle([end(delivery, follow=[message(body="follow")])]) == []
        late = end(delivery, result=document("late"), follow=[message(body="again")])
        turn = store.broker.turn([late], "me", ["q"], 10)
        assert turn.refused == [delivery.lease]
        assert bodies(turn) == ["follow"]

    def test_a_turn_of_a_lost_owner_does_nothing_at_all(self, place: Place, store: Store) -> None:
        [delivery] = self._one(store, "late")
        store.close()
        with pytest.raises(LeaseLost):
            store.broker.turn([end(delivery, follow=[message(body="more")])], "late", ["q"], 10)
        other = place.open()
        other.broker.open("me", worker="w", slots=1, lease=30)
        assert bodies(eventually(_fetched(other))) == ["0"]
        assert other.broker.turn([], "me", ["q"], 10).deliveries == []

    def test_a_lease_that_is_over_but_not_taken_over_can_still_be_settled(self, store: Store) -> None:
        """A lease is never over by time."""
        store.broker.open("me", worker="w", slots=1, lease=0.01)
        store.broker.send([message()])
        [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
        assert store.broker.owners()[0].remaining > 1e6
        assert store.broker.settle([end(delivery)]) == []

    @staticmethod
    def _one(store: Store, owner: str = "me") -> list[Delivery]:
        store.broker.open(owner, worker="w", slots=1, lease=30)
        store.broker.send([message(body="0")])
        return store.broker.turn([], owner, ["q"], 1).deliveries


class TestLeasesOfRabbit(ContractCase):
    """A lease ends with its connection, and nobody takes it over."""

    @pytest.fixture
    def place(self, rabbit_url: str) -> Iterator[RabbitPlace]:
        place = RabbitPlace(rabbit_url)
        yield place
        place.close()

    def test_renewing_tells_who_is_not_open_wherever_it_is(self, store: Store, other: Store) -> None:
        store.broker.open("a", worker="w", slots=1, lease=30)
        other.broker.open("b", worker="w", slots=1, lease=30)
        assert sorted(store.broker.renew(["gone", "a", "b"], 30).gone) == ["gone"]

    def test_closing_keeps_an_owner_that_holds_something(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body="0")])
        [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
        store.broker.close_owner("me")
        assert [each.owner for each in store.broker.owners()] == ["me"]
        assert store.broker.settle([end(delivery)]) == []
        store.broker.close_owner("me")
        assert store.broker.owners() == []

    def test_taking_over_brings_nothing_and_takes_nothing(self, store: Store, other: Store) -> None:
        store.broker.open("dead", worker="w", slots=1, lease=30)
        store.broker.send([message(body="0")])
        [delivery] = store.broker.turn([], "dead", ["q"], 1).deliveries
        other.broker.open("me", worker="w", slots=1, lease=30)
        assert other.broker.take_over("dead", "me", 10, expired=False) == []
        assert other.broker.settle([end(delivery)]) == []

    def test_what_a_dead_connection_held_is_handed_out_charged_and_alone(self, place: Place, store: Store) -> None:
        # Given three deliveries of a process that dies
        store.broker.open("dead", worker="w", slots=1, lease=30)
        store.broker.send([message(body=str(n)) for n in range(3)])
        held = store.broker.turn([], "dead", ["q"], 3).deliveries
        store.close()
        # When another fetches, then each comes by itself, charged, since nobody knows which one ran
        other = place.open()
        other.broker.open("me", worker="w", slots=1, lease=30)
        found = []
        for _ in range(3):
            batch = eventually(_fetched(other))
            found += batch
            other.broker.settle([end(each) for each in batch])
        assert sorted(bodies(found)) == ["0", "1", "2"]
        assert {(each.deliveries, each.suspect) for each in found} == {(1, True)}
        # And the dead has no say
        assert other.broker.settle([end(each) for each in held]) == [each.lease for each in held]
