"""Contract of groups: distinct members make one complete, and its continuation is sent once."""

from __future__ import annotations

import pytest

from talo.stores.base import Delivery, GroupPart, GroupRecord, Store, Verdict
from talo.testing.contract._support import ContractCase, bodies, document, end, message, race

__all__ = ["GroupContract"]


def _open(store: Store, size: int, group: str = "g", expires: float | None = 60.0) -> None:
    then = message("q", "then", id=f"then-{group}")
    store.results.open_groups([GroupRecord(id=group, size=size, then=then, plan=b"\0plan", expires=expires)])


def _part(member: str, index: int = 0, group: str = "g", payload: bytes = b"{}", grows: int = 0) -> GroupPart:
    return GroupPart(group=group, member=member, index=index, payload=payload, grows=grows)


def _fetch(store: Store, count: int, owner: str = "me") -> list[Delivery]:
    store.broker.open(owner, worker="w", slots=1, lease=30)
    store.broker.send([message(body=str(n)) for n in range(count)])
    return store.broker.turn([], owner, ["q"], count).deliveries


def _ready(store: Store) -> list[str]:
    store.broker.open("reader", worker="w", slots=1, lease=30)
    return bodies(store.broker.turn([], "reader", ["q"], 100))


class GroupContract(ContractCase):
    """A group is complete when each of its distinct members has ended; that sends its continuation, once."""

    @pytest.mark.promise("W02")
    def test_the_last_member_sends_the_continuation(self, store: Store) -> None:
        # Given a group of three, two of which have ended
        _open(store, 3)
        first, second, third = _fetch(store, 3)
        store.broker.settle([end(first, part=_part("a", 0)), end(second, part=_part("b", 1))])
        assert _ready(store) == []
        # When the third ends
        store.broker.settle([end(third, part=_part("c", 2))])
        # Then the continuation is there
        assert _ready(store) == ["then"]

    @pytest.mark.promise("W02")
    def test_a_member_counts_once_however_often_it_ends(self, store: Store) -> None:
        _open(store, 2)
        deliveries = _fetch(store, 4)
        members = ["a", "a", "b", "b"]
        for delivery, member in zip(deliveries[:2], members, strict=False):
            store.broker.settle([end(delivery, part=_part(member))])
        assert _ready(store) == []
        for delivery, member in zip(deliveries[2:], members[2:], strict=True):
            store.broker.settle([end(delivery, part=_part(member))])
        assert _ready(store) == ["then"]

    def test_the_first_part_of_a_member_is_the_one_that_counts(self, store: Store) -> None:
        _open(store, 2)
        one, two = _fetch(store, 2)
        store.broker.settle([end(one, part=_part("a", 0, payload=b"first"))])
        store.broker.settle([end(two, part=_part("a", 0, payload=b"second"))])
        assert store.results.group_parts("g") == [(0, b"first")]

    def test_parts_come_in_the_order_of_their_indexes(self, store: Store, other: Store) -> None:
        _open(store, 12)
        deliveries = _fetch(store, 12)
        settlements = [
            end(each, part=_part(f"m{n}", 11 - n, payload=b"\0\xff:%d" % n)) for n, each in enumerate(deliveries)
        ]
        store.broker.settle(settlements)
        assert other.results.group_parts("g") == [(11 - n, b"\0\xff:%d" % n) for n in reversed(range(12))]

    def test_a_refused_settlement_adds_no_part(self, store: Store) -> None:
        _open(store, 1)
        [delivery] = _fetch(store, 1)
        store.broker.settle([end(delivery)])
        assert store.broker.settle([end(delivery, part=_part("a"))]) == [delivery.lease]
        assert (store.results.group_parts("g"), _ready(store)) == ([], [])

    def test_a_part_comes_with_everything_else_of_its_settlement(self, store: Store) -> None:
        _open(store, 1)
        [delivery] = _fetch(store, 1)
        settlement = end(
            delivery,
            Verdict.DEAD,
            part=_part("a", payload=b"failed"),
            result=document("a", "FAILURE"),
            follow=[message(body="errback")],
        )
        turn = store.broker.turn([settlement], "me", ["q"], 10)
        assert sorted(bodies(turn)) == ["errback", "then"]
        assert set(store.results.get(["a"])) == {"a"}
        assert len(store.broker.dead()) == 1

    def test_members_that_end_together_in_one_turn_complete_it(self, store: Store) -> None:
        _open(store, 50)
        deliveries = _fetch(store, 50)
        settlements = [end(each, part=_part(str(n), n)) for n, each in enumerate(deliveries)]
        assert bodies(store.broker.turn(settlements, "me", ["q"], 10)) == ["then"]

    @pytest.mark.promise("W02")
    def test_racing_members_send_the_continuation_once(self, store: Store, other: Store) -> None:
        # Given members that are each held by two owners' worth of settlements
        _open(store, 20)
        deliveries = _fetch(store, 40)

        def settle(at: Store, start: int) -> None:
            for n, each in enumerate(deliveries[start::2]):
                at.broker.settle([end(each, part=_part(f"m{n}", n))])

        # When both settle at once
        race([lambda: settle(store, 0), lambda: settle(other, 1)])
        # Then one continuation is there
        assert _ready(store) == ["then"]

    @pytest.mark.promise("W02")
    def test_a_continuation_closes_its_group_once(self, store: Store) -> None:
        # Given a continuation that was delivered twice
        _open(store, 1)
        one, two = _fetch(store, 2)
        # When both end
        first = end(one, closes="g", follow=[message(body="body")], result=document("one"))
        second = end(two, closes="g", follow=[message(body="body")], result=document("two"), part=_part("x", group="h"))
        _open(store, 1, "h")
        assert store.broker.settle([first, second]) == []
        # Then one of them has an effect, and neither is held any more
        assert _ready(store) == ["body"]
        assert set(store.results.get(["one", "two"])) == {"one"}
        assert store.results.group_parts("h") == []
        assert store.broker.held("me") == []

    def test_the_step_of_a_chain_closes_once_though_nobody_opened_it(self, store: Store, other: Store) -> None:
        # Given the message of a step that is in its queue twice
        one, two, three = _fetch(store, 3)
        # When both copies end, and a step of another sending too
        assert store.broker.settle([end(one, closes="once:1:a", follow=[message(body="next")])]) == []
        second = end(
            two, Verdict.DEAD, closes="once:1:a", follow=[message(body="again")], result=document("a", "FAILURE")
        )
        assert other.broker.settle([second, end(three, closes="once:2:a", follow=[message(body="other")])]) == []
        # Then the first end counts: nothing of the second is sent, stored, or kept as dead
        assert sorted(_ready(store)) == ["next", "other"]
        assert (store.results.get(["a"]), store.broker.dead(), store.broker.held("me")) == ({}, [], [])

    def test_a_closed_group_takes_no_part_and_has_no_plan(self, store: Store) -> None:
        _open(store, 1)
        one, two = _fetch(store, 2)
        store.broker.settle([end(one, closes="g")])
        store.broker.settle([end(two, part=_part("a"))])
        assert (store.results.group_parts("g"), store.results.group_plans(["g"]), _ready(store)) == ([], {}, [])

    def test_a_part_of_an_unknown_group_is_nothing(self, store: Store) -> None:
        [delivery] = _fetch(store, 1)
        assert store.broker.settle([end(delivery, part=_part("a", group="nobody"))]) == []
        assert _ready(store) == []

    def test_plans_are_kept_as_they_are(self, store: Store, other: Store) -> None:
        records = [GroupRecord(id=f"p{n}", plan=b"\0\xff%d" % n, expires=60.0) for n in range(450)]
        store.results.open_groups(records)
        assert other.results.group_plans(["p0", "p449", "none"]) == {"p0": b"\0\xff0", "p449": b"\0\xff449"}
        store.results.close_groups(["p0"])
        assert set(store.results.group_plans(["p0", "p1"])) == {"p1"}

    def test_opening_again_begins_anew(self, store: Store) -> None:
        _open(store, 2)
        one, two, three = _fetch(store, 3)
        store.broker.settle([end(one, part=_part("a"))])
        _open(store, 2)
        store.broker.settle([end(two, part=_part("b"))])
        assert _ready(store) == []
        store.broker.settle([end(three, part=_part("a"))])
        assert _ready(store) == ["then"]

    def test_a_member_that_adds_members_makes_the_group_wait_for_them(self, store: Store) -> None:
        _open(store, 1)
        one, two = _fetch(store, 2)
        store.broker.settle([end(one, part=_part("a", 0, grows=1))])
        assert _ready(store) == []
        store.broker.settle([end(two, part=_part("b", 1))])
        assert _ready(store) == ["then"]

    def test_parts_from_elsewhere_are_answered_with_what_they_complete(self, store: Store) -> None:
        # Given a group whose messages are kept in another place
        _open(store, 2)
        assert store.results.add_parts([_part("a", 0)]) == []
        # When the last part is brought, and brought again because the answer was lost
        completed = store.results.add_parts([_part("b", 1)])
        repeated = store.results.add_parts([_part("b", 1), _part("a", 0)])
        # Then both times the continuation is answered, and never sent from here
        assert [each.body for each in completed] == [each.body for each in repeated] == [b"then"]
        assert completed[0].queue == "q"
        assert _ready(store) == []
