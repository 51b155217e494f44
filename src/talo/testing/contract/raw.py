"""Contract of bytes that make no message, for stores whose queues can hold such."""

from __future__ import annotations

import pytest

from talo.stores.base import Store, Verdict
from talo.testing.contract._support import ContractCase, Place, bodies, death, end, message

__all__ = ["RawContract"]

_NONSENSE = [b"\x00\xff\xfe nonsense", b"", b"{}", b"[1, 2", b'{"body": 5}']


class RawContract(ContractCase):
    """Nonsense is delivered with its fault, delays nobody, and ends like anything else."""

    @pytest.mark.promise("D10")
    @pytest.mark.parametrize("raw", _NONSENSE, ids=range(len(_NONSENSE)))
    def test_what_cannot_be_decoded_is_delivered_with_its_fault(self, place: Place, store: Store, raw: bytes) -> None:
        # Given nonsense between two good messages
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body="before")])
        place.push_raw("q", raw)  # type: ignore[attr-defined]
        store.broker.send([message(body="after")])
        # When they are fetched
        before, bad, after = store.broker.turn([], "me", ["q"], 10).deliveries
        # Then the good ones are as ever, and the bad one carries its bytes and a reason
        assert bodies([before, after]) == ["before", "after"]
        assert (bad.message, bad.raw, bad.queue) == (None, raw, "q")
        word, _, text = (bad.fault or "").partition(": ")
        assert word.isidentifier() and text
        assert store.broker.held("me")[1].fault == bad.fault

    def test_it_becomes_a_dead_letter_with_its_bytes(self, place: Place, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=30)
        place.push_raw("q", b"\x01nonsense")  # type: ignore[attr-defined]
        [bad] = store.broker.turn([], "me", ["q"], 10).deliveries
        store.broker.settle([end(bad, Verdict.DEAD, death=death(reason="not_json", text=bad.fault or ""))])
        [letter] = store.broker.dead()
        assert (letter.message, letter.raw, letter.queue, letter.death.reason) == (
            None,
            b"\x01nonsense",
            "q",
            "not_json",
        )
        assert store.broker.dead_replace([letter.id], []) == 1

    @pytest.mark.promise("T09")
    def test_it_can_be_given_back_and_taken_over(self, place: Place, store: Store) -> None:
        store.broker.open("dead", worker="w", slots=1, lease=30)
        store.broker.open("me", worker="w", slots=1, lease=30)
        place.push_raw("q", b"\x01nonsense")  # type: ignore[attr-defined]
        store.broker.send([message(body="behind")])
        [bad, _] = store.broker.turn([], "dead", ["q"], 10).deliveries
        taken = store.broker.take_over("dead", "me", 10, expired=False)
        assert [(each.raw, bool(each.fault)) for each in taken] == [(b"\x01nonsense", True), (None, False)]
        assert taken[0].former == bad.lease.token
        assert store.broker.settle([end(taken[0], Verdict.AGAIN, charge=True), end(taken[1])]) == []
        [again] = store.broker.turn([], "me", ["q"], 10).deliveries
        assert (again.raw, again.deliveries) == (b"\x01nonsense", 1)
