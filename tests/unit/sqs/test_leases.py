"""Leases on SQS: visibility that is extended, ends, and comes too late; receptions that are counted."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from talo.errors import StoreUnavailable
from talo.stores.base import Delivery, Settlement, Store, Verdict
from talo.stores.sqs import SqsStore, broker
from talo.testing.contract._support import bodies, document, end, message
from tests.chaos.kit import check
from tests.support import eventually
from tests.unit.sqs.conftest import OpenStore

#: Seconds of a lease that ends while a test waits, though not while a busy machine renews it.
_SHORT = 4.0


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
    # Given a delivery whose visibility lasts some seconds, and an agent that renews its owner
    store, agent, elsewhere = open_store(side), open_store(side), open_store(side, "elsewhere")
    store.broker.send([message(body="long")])
    delivery = _fetch(store, "child", lease=_SHORT)
    elsewhere.broker.open("other", worker="w", slots=1, lease=30)
    until = time.monotonic() + 2 * _SHORT
    # When two of them have passed
    while time.monotonic() < until:
        assert agent.broker.renew(["child"], _SHORT).gone == []
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


def test_a_fifo_queue_charges_only_what_is_a_charge(open_store: OpenStore, side: Store) -> None:
    # Given a message that keeps its place when it goes back, so that SQS counts each reception
    store, other = open_store(side), open_store(side, "other")
    store.broker.send([message("q.fifo", body="1"), message("q.fifo", body="2")])
    # When it goes back at once, again and again, on several machines
    for machine, owner in ((store, "me"), (other, "other")) * 2:
        delivery = _fetch(machine, owner, "q.fifo", lease=30)
        # Then it is the first to come, and charged nothing
        assert (bodies([delivery]), delivery.deliveries, delivery.suspect) == (["1"], 0, False)
        assert machine.broker.settle([end(delivery, Verdict.AGAIN)]) == []
    # And what is charged stays charged
    store.broker.settle([end(_fetch(store, "me", "q.fifo", lease=30), Verdict.AGAIN, charge=True, suspect=True)])
    other.broker.settle([end(_fetch(other, "other", "q.fifo", lease=30), Verdict.AGAIN)])
    last = _fetch(store, "me", "q.fifo", lease=30)
    assert (bodies([last]), last.deliveries, last.suspect) == (["1"], 1, True)
    # Nothing is left of it when it has ended
    name = f"talo.sqs.receptions/{store._ledger.held('me')[0].message}"
    assert set(side.results.get([name])) == {name}
    store.broker.settle([end(last)])
    assert side.results.get([name]) == {}


def test_what_a_machine_held_of_a_fifo_queue_is_charged_besides(open_store: OpenStore, side: Store) -> None:
    lost, other = open_store(side, "lost"), open_store(side, "other")
    lost.broker.send([message("q.fifo", body="1")])
    lost.broker.settle([end(_fetch(lost, "dead", "q.fifo"), Verdict.AGAIN)])
    _fetch(lost, "dead", "q.fifo")
    # When the visibility of what it received last has ended, then that alone is a charge
    again = _fetch(other, "me", "q.fifo", lease=30)
    assert (again.deliveries, again.suspect) == (1, True)


def test_a_message_of_a_fifo_queue_is_charged_nothing_when_its_holder_is_taken_over(
    open_store: OpenStore, side: Store
) -> None:
    # Given what somebody fetched who died before it began, more than once
    store = open_store(side)
    store.broker.send([message("q.fifo", body="1")])
    for n in range(2):
        _fetch(store, f"dead{n}", "q.fifo", lease=30)
        store.broker.open("agent", worker="w", slots=1, lease=30)
        [taken] = store.broker.take_over(f"dead{n}", "agent", 10, expired=False)
        store.broker.settle([end(taken, Verdict.AGAIN)])
    again = _fetch(store, "me", "q.fifo", lease=30)
    assert (again.deliveries, again.suspect) == (0, False)


def test_what_goes_back_for_longer_than_sqs_delays_is_charged_nothing(open_store: OpenStore, side: Store) -> None:
    # Given a message that is made to wait longer than a delay may be, by its visibility
    store = open_store(side)
    store.broker.send([message(body="1")])
    delivery = _fetch(store, "me", lease=30)
    [held] = store._ledger.held("me")
    store.broker.settle([end(delivery, Verdict.AGAIN, delay=2000)])
    # When that is over
    store.broker._hide([(held, 0)])
    again = _fetch(store, "me", lease=30)
    assert (again.deliveries, again.suspect) == (0, False)


def test_without_a_side_store_every_reception_counts_in_a_fifo_queue(open_store: OpenStore) -> None:
    store = open_store(None)
    store.broker.send([message("q.fifo", body="1"), message("q.fifo", body="2")])
    store.broker.settle([end(_fetch(store, "me", "q.fifo", lease=30), Verdict.AGAIN)])
    again = _fetch(store, "me", "q.fifo", lease=30)
    assert (bodies([again]), again.deliveries) == (["1"], 1)


def test_a_ledger_of_an_earlier_release_is_used(open_store: OpenStore, side: Store, tmp_path: Path) -> None:
    # Given the ledger that an earlier release has made, with something that is held
    with contextlib.closing(sqlite3.connect(tmp_path / "here.sqlite3", isolation_level=None)) as ledger:
        ledger.execute(
            "CREATE TABLE leases (token INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, queue TEXT NOT NULL, "
            "receipt TEXT NOT NULL, raw BLOB NOT NULL, deliveries INTEGER, suspect INTEGER, until REAL)"
        )
        row = ("old", "q", "1-receipt", b"{}", time.monotonic() + 60)
        statement = (
            "INSERT INTO leases (owner, queue, receipt, raw, deliveries, suspect, until) VALUES (?, ?, ?, ?, 0, 0, ?)"
        )
        ledger.execute(statement, row)
        store = open_store(side)
        # Then it is there
        assert [held.receipt for held in store._ledger.held("old")] == ["1-receipt"]
        # And the earlier release goes on with it
        ledger.execute(statement, row)
        assert len(store._ledger.held("old")) == 2


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


@pytest.mark.parametrize("came", ["while others are waited for", "before it was paused"])
def test_what_a_poll_brings_of_a_queue_that_is_paused_is_given_back_at_once(
    open_store: OpenStore, side: Store, came: str
) -> None:
    # Given a worker whose poll of a queue is under way, or has brought something, when the queue is paused
    store, other = open_store(side), open_store(side, "other")
    store.broker.open("me", worker="w", slots=1, lease=600)
    store.broker._began -= 600

    def polls() -> None:
        assert store.broker.wait(["q", "paused.fifo"], 0.2) is False
        assert "paused.fifo" in store.broker._poller._polling

    eventually(polls, 20)
    paused = message("paused.fifo", body="1")
    if came == "before it was paused":
        other.broker.send([paused])
        assert store.broker.wait(["q", "paused.fifo"], 20) is True
    # When it waits for its other queues
    assert store.broker.turn([], "me", ["q"], 10).deliveries == []
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(store.broker.wait, ["q"], 60)
        eventually(lambda: check(store.broker._poller._bells))
        if came != "before it was paused":
            other.broker.send([paused])
        # Then another gets it at once, and charged nothing
        delivery = _fetch(other, "other", "paused.fifo", lease=30)
        assert (bodies([delivery]), delivery.deliveries, delivery.suspect) == (["1"], 0, False)
        # And the one that waits was not woken by it
        assert not waiting.done()
        other.broker.send([message("q")])
        assert waiting.result(20) is True


def test_what_a_dead_process_is_given_is_invisible_only_while_others_may_have_died_with_it(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given processes that wait for messages, and have done so for a while
    monkeypatch.setattr(broker, "_LEAST", 5)
    asked: list[tuple[int, int]] = []
    for age in (0, 10, 30, 300):
        store = open_store()
        store.broker.open("me", worker="w", slots=1, lease=600)
        store.broker._began -= age
        queue = store.broker._queues.get("q")

        def note(params: dict[str, int], **_: object) -> None:
            asked.append((params["WaitTimeSeconds"], params["VisibilityTimeout"]))
            params["WaitTimeSeconds"] = 0

        queue.poller.meta.events.register("provide-client-params.sqs.ReceiveMessage", note)
        store.broker._poll(queue)
    # Then a young one polls shortly, an old one as long as it may, and no message would be given to two polls
    assert asked == [(1, 5), (2, 5), (7, 7), (20, 20)]


def test_what_came_to_nobody_is_soon_another_ones(open_store: OpenStore, side: Store) -> None:
    # Given a poll whose process dies when SQS has answered
    dead, other = open_store(side), open_store(side, "other")
    dead.broker.open("dead", worker="w", slots=1, lease=600)
    dead.broker.send([message(body="1")])
    queue = dead.broker._queues.get("q")

    def die(**_: object) -> None:
        raise StoreUnavailable("dead")

    queue.client.meta.events.register("before-send.sqs.ChangeMessageVisibilityBatch", die)
    with pytest.raises(StoreUnavailable):
        dead.broker._poll(queue)
    # Then another one gets it long before the lease of the dead one would end
    delivery = _fetch(other, "other", lease=30)
    assert (bodies([delivery]), delivery.deliveries) == (["1"], 1)


def test_what_a_poll_brought_is_kept_for_who_waited(open_store: OpenStore, side: Store) -> None:
    # Given somebody young who was woken by a message
    store, other = open_store(side), open_store(side, "other")
    store.broker.open("me", worker="w", slots=1, lease=600)
    other.broker.open("other", worker="w", slots=1, lease=30)
    store.broker.send([message(body="1")])
    assert store.broker.wait(["q"], 20) is True
    # When he comes late for it
    until = time.monotonic() + 3
    while time.monotonic() < until:
        # Then nobody else ever got it
        assert other.broker.turn([], "other", ["q"], 1).deliveries == []
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    assert store.broker.settle([end(delivery)]) == []


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
