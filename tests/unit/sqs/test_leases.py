"""Leases on SQS: visibility that is extended, ends, and comes too late; receptions that are counted."""

from __future__ import annotations

import time

import pytest

from talo.stores.base import Delivery, Settlement, Store, Verdict
from talo.stores.sqs import SqsStore, broker
from talo.testing.contract._support import bodies, document, end, message
from tests.support import eventually
from tests.unit.sqs.conftest import OpenStore


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A visibility may last a second only."""
    monkeypatch.setattr(broker, "_LEAST", 1)


def _fetch(store: SqsStore, owner: str, queue: str = "q", lease: float = 1) -> Delivery:
    store.broker.open(owner, worker="w", slots=1, lease=lease)

    def fetched() -> Delivery:
        deliveries = store.broker.turn([], owner, [queue], 1).deliveries
        assert deliveries
        return deliveries[0]

    return eventually(fetched, 20)


def test_a_visibility_is_extended_as_long_as_its_owner_is_renewed(open_store: OpenStore, side: Store) -> None:
    # Given a delivery whose visibility lasts a second, and an agent that renews its owner
    store, agent, elsewhere = open_store(side), open_store(side), open_store(side, "elsewhere")
    store.broker.send([message(body="long")])
    delivery = _fetch(store, "child")
    elsewhere.broker.open("other", worker="w", slots=1, lease=30)
    until = time.monotonic() + 3
    # When three of them have passed
    while time.monotonic() < until:
        assert agent.broker.renew(["child"], 1).gone == []
        # Then nobody else ever got it
        assert elsewhere.broker.turn([], "other", ["q"], 1).deliveries == []
    assert store.broker.settle([end(delivery)]) == []


def test_what_a_machine_held_comes_back_counted_and_suspect(open_store: OpenStore, side: Store) -> None:
    # Given a machine that received a message and was never heard of again
    lost, other = open_store(side, "lost"), open_store(side, "other")
    lost.broker.send([message(body="1")])
    _fetch(lost, "dead")
    # When its visibility has ended, then another machine gets it, with one reception to its account
    again = _fetch(other, "me", lease=30)
    assert (again.deliveries, again.suspect) == (1, True)
    # And what is charged besides is added to it
    other.broker.settle([end(again, Verdict.AGAIN, charge=True)])
    third = _fetch(other, "me", lease=30)
    assert (third.deliveries, third.suspect) == (2, True)


def test_who_comes_too_late_is_refused_and_changes_nothing(open_store: OpenStore, side: Store) -> None:
    # Given a delivery that went to another machine, because nobody renewed its owner
    late, other = open_store(side, "late"), open_store(side, "other")
    late.broker.send([message(body="1")])
    delivery = _fetch(late, "stopped")
    again = _fetch(other, "me", lease=30)
    # When its former owner settles
    settlement = end(delivery, result=document("late"), follow=[message("q", "follow")])
    refused = late.broker.settle([settlement])
    # Then it is refused if SQS says so; in any case the new one ends it well
    if refused:
        assert refused == [delivery.lease]
        assert side.results.get(["late"]) == {}
    assert other.broker.settle([end(again)]) == []


def test_a_lease_that_is_over_is_settled_if_nobody_got_it_meanwhile(open_store: OpenStore, side: Store) -> None:
    store = open_store(side)
    store.broker.send([message()])
    delivery = _fetch(store, "me", lease=30)
    store._ledger.extend([delivery.lease.token], time.monotonic() - 1)
    assert store.broker.settle([end(delivery, result=document("t"))]) == []
    assert set(side.results.get(["t"])) == {"t"}


def test_what_ran_out_of_time_is_not_taken_over(open_store: OpenStore, side: Store) -> None:
    store = open_store(side)
    store.broker.send([message(body="1")])
    delivery = _fetch(store, "dead", lease=30)
    store.broker.open("me", worker="w", slots=1, lease=30)
    store._ledger.extend([delivery.lease.token], time.monotonic() - 1)
    assert store.broker.take_over("dead", "me", 10, expired=False) == []
    assert [each.owner for each in store.broker.owners()] == ["me"]


def test_every_reception_counts_in_a_fifo_queue(open_store: OpenStore, side: Store) -> None:
    store = open_store(side)
    store.broker.send([message("q.fifo", body="1"), message("q.fifo", body="2")])
    first = _fetch(store, "me", "q.fifo", lease=30)
    store.broker.settle([end(first, Verdict.AGAIN)])
    again = _fetch(store, "me", "q.fifo", lease=30)
    assert (bodies([again]), again.deliveries) == (["1"], 1)


def test_what_a_poll_brought_and_nobody_fetched_is_given_back(open_store: OpenStore, side: Store) -> None:
    # Given a worker that was woken by a message and stops before it fetches
    store, other = open_store(side), open_store(side, "other")
    store.broker.open("me", worker="w", slots=1, lease=30)
    store.broker.send([message(body="1")])
    assert store.broker.wait(["q"], 10) is True
    store.close()
    # Then another gets it long before its visibility would end
    began = time.monotonic()
    delivery = _fetch(other, "other", lease=30)
    assert bodies([delivery]) == ["1"]
    assert time.monotonic() - began < 20


def test_a_settlement_that_breaks_off_can_be_repeated(
    open_store: OpenStore, side: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a settlement that breaks off at its last step
    store = open_store(side)
    store.broker.send([message()])
    delivery = _fetch(store, "me", lease=30)
    settlement = Settlement(lease=delivery.lease, result=document("t"), follow=[message("next", "follow")])
    delete = store.broker._delete
    monkeypatch.setattr(store.broker, "_delete", lambda _: (_ for _ in ()).throw(OSError))
    with pytest.raises(OSError):
        store.broker.settle([settlement])
    monkeypatch.setattr(store.broker, "_delete", delete)
    # When it is repeated, then it is done: a step twice, none never
    assert store.broker.settle([settlement]) == []
    assert store.broker.settle([settlement]) == [delivery.lease]
    assert set(side.results.get(["t"])) == {"t"}
    assert bodies(store.broker.turn([], "me", ["next"], 10)) == ["follow", "follow"]
    assert store.broker.turn([], "me", ["q"], 10).deliveries == []
