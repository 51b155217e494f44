"""Delayed tasks of a broker that cannot reach them wait in another store, and arrive as they were sent."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import pytest

from talo.errors import ImproperlyConfigured, StoreUnavailable
from talo.stores.base import Broker, Store
from talo.stores.delays import Delays
from talo.stores.url import open_store
from talo.testing.contract._support import eventually, message
from talo.wire.message import Message
from tests.workers import client

_serial = itertools.count()


class Far:
    """A broker that takes what it is sent, unless it is away."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.away = False

    def send(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        del timeout
        if self.away:
            raise StoreUnavailable("away")
        self.sent += messages

    def begin_send(self, messages: Sequence[Message], *, timeout: float | None = None) -> Callable[[], None]:
        return lambda: self.send(messages, timeout=timeout)


@pytest.fixture
def keeper() -> Iterator[Store]:
    store = open_store(f"memory://delays-{next(_serial)}")
    yield store
    store.close()


@pytest.fixture
def far() -> Far:
    return Far()


@pytest.fixture
def delays(keeper: Store, far: Far) -> Delays:
    return Delays(keeper, "amqp://here", cast(Broker, far))


def test_only_what_is_due_later_is_kept(delays: Delays, far: Far, keeper: Store) -> None:
    now = time.time()
    delays.send([message(body="now"), message(body="soon", due=now + 1), message(body="later", due=now + 60)])
    assert [each.body for each in far.sent] == [b"now", b"soon"]
    assert delays.carry() == pytest.approx(now + 60, abs=1)
    assert [each.delayed for each in keeper.broker.stats()] == [1]


def test_what_falls_due_arrives_as_it_was_sent(delays: Delays, far: Far, keeper: Store) -> None:
    sent = message("reports", "body", id="a", priority=7, due=time.time() + 60, exchange="topics")
    sent.routing_key = "report.daily"
    delays.send([sent])
    now = time.time()
    assert delays.reschedule(["a", "unknown"], now) == {"a"}
    [found] = far.sent
    assert (found.queue, found.exchange, found.routing_key) == ("reports", "topics", "report.daily")
    assert (found.priority, found.due, found.body, found.properties) == (7, None, sent.body, sent.properties)
    # Its header says since when it could start
    assert found.headers == sent.timed(now).headers
    assert delays.reschedule(["a"], now) == set()
    assert [each for each in keeper.broker.stats() if each.ready or each.leased or each.delayed] == []


def test_another_time_holds_for_the_carriers_of_others(delays: Delays, far: Far, keeper: Store) -> None:
    other = Delays(keeper, "amqp://here", cast(Broker, far))
    delays.send([message(id="a", due=time.time() + 60)])
    due = time.time() + 0.3
    assert other.reschedule(["a"], due) == {"a"}
    assert far.sent == []

    def came() -> None:
        delays.carry()
        assert [each.id for each in far.sent] == ["a"]

    eventually(came)
    assert time.time() >= due


def test_while_the_broker_is_away_it_is_kept(delays: Delays, far: Far) -> None:
    delays.send([message(id="a", due=time.time() + 60)])
    far.away = True
    with pytest.raises(StoreUnavailable):
        delays.reschedule(["a"], time.time())
    far.away = False
    delays.carry()
    assert [each.id for each in far.sent] == ["a"]


def test_brokers_with_one_store_beside_them_keep_apart(delays: Delays, far: Far, keeper: Store) -> None:
    elsewhere = Delays(keeper, "amqp://there", cast(Broker, far))
    delays.send([message(id="a", due=time.time() + 60)])
    assert elsewhere.reschedule(["a"], time.time()) == set()
    elsewhere.carry()
    assert far.sent == []


def test_without_a_store_that_can_it_is_refused() -> None:
    app = client("amqp://localhost", "rpc://", broker_delays_in_result_backend=True)
    with app, pytest.raises(ImproperlyConfigured, match="broker_delays_in_result_backend"):
        app.send_task("any", countdown=60)


def test_a_broker_that_can_keeps_its_own() -> None:
    with client("memory://", None, broker_delays_in_result_backend=True) as app:
        result = app.send_task("any", countdown=60)
        assert app.delays is None
        assert result.reschedule(countdown=0)
