"""Contract of leases: owners, renewal, and taking over from the dead."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from talo.errors import LeaseLost
from talo.stores.base import Delivery, Store, Verdict
from talo.testing.contract._support import ContractCase, Place, bodies, document, end, eventually, message, race

__all__ = ["LeaseContract"]


def _fetch(store: Store, count: int, owner: str, lease: float = 30) -> list[Delivery]:
    store.broker.open(owner, worker=f"{owner}@host", slots=2, lease=lease)
    store.broker.send([message(body=str(n)) for n in range(count)])
    deliveries = store.broker.turn([], owner, ["q"], count).deliveries
    assert len(deliveries) == count
    return deliveries


def _names(store: Store) -> list[str]:
    return [each.owner for each in store.broker.owners()]


def _expired(store: Store, owner: str) -> Callable[[], None]:
    def over() -> None:
        assert any(each.owner == owner and each.remaining < 0 for each in store.broker.owners())

    return over


class LeaseContract(ContractCase):
    """Whose lease is over loses what it held, once, to one."""

    def test_owners_are_listed_with_what_is_known_of_them(self, store: Store, other: Store) -> None:
        _fetch(store, 3, "late", lease=500)
        store.broker.open("early", worker="e@host", slots=7, lease=50)
        early, late = other.broker.owners()
        assert (early.owner, early.worker, early.slots, early.held) == ("early", "e@host", 7, 0)
        assert (late.owner, late.worker, late.slots, late.held) == ("late", "late@host", 2, 3)
        assert 0 < early.remaining <= 50
        assert 400 < late.remaining <= 500

    def test_opening_again_renews_and_keeps_what_is_held(self, store: Store) -> None:
        deliveries = _fetch(store, 2, "me", lease=0.05)
        store.broker.open("me", worker="me@host", slots=2, lease=300)
        [owner] = store.broker.owners()
        assert (owner.remaining > 200, owner.held) == (True, 2)
        assert store.broker.held("me") == deliveries

    def test_renewing_sets_the_time_from_now(self, store: Store, other: Store) -> None:
        store.broker.open("a", worker="w", slots=1, lease=5)
        store.broker.open("b", worker="w", slots=1, lease=500)
        assert other.broker.renew(["a", "b"], 100).gone == []
        assert [50 < each.remaining <= 100 for each in store.broker.owners()] == [True, True]

    def test_renewing_tells_who_is_not_open(self, store: Store) -> None:
        store.broker.open("a", worker="w", slots=1, lease=30)
        assert sorted(store.broker.renew(["gone", "a", "never"], 30).gone) == ["gone", "never"]
        assert _names(store) == ["a"]
        assert store.broker.renew([], 30).gone == []

    @pytest.mark.promise("D02")
    def test_renewing_tells_when_the_first_lease_of_anybody_ends(self, store: Store, other: Store) -> None:
        store.broker.open("mine", worker="w", slots=1, lease=30)
        other.broker.open("theirs", worker="v", slots=1, lease=5)
        first = store.broker.renew(["mine"], 30).first_end
        assert first is not None and 0 < first <= 5
        # Of one whose lease is over it says so until somebody takes over
        other.broker.open("theirs", worker="v", slots=1, lease=0.05)
        eventually(_expired(store, "theirs"))
        first = store.broker.renew(["mine"], 30).first_end
        assert first is not None and first < 0
        store.broker.take_over("theirs", "mine", 10, expired=True)
        first = store.broker.renew(["mine"], 30).first_end
        assert first is not None and 5 < first <= 30

    def test_a_lease_that_is_over_but_not_taken_over_lives_on(self, store: Store) -> None:
        deliveries = _fetch(store, 1, "me", lease=0.05)
        eventually(_expired(store, "me"))
        assert store.broker.renew(["me"], 30).gone == []
        store.broker.open("reaper", worker="w", slots=1, lease=30)
        assert store.broker.take_over("me", "reaper", 10, expired=True) == []
        assert store.broker.held("me") == deliveries

    def test_an_owner_whose_lease_is_over_still_turns(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=0.05)
        eventually(_expired(store, "me"))
        store.broker.send([message(body="new")])
        assert bodies(store.broker.turn([], "me", ["q"], 1)) == ["new"]

    def test_closing_forgets_an_owner_that_holds_nothing(self, store: Store) -> None:
        [delivery] = _fetch(store, 1, "me")
        store.broker.settle([end(delivery)])
        store.broker.close_owner("me")
        assert store.broker.owners() == []
        with pytest.raises(LeaseLost):
            store.broker.turn([], "me", ["q"], 1)
        store.broker.close_owner("me")
        store.broker.close_owner("never")

    def test_closing_keeps_an_owner_that_holds_something(self, store: Store) -> None:
        deliveries = _fetch(store, 1, "me", lease=300)
        store.broker.close_owner("me")
        [owner] = store.broker.owners()
        assert (owner.owner, owner.held) == ("me", 1)
        assert owner.remaining > 200
        assert store.broker.settle([end(each) for each in deliveries]) == []

    def test_taking_over_moves_the_leases(self, store: Store, other: Store) -> None:
        # Given deliveries of an owner that died
        dead = _fetch(store, 3, "dead")
        other.broker.open("me", worker="w", slots=1, lease=30)
        # When another takes them over
        taken = other.broker.take_over("dead", "me", 10, expired=False)
        # Then they are its own, with the tokens that they had, and the dead is no owner any more
        assert [each.message for each in taken] == [each.message for each in dead]
        assert [each.former for each in taken] == [each.lease.token for each in dead]
        assert {each.lease.owner for each in taken} == {"me"}
        assert [each.lease for each in store.broker.held("me")] == [each.lease for each in taken]
        assert _names(store) == ["me"]
        assert store.broker.held("dead") == []

    @pytest.mark.promise("D02")
    def test_the_former_owner_has_no_say(self, store: Store) -> None:
        # Given a delivery that was taken over
        [delivery] = _fetch(store, 1, "late")
        store.broker.open("me", worker="w", slots=1, lease=30)
        [taken] = store.broker.take_over("late", "me", 10, expired=False)
        # When its former owner settles and renews
        late = end(delivery, result=document("late"), follow=[message(body="late")])
        assert store.broker.settle([late]) == [delivery.lease]
        assert store.broker.renew(["late"], 30).gone == ["late"]
        # Then nothing has changed, and the new owner settles
        assert store.results.get(["late"]) == {}
        assert store.broker.settle([end(taken, Verdict.AGAIN)]) == []
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["0"]

    @pytest.mark.promise("T03")
    def test_a_living_owner_is_not_taken_for_expired(self, store: Store) -> None:
        deliveries = _fetch(store, 2, "alive", lease=300)
        store.broker.open("reaper", worker="w", slots=1, lease=30)
        assert store.broker.take_over("alive", "reaper", 10, expired=True) == []
        assert store.broker.held("alive") == deliveries
        assert "alive" in _names(store)

    def test_an_expired_owner_is_taken_over(self, store: Store) -> None:
        _fetch(store, 2, "dead", lease=0.1)
        store.broker.open("reaper", worker="w", slots=1, lease=30)

        def taken() -> list[Delivery]:
            found = store.broker.take_over("dead", "reaper", 10, expired=True)
            assert found
            return found

        assert bodies(eventually(taken)) == ["0", "1"]
        assert _names(store) == ["reaper"]

    def test_an_expired_owner_that_holds_nothing_is_closed(self, store: Store) -> None:
        store.broker.open("dead", worker="w", slots=1, lease=0.05)
        store.broker.open("reaper", worker="w", slots=1, lease=30)
        eventually(_expired(store, "dead"))
        assert store.broker.take_over("dead", "reaper", 10, expired=True) == []
        assert _names(store) == ["reaper"]

    def test_large_holdings_are_taken_in_batches_oldest_first(self, store: Store) -> None:
        _fetch(store, 7, "dead")
        store.broker.open("me", worker="w", slots=1, lease=30)
        batches = [bodies(store.broker.take_over("dead", "me", 3, expired=False)) for _ in range(2)]
        assert "dead" in _names(store)
        batches.append(bodies(store.broker.take_over("dead", "me", 3, expired=False)))
        assert batches == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
        assert _names(store) == ["me"]
        assert store.broker.take_over("dead", "me", 3, expired=False) == []
        assert bodies(store.broker.held("me")) == [str(n) for n in range(7)]

    def test_what_was_taken_over_can_be_taken_over(self, store: Store) -> None:
        _fetch(store, 2, "a")
        store.broker.open("b", worker="w", slots=1, lease=30)
        store.broker.open("c", worker="w", slots=1, lease=30)
        first = store.broker.take_over("a", "b", 10, expired=False)
        second = store.broker.take_over("b", "c", 10, expired=False)
        assert [each.former for each in second] == [each.lease.token for each in first]
        assert bodies(second) == ["0", "1"]

    def test_charges_and_suspicion_survive_a_take_over(self, store: Store) -> None:
        [delivery] = _fetch(store, 1, "a")
        store.broker.settle([end(delivery, Verdict.AGAIN, charge=True, suspect=True)])
        store.broker.turn([], "a", ["q"], 1)
        store.broker.open("b", worker="w", slots=1, lease=30)
        [taken] = store.broker.take_over("a", "b", 10, expired=False)
        assert (taken.deliveries, taken.suspect) == (1, True)

    def test_taking_from_nobody_brings_nothing(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        assert store.broker.take_over("never", "me", 10, expired=True) == []
        assert store.broker.take_over("never", "me", 10, expired=False) == []

    @pytest.mark.promise("T02")
    def test_of_many_reapers_each_lease_goes_to_one(self, place: Place, store: Store) -> None:
        # Given an owner that is dead, and twenty that have seen it, each in a process of its own
        dead = _fetch(store, 120, "dead", lease=0.05)
        eventually(_expired(store, "dead"))
        reapers = [place.open() for _ in range(20)]
        for n, reaper in enumerate(reapers):
            reaper.broker.open(f"reaper{n}", worker="w", slots=1, lease=60)

        def reap(n: int) -> Callable[[], list[Delivery]]:
            def run() -> list[Delivery]:
                taken: list[Delivery] = []
                while batch := reapers[n].broker.take_over("dead", f"reaper{n}", 10, expired=True):
                    taken += batch
                return taken

            return run

        # When all reap at once
        taken = [each for batch in race([reap(n) for n in range(20)]) for each in batch]
        # Then every lease went to exactly one of them
        assert sorted(each.former or 0 for each in taken) == sorted(each.lease.token for each in dead)
        assert "dead" not in _names(store)
        assert sum(each.held for each in store.broker.owners()) == 120
