"""What SQS cannot hold: late messages, dead letters and what schedules send stand in the side store."""

from __future__ import annotations

import time

import pytest

from talo.errors import NotSupported
from talo.stores.base import Store, Verdict
from talo.stores.schedules import Change, Plan
from talo.stores.sqs import SqsStore
from talo.stores.sqs.shelf import Shelf
from talo.testing.contract._support import bodies, death, document, end, message
from tests.support import eventually
from tests.unit.sqs.conftest import OpenStore


def _ready(store: SqsStore, queue: str = "q") -> list[str]:
    store.broker.open("reader", worker="w", slots=1, lease=30)
    return bodies(store.broker.turn([], "reader", [queue], 10))


def _gets(store: SqsStore, expected: list[str], queue: str = "q") -> None:
    found: list[str] = []

    def all_came() -> None:
        found.extend(_ready(store, queue))
        assert sorted(found) == expected

    eventually(all_came, 30, 0.05)


def test_what_is_due_after_a_quarter_of_an_hour_waits_in_the_side_store(open_store: OpenStore, side: Store) -> None:
    store = open_store(side)
    store.broker.send([message(body="soon", due=time.time() + 800), message(body="late", due=time.time() + 1000)])
    assert [each.delayed for each in side.broker.stats()] == [1]
    [numbers] = store.broker.stats(["q"])
    assert (numbers.ready, numbers.delayed) == (0, 2)


def test_a_fifo_queue_has_no_delay_of_its_own(open_store: OpenStore, side: Store) -> None:
    store = open_store(side)
    store.broker.send([message("q.fifo", "late", due=time.time() + 1.5)])
    assert _ready(store, "q.fifo") == []
    _gets(store, ["late"], "q.fifo")


def test_whoever_turns_sends_what_is_due(open_store: OpenStore, side: Store) -> None:
    store, other = open_store(side), open_store(side)
    assert isinstance(store.broker.shelf, Shelf)
    store.broker.shelf.put([message(body=str(n), due=time.time() + 0.2) for n in range(3)])
    _gets(other, ["0", "1", "2"])
    assert sum(each.ready + each.delayed + each.leased for each in side.broker.stats()) == 0


def test_what_waits_there_is_given_another_time(open_store: OpenStore, side: Store) -> None:
    # Given a task due in an hour, one that SQS delays by itself, one that is ready, and one that has died
    store, other = open_store(side), open_store(side)
    store.broker.send([message(id="dying", body="dying")])
    store.broker.open("reader", worker="w", slots=1, lease=30)
    [dying] = store.broker.turn([], "reader", ["q"], 10).deliveries
    store.broker.settle([end(dying, Verdict.DEAD, death=death(dying))])
    later = time.time() + 3600
    store.broker.send([message(id="far", body="far", due=later), message(id="here", due=time.time() + 600)])
    store.broker.send([message("other", id="ready")])
    # When they are given another time, then the one on the shelf is, and comes without a look of a worker's
    assert other.broker.reschedule(["far", "here", "ready", "dying"], later + 3600) == {"far"}
    [queue] = [each.name for each in side.broker.stats() if each.delayed]
    [kept] = side.broker.peek(queue, 10, delayed=True)
    assert kept.due == pytest.approx(later + 3600, abs=0.1)
    assert other.broker.reschedule(["far", "here", "ready", "dying"], time.time()) == {"far"}
    _gets(store, ["far"])
    assert [letter.death.task_id for letter in store.broker.dead()] == ["dying"]


def test_without_a_side_store_nothing_is_given_another_time(open_store: OpenStore) -> None:
    store = open_store(None)
    assert not store.features.reschedules
    with pytest.raises(NotSupported):
        store.broker.reschedule(["a"], time.time())


def test_what_a_dead_promoter_held_is_promoted_by_another(open_store: OpenStore, side: Store) -> None:
    # Given a promoter that died between taking what was due and sending it
    store, other = open_store(side), open_store(side)
    assert isinstance(store.broker.shelf, Shelf)
    store.broker.shelf.put([message(body="1")])
    [queue] = [each.name for each in side.broker.stats()]
    prefix = queue.removeprefix("talo.sqs.due/").removesuffix("q")
    dead = f"talo.sqs/{prefix}/dead"
    side.broker.open(dead, worker="talo.sqs", slots=0, lease=0.05)
    assert bodies(side.broker.turn([], dead, [queue], 1)) == ["1"]
    eventually(lambda: _check(side.broker.owners()[0].remaining < 0))
    # When another one looks, then it comes all the same
    _gets(other, ["1"])


