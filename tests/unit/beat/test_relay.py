"""Schedules beside a broker that keeps none: what a tick sends arrives there, whoever dies on the way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pytest

from talo.errors import StoreError, StoreUnavailable
from talo.stores import carrier, relay
from talo.stores.base import Store
from talo.stores.relay import RelayedSchedules
from talo.stores.schedules import Change, Plan
from talo.stores.url import open_store
from talo.testing.contract._support import eventually, message
from talo.wire.message import COPY, Message

_serial = itertools.count()


class Broker:
    """A broker that takes what it is sent, unless it is away or refuses it."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.away = False
        self.refuses: bytes | None = None

    def send(self, messages: Sequence[Message]) -> None:
        if self.away:
            raise StoreUnavailable("away")
        if any(each.body == self.refuses for each in messages):
            raise StoreError("no queue takes it")
        self.sent += messages


@pytest.fixture
def keeper() -> Iterator[Store]:
    store = open_store(f"memory://relay-{next(_serial)}")
    yield store
    store.close()


@pytest.fixture
def broker() -> Broker:
    return Broker()


def claim(schedules: RelayedSchedules, *messages: Message, name: str = "p") -> list[int]:
    plan = Plan(name=name, definition=b"{}", since=1.0)
    return schedules.change("space", [Change(name=name, version=0, plan=plan, messages=messages)])


def test_what_a_tick_sends_arrives_as_it_was_made(keeper: Store, broker: Broker) -> None:
    schedules = RelayedSchedules(keeper, "amqp://here", broker.send)
    sent = message("reports", "body", priority=7, due=4_000_000_000.0, exchange="topics")
    sent.routing_key = "report.daily"
    assert claim(schedules, sent)[0] > 0
    [found] = broker.sent
    assert (found.queue, found.exchange, found.routing_key) == ("reports", "topics", "report.daily")
    assert (found.priority, found.due, found.body) == (7, 4_000_000_000.0, sent.body)
    # ... as a copy of its own, of which a worker runs the first
    assert found.headers == {**sent.headers, COPY: found.headers[COPY]}
    # And nothing stays behind
    assert [each for each in keeper.broker.stats() if each.ready or each.leased or each.delayed] == []


def test_who_loses_the_claim_sends_nothing(keeper: Store, broker: Broker) -> None:
    one, other = (RelayedSchedules(keeper, "amqp://here", broker.send) for _ in range(2))
    assert claim(one, message(body="first"))[0] > 0
    assert claim(other, message(body="second")) == [0]
    assert [each.body for each in broker.sent] == [b"first"]


def test_a_tick_that_was_claimed_while_the_broker_is_away_is_sent_once_it_is_back(
    keeper: Store, broker: Broker
) -> None:
    schedules = RelayedSchedules(keeper, "amqp://here", broker.send)
    broker.away = True
    with pytest.raises(StoreUnavailable):
        claim(schedules, message(body="tick"))
    version = schedules.read("space").version
    # Whoever reads on says that it is away, and then sends
    with pytest.raises(StoreUnavailable):
        schedules.read("space", version)
    broker.away = False
    schedules.read("space", version)
    schedules.read("space", version)
    assert [each.body for each in broker.sent] == [b"tick"]


def test_another_sends_what_a_dead_one_claimed(keeper: Store, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given one that died with what it had claimed in its hands
    monkeypatch.setattr(carrier, "LEASE", 0.1)
    monkeypatch.setattr(carrier, "REAP", 0.0)
    monkeypatch.setattr(relay, "_LOOK", 0.0)
    broker.away = True
    with pytest.raises(StoreUnavailable):
        claim(RelayedSchedules(keeper, "amqp://here", broker.send), message(body="tick"))
    broker.away = False
    # When others read on, those of another broker among them
    stranger = Broker()
    elsewhere = RelayedSchedules(keeper, "amqp://elsewhere", stranger.send)
    heir = RelayedSchedules(keeper, "amqp://here", broker.send)
    version = heir.read("space").version

    # Then it is sent, once, and to its own broker
    def arrived() -> list[bytes]:
        elsewhere.read("space", version)
        heir.read("space", version)
        assert broker.sent
        return [bytes(each.body) for each in broker.sent]

    assert eventually(arrived) == [b"tick"]
    assert stranger.sent == []


def test_what_the_broker_refuses_is_a_dead_letter_and_holds_up_nothing(keeper: Store, broker: Broker) -> None:
    schedules = RelayedSchedules(keeper, "amqp://here", broker.send)
    broker.refuses = b"bad"
    claim(schedules, message(body="one"), message(body="bad"), message(body="two"))
    assert [each.body for each in broker.sent] == [b"one", b"two"]
    [letter] = keeper.broker.dead()
    assert (letter.death.reason, letter.death.text) == ("rejected", "no queue takes it")
