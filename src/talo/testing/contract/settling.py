"""Contract of the settlement: every verdict, whole or not at all, once."""

from __future__ import annotations

import time

import msgspec
import pytest

from talo.errors import LeaseLost
from talo.stores.base import Delivery, Lease, Settlement, Store, Verdict
from talo.stores.parking import at_home, parked, parking_of
from talo.testing.contract._support import ContractCase, bodies, death, document, end, eventually, message

__all__ = ["SettlingContract"]


def _fetch(store: Store, count: int = 1, owner: str = "me") -> list[Delivery]:
    """Open the owner and let it fetch ``count`` new messages with bodies 0, 1, 2 ..."""
    store.broker.open(owner, worker="w", slots=1, lease=30)
    store.broker.send([message(body=str(n)) for n in range(count)])
    deliveries = store.broker.turn([], owner, ["q"], count).deliveries
    assert len(deliveries) == count
    return deliveries


class SettlingContract(ContractCase):
    """A delivery ends in exactly one way, in one step."""

    def test_done_is_gone(self, store: Store) -> None:
        deliveries = _fetch(store, 3)
        assert store.broker.settle([end(each) for each in deliveries]) == []
        assert store.broker.held("me") == []
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == []
        [told] = store.broker.stats(["q"])
        assert (told.ready, told.delayed or 0, told.leased) == (0, 0, 0)

    def test_a_turn_settles_and_fetches(self, store: Store) -> None:
        first = _fetch(store, 2)
        store.broker.send([message(body="next")])
        turn = store.broker.turn([end(each) for each in first], "me", ["q"], 10)
        assert (bodies(turn), turn.refused) == (["next"], [])
        assert [each.lease for each in store.broker.held("me")] == [turn.deliveries[0].lease]

    @pytest.mark.promise("D08")
    def test_result_and_follow_ups_come_with_the_end(self, store: Store, other: Store) -> None:
        # Given a delivery
        [delivery] = _fetch(store)
        # When it ends with a result, results of others, and messages to send
        settlement = end(
            delivery,
            result=document("t1", value=1),
            also=[document("t2", "FAILURE"), document("t3", "FAILURE")],
            follow=[message("q", "follow"), message("else", "elsewhere"), message("q", due=time.time() + 900)],
        )
        turn = store.broker.turn([settlement], "me", ["q"], 10)
        # Then everybody sees all of it
        assert bodies(turn) == ["follow"]
        assert set(other.results.get(["t1", "t2", "t3"])) == {"t1", "t2", "t3"}
        numbers = {each.name: (each.ready, each.delayed) for each in other.broker.stats()}
        assert numbers == {"q": (0, 1), "else": (1, 0)}

    def test_follow_ups_of_one_turn_keep_their_order(self, store: Store) -> None:
        deliveries = _fetch(store, 3)
        settlements = [
            end(each, follow=[message(body=f"{n}.{k}") for k in range(2)]) for n, each in enumerate(deliveries)
        ]
        store.broker.settle(settlements)
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]

    def test_again_is_the_next_to_be_fetched(self, store: Store) -> None:
        # Given two fetched messages, and others that wait
        first, second = _fetch(store, 2)
        store.broker.send([message(body="waiting")])
        # When the second is given back
        turn = store.broker.turn([end(second, Verdict.AGAIN)], "me", ["q"], 1)
        # Then it comes ahead of what waits, as a new delivery of the same message, charged nothing
        assert bodies(turn) == ["1"]
        assert turn.deliveries[0].lease.token > second.lease.token
        assert turn.deliveries[0].message == second.message
        assert (turn.deliveries[0].deliveries, turn.deliveries[0].suspect) == (0, False)
        assert store.broker.settle([end(first), end(turn.deliveries[0])]) == []

    def test_a_batch_given_back_keeps_its_order(self, store: Store) -> None:
        deliveries = _fetch(store, 5)
        store.broker.send([message(body="waiting")])
        store.broker.settle([end(each, Verdict.AGAIN) for each in deliveries])
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["0", "1", "2", "3", "4", "waiting"]

    def test_what_is_given_back_last_comes_first(self, store: Store) -> None:
        first, second = _fetch(store, 2)
        store.broker.settle([end(first, Verdict.AGAIN)])
        store.broker.settle([end(second, Verdict.AGAIN)])
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["1", "0"]

    def test_again_keeps_its_priority(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body="low", priority=0)])
        [low] = store.broker.turn([], "me", ["q"], 1).deliveries
        store.broker.send([message(body="high", priority=9)])
        store.broker.settle([end(low, Verdict.AGAIN)])
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["high", "low"]

    def test_again_after_a_delay_is_never_early(self, store: Store) -> None:
        [delivery] = _fetch(store)
        began = time.time()
        turn = store.broker.turn([end(delivery, Verdict.AGAIN, delay=0.3)], "me", ["q"], 1)
        assert turn.deliveries == []
        assert turn.next_due == pytest.approx(time.time() + 0.3, abs=5)
        while not (turn := store.broker.turn([], "me", ["q"], 10)).deliveries:
            assert time.time() < began + 10
        assert time.time() >= began + 0.298
        assert bodies(turn) == ["0"]

    def test_charges_add_up(self, store: Store) -> None:
        [delivery] = _fetch(store)
        charges = []
        for delay in (0.0, 0.05, 0.0):
            store.broker.settle([end(delivery, Verdict.AGAIN, charge=True, delay=delay)])

            def fetched() -> Delivery:
                turn = store.broker.turn([], "me", ["q"], 1)
                assert turn.deliveries
                return turn.deliveries[0]

            delivery = eventually(fetched)
            charges.append(delivery.deliveries)
        assert charges == [1, 2, 3]
        assert store.broker.held("me")[0].deliveries == 3

    def test_a_suspect_is_marked_and_its_neighbour_is_not(self, store: Store) -> None:
        first, second = _fetch(store, 2)
        store.broker.settle([end(first, Verdict.AGAIN, suspect=True), end(second, Verdict.AGAIN)])
        turn = store.broker.turn([], "me", ["q"], 2)
        assert [(each.suspect, each.deliveries) for each in turn.deliveries] == [(True, 0), (False, 0)]
        assert [each.suspect for each in store.broker.held("me")] == [True, False]

    def test_a_charge_does_not_outlive_its_message(self, store: Store) -> None:
        # Given a message that was charged and then done
        [delivery] = _fetch(store)
        assert delivery.message is not None
        store.broker.settle([end(delivery, Verdict.AGAIN, charge=True, suspect=True)])
        [again] = store.broker.turn([], "me", ["q"], 1).deliveries
        store.broker.settle([end(again)])
        # When the same is sent once more, then it is new
        store.broker.send([delivery.message])
        [new] = store.broker.turn([], "me", ["q"], 1).deliveries
        assert (new.deliveries, new.suspect) == (0, False)

    def test_again_can_bring_a_result(self, store: Store) -> None:
        [delivery] = _fetch(store)
        store.broker.settle([end(delivery, Verdict.AGAIN, delay=900, result=document("t", "RETRY"))])
        assert set(store.results.get(["t"])) == {"t"}
        assert [(each.ready, each.delayed, each.leased) for each in store.broker.stats(["q"])] == [(0, 1, 0)]

    def test_dead_goes_to_the_dead_letters_with_all_that_its_end_means(self, store: Store) -> None:
        [delivery] = _fetch(store)
        settlement = end(
            delivery,
            Verdict.DEAD,
            death=death(delivery),
            result=document("t", "FAILURE"),
            follow=[message(body="errback")],
        )
        turn = store.broker.turn([settlement], "me", ["q"], 10)
        assert bodies(turn) == ["errback"]
        assert set(store.results.get(["t"])) == {"t"}
        assert [each.message for each in store.broker.dead()] == [delivery.message]

    @pytest.mark.promise("D02")
    def test_a_repeated_settlement_is_refused_and_changes_nothing(self, store: Store) -> None:
        # Given a settlement that was applied
        [delivery] = _fetch(store)
        settlement = end(delivery, follow=[message(body="follow")])
        assert store.broker.settle([settlement]) == []
        # When it comes again, with more in it
        late = end(delivery, result=document("late"), follow=[message(body="again")])
        assert store.broker.settle([late]) == [delivery.lease]
        turn = store.broker.turn([late], "me", ["q"], 10)
        # Then nothing of it is applied
        assert turn.refused == [delivery.lease]
        assert bodies(turn) == ["follow"]
        assert store.results.get(["late"]) == {}

    @pytest.mark.parametrize("verdict", list(Verdict))
    def test_a_refused_settlement_of_any_verdict_changes_nothing(self, store: Store, verdict: Verdict) -> None:
        [delivery] = _fetch(store)
        store.broker.settle([end(delivery)])
        late = end(
            delivery,
            verdict,
            death=death(delivery),
            result=document("late"),
            also=[document("too")],
            follow=[message()],
        )
        assert store.broker.settle([late]) == [delivery.lease]
        assert store.results.get(["late", "too"]) == {}
        assert store.broker.dead() == []
        assert [(each.ready, each.delayed, each.leased) for each in store.broker.stats(["q"])] == [(0, 0, 0)]

    def test_twice_in_one_batch_is_applied_once(self, store: Store) -> None:
        [delivery] = _fetch(store)
        store.broker.settle([end(delivery, follow=[message(body="a")]), end(delivery, follow=[message(body="b")])])
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["a"]

    def test_refused_and_accepted_in_one_batch_do_not_mix(self, store: Store) -> None:
        first, second, third = _fetch(store, 3)
        store.broker.settle([end(second)])
        invented = Settlement(lease=Lease(owner="me", token=2**40))
        stranger = Settlement(lease=Lease(owner="stranger", token=third.lease.token))
        refused = store.broker.settle([end(first), end(second, follow=[message()]), end(third), invented, stranger])
        assert sorted((each.owner, each.token) for each in refused) == sorted(
            (each.owner, each.token) for each in (second.lease, invented.lease, stranger.lease)
        )
        assert store.broker.held("me") == []
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == []

    def test_anybody_may_settle_for_an_owner(self, store: Store, other: Store) -> None:
        [delivery] = _fetch(store)
        assert other.broker.settle([end(delivery)]) == []
        assert store.broker.held("me") == []

    def test_a_turn_may_settle_for_several_owners(self, store: Store) -> None:
        [first] = _fetch(store, owner="a")
        [second] = _fetch(store, owner="b")
        store.broker.open("c", worker="w", slots=1, lease=30)
        assert store.broker.turn([end(first), end(second)], "c", ["q"], 10).refused == []
        assert store.broker.held("a") == store.broker.held("b") == []

    @pytest.mark.promise("T11")
    def test_a_turn_of_a_lost_owner_does_nothing_at_all(self, store: Store) -> None:
        # Given an owner whose lease was taken over, with one settlement to bring
        [delivery] = _fetch(store, owner="late")
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body="waiting")])
        taken = store.broker.take_over("late", "me", 10, expired=False)
        # When it comes, then it hears that it is dead, and nothing of what it brought is done
        with pytest.raises(LeaseLost):
            store.broker.turn([end(delivery, result=document("late"), follow=[message()])], "late", ["q"], 10)
        assert store.results.get(["late"]) == {}
        assert bodies(store.broker.held("me")) == bodies(taken) == ["0"]
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["waiting"]

    def test_a_lost_owner_settles_nothing_in_a_turn_even_for_others(self, store: Store) -> None:
        [delivery] = _fetch(store)
        with pytest.raises(LeaseLost):
            store.broker.turn([end(delivery)], "nobody", ["q"], 0)
        assert [each.lease for each in store.broker.held("me")] == [delivery.lease]

    def test_a_turn_whose_answer_was_lost_can_be_repeated(self, store: Store) -> None:
        # Given a turn that happened, but whose answer nobody heard
        [delivery] = _fetch(store)
        store.broker.send([message(body="next"), message(body="after")])
        lost = store.broker.turn([end(delivery)], "me", ["q"], 1)
        # When it is repeated
        turn = store.broker.turn([end(delivery)], "me", ["q"], 1)
        # Then the settlement is refused, and held tells what the lost answer had brought
        assert turn.refused == [delivery.lease]
        assert bodies(turn) == ["after"]
        assert store.broker.held("me") == lost.deliveries + turn.deliveries

    def test_held_lists_in_the_order_of_tokens_and_changes_nothing(self, store: Store, other: Store) -> None:
        deliveries = _fetch(store, 4)
        assert other.broker.held("me") == deliveries
        assert store.broker.held("me") == deliveries
        assert store.broker.held("nobody") == []

    def test_a_lease_that_is_over_but_not_taken_over_can_still_be_settled(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=0.05)
        store.broker.send([message()])
        [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries

        def over() -> None:
            assert store.broker.owners()[0].remaining < 0

        eventually(over)
        assert store.broker.settle([end(delivery)]) == []

    def test_what_is_put_aside_waits_in_its_order_and_comes_home_as_it_was(self, store: Store, other: Store) -> None:
        if not store.features.parks:
            pytest.skip("a paused type goes back with a delay here")
        # Given the longest name that there is, and tasks that were fetched
        aside = parking_of("q" * 120, "t/%" * 15 + "ü")
        assert aside is not None
        assert parking_of("q" * 121, "t/%" * 15 + "ü") is None
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message("q" * 120, str(n), exchange="ex") for n in range(4)])
        fetched = store.broker.turn([], "me", ["q" * 120], 10).deliveries
        # When these are settled
        put = [
            end(each, follow=[parked(each.message, aside, named=not store.features.atomic)])
            for each in fetched
            if each.message is not None
        ]
        assert store.broker.settle(put) == []
        # Then they are there, in their order
        assert [(each.name, each.ready) for each in other.broker.stats([aside])] == [(aside, 4)]
        again = store.broker.turn([], "me", [aside], 10).deliveries
        assert bodies(again) == ["0", "1", "2", "3"]
        assert [each.message for each in map(at_home, again) if each.message is not None] == [
            msgspec.structs.replace(each.message, queue="q" * 120) for each in fetched if each.message is not None
        ]
        assert store.broker.settle([end(each) for each in again]) == []
        assert store.broker.purge([aside]) == 0