@pytest.mark.parametrize("name", ["o-{prefix}", "{prefix}more-"], ids=["another", "a longer one"])
def test_what_a_promoter_of_another_prefix_held_is_left_to_its_own(
    name: str, open_store: OpenStore, side: Store, prefix: str
) -> None:
    # Given two prefixes on one side store, and a promoter of one that died with a message in its hands
    theirs = name.format(prefix=prefix)
    other = open_store(side, queue_name_prefix=theirs)
    assert isinstance(other.broker.shelf, Shelf)
    other.broker.shelf.put([message(body="theirs")])
    dead = f"talo.sqs/{theirs}/dead"
    side.broker.open(dead, worker="talo.sqs", slots=0, lease=0.05)
    assert bodies(side.broker.turn([], dead, [f"talo.sqs.due/{theirs}q"], 1)) == ["theirs"]
    eventually(lambda: _check(side.broker.owners()[0].remaining < 0))
    # When the other one's looks, and sends what is its own
    ours = open_store(side)
    assert isinstance(ours.broker.shelf, Shelf)
    ours.broker.shelf.put([message(body="ours")])
    _gets(ours, ["ours"])
    # Then the dead one's message is still there, for whoever is of its prefix
    assert bodies(side.broker.held(dead)) == ["theirs"]
    _gets(other, ["theirs"])


def test_dead_letters_stand_in_the_side_store_as_they_were(open_store: OpenStore, side: Store) -> None:
    store = open_store(side)
    store.broker.open("me", worker="w", slots=1, lease=30)
    store.broker.send([message(body="x")])
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    store.broker.settle([end(delivery, Verdict.DEAD, death=death(delivery, "failed"), result=document("t", "FAILURE"))])
    [letter] = open_store(side).broker.dead()
    assert (letter.queue, letter.message) == ("q", delivery.message)
    # And dead letters of others in the same side store are not taken for ours
    side.broker.open("me", worker="w", slots=1, lease=30)
    side.broker.send([message("own")])
    [own] = side.broker.turn([], "me", ["own"], 1).deliveries
    side.broker.settle([end(own, Verdict.DEAD, death=death(own, "failed"))])
    assert [each.queue for each in store.broker.dead()] == ["q"]


def test_the_dead_are_safe_before_they_are_letters(
    open_store: OpenStore, side: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a process that dies after a dead message was put on the shelf
    store, other = open_store(side), open_store(side)
    store.broker.open("me", worker="w", slots=1, lease=30)
    store.broker.send([message(body="x")])
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    monkeypatch.setattr(Shelf, "look", lambda *_, **__: None)
    store.broker.settle([end(delivery, Verdict.DEAD, death=death(delivery, "failed"))])
    assert store.broker.dead() == []
    monkeypatch.undo()
    # When anybody else turns, then it is a dead letter
    assert _ready(other) == []
    assert [each.death.reason for each in other.broker.dead()] == ["failed"]


def test_a_tick_is_claimed_once_and_its_task_goes_to_sqs(open_store: OpenStore, side: Store) -> None:
    store, other = open_store(side), open_store(side)
    assert store.schedules is not None
    assert other.schedules is not None
    plan = Plan(name="p", definition=b"{}", since=0.0)
    change = Change(name="p", version=0, plan=plan, messages=[message(body="tick")])
    versions = store.schedules.change("s", [change]) + other.schedules.change("s", [change])
    assert sorted(version > 0 for version in versions) == [False, True]
    _gets(store, ["tick"])
    assert [each.name for each in other.schedules.read("s").changed] == ["p"]
    assert other.schedules.runs("s", "p", 10) == []


# -- without a side store --------------------------------------------------------------------------------------------


def test_without_a_side_store_messages_still_flow(open_store: OpenStore) -> None:
    store = open_store(None)
    features = store.features
    assert (features.results, features.locks, features.schedules, features.dead_letters) == (False,) * 4
    assert features.max_delay == 900
    store.broker.send([message(body="1")])
    store.broker.open("me", worker="w", slots=1, lease=30)
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    assert store.broker.settle([end(delivery, follow=[message(body="2")])]) == []
    assert bodies(store.broker.turn([], "me", ["q"], 1)) == ["2"]


def test_what_needs_a_side_store_is_refused_by_name(open_store: OpenStore) -> None:
    store = open_store(None)
    for role in ("results", "locks", "bus"):
        with pytest.raises(NotSupported, match="result_backend"):
            getattr(store, role)
    with pytest.raises(NotSupported, match="900 s"):
        store.broker.send([message(due=time.time() + 1000)])
    with pytest.raises(NotSupported, match="result_backend"):
        store.broker.dead_replace(["1"], [])


def _check(fact: object) -> None:
    assert fact
