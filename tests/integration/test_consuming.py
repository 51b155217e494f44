"""Consuming by hand: Talo's consumer, and the real kombu's over Talo's connection, on stores of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest

from talo.app.app import Talo
from talo.compat.consuming import Consumer, ConsumerMixin
from talo.compat.message import Message, MessageStateError
from talo.compat.messaging import Connection, Producer
from talo.wire.queues import Exchange, Queue
from tests.support import eventually
from tests.workers import client

ORDERS = {
    "talo": Queue("orders", Exchange("orders", type="direct"), routing_key="order"),
    "kombu": kombu.Queue("orders", kombu.Exchange("orders", type="direct"), routing_key="order"),
}


@pytest.fixture(params=["sqlite", "redis", "rabbit"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Talo]:
    file = f"sqlite:///{tmp_path}/q.sqlite3"
    url = file if request.param == "sqlite" else request.getfixturevalue(f"{request.param}_url")
    with client(url, file if request.param == "rabbit" else None) as app:
        yield app


@pytest.fixture(params=["talo", "kombu"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def queue(kind: str) -> Any:
    return ORDERS[kind]


@pytest.fixture
def make(kind: str) -> Any:
    return {"talo": Consumer, "kombu": kombu.Consumer}[kind]


def publish(app: Talo, *bodies: Any, **options: Any) -> None:
    app.queues.add(ORDERS["talo"])
    for body in bodies:
        Producer(Connection(app=app)).publish(body, exchange="orders", routing_key="order", **options)


def take(connection: Connection, count: int = 1) -> None:
    for _ in range(count):
        connection.drain_events(timeout=20)


def is_empty(app: Talo) -> bool:
    return all(not (each.ready or each.leased) for each in app.store.broker.stats() if each.name == "orders")


def test_callbacks_get_bodies_in_order_and_what_is_acknowledged_is_gone(app: Talo, make: Any, queue: Any) -> None:
    # Given three messages that are no calls of tasks
    publish(app, {"n": 1}, {"n": 2}, {"n": 3}, headers={"from": "shop"})
    got: list[Any] = []

    def on_order(body: Any, message: Any) -> None:
        got.append((body["n"], message.headers["from"], message.delivery_info["routing_key"]))
        message.ack()

    # When they are consumed
    with Connection(app=app) as connection:
        with make(connection.channel(), queues=[queue], callbacks=[on_order], accept=["json"]):
            take(connection, 3)
        # Then each came once, and no more comes
        assert got == [(n, "shop", "order") for n in (1, 2, 3)]
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.1)
    eventually(lambda: _check(is_empty(app)), timeout=20)


def test_what_has_not_ended_goes_back_when_the_connection_is_released(app: Talo, make: Any, queue: Any) -> None:
    publish(app, 1, 2)
    held: list[Any] = []
    with Connection(app=app) as connection, make(connection.channel(), queues=[queue], on_message=held.append):
        take(connection, 2)
    assert [message.payload for message in held] == [1, 2]
    # Then somebody else gets them, in their order
    again: list[Any] = []
    with Connection(app=app) as connection:
        with make(connection.channel(), queues=[queue], no_ack=True, on_message=again.append):
            take(connection, 2)
    assert [message.payload for message in again] == [1, 2]
    eventually(lambda: _check(is_empty(app)), timeout=20)


def test_a_requeued_message_comes_again_and_a_rejected_one_is_a_dead_letter(app: Talo, make: Any, queue: Any) -> None:
    publish(app, "first")
    seen: list[Message] = []

    def once_more(body: Any, message: Message) -> None:
        del body
        seen.append(message)
        message.reject() if len(seen) > 1 else message.requeue()

    with Connection(app=app) as connection:
        with make(connection.channel(), queues=[queue], callbacks=[once_more]):
            take(connection, 2)
    assert [message.payload for message in seen] == ["first", "first"]
    [letter] = app.store.broker.dead()
    assert (letter.death.reason, letter.queue) == ("rejected", "orders")
    # And a message ends once
    with pytest.raises(MessageStateError):
        seen[0].ack()


def test_a_bounded_consumer_waits_until_one_of_its_messages_has_ended(app: Talo, make: Any, queue: Any) -> None:
    publish(app, 1, 2, 3)
    held: list[Any] = []
    with Connection(app=app) as connection:
        consumer = make(connection.channel(), queues=[queue], on_message=held.append)
        consumer.qos(prefetch_count=2)
        consumer.consume()
        take(connection, 2)
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.1)
        held[0].ack()
        take(connection)
    assert [message.payload for message in held] == [1, 2, 3]


def test_a_form_that_is_not_accepted_is_a_dead_letter_and_not_read(app: Talo) -> None:
    publish(
        app, b"cos\nsystem\n(S'false'\ntR.", content_type="application/x-python-serialize", content_encoding="binary"
    )
    got: list[Any] = []
    with Connection(app=app) as connection:
        with Consumer(connection, ORDERS["talo"], callbacks=[lambda body, message: got.append(body)], accept=["json"]):
            take(connection)
    assert got == []
    [letter] = app.store.broker.dead()
    assert "is not accepted here" in letter.death.text


def test_a_lease_is_renewed_while_a_message_is_held(app: Talo, make: Any, queue: Any) -> None:
    # Given a lease that is short
    app.conf.worker_lease = 1.0
    publish(app, 1)
    held: list[Any] = []
    with Connection(app=app) as connection, make(connection.channel(), queues=[queue], on_message=held.append):
        take(connection)
        # When it is held for longer
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=2.5)
        # Then nobody could take it over, and it can be ended
        assert [info.remaining > 0 for info in app.store.broker.owners()] == [True]
        held[0].ack()
    eventually(lambda: _check(is_empty(app)), timeout=20)


def test_a_program_of_its_own_runs_until_it_is_told_to_stop(app: Talo) -> None:
    publish(app, *range(5))

    class Program(ConsumerMixin):
        def __init__(self) -> None:
            self.connection = Connection(app=app)
            self.got: list[int] = []

        def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
            return [Consumer([ORDERS["talo"]], callbacks=[self.on_order], accept=["json"], prefetch_count=1)]

        def on_order(self, body: int, message: Message) -> None:
            self.got.append(body)
            message.ack()
            self.should_stop = body == 4

    program = Program()
    program.run()
    assert program.got == [0, 1, 2, 3, 4]


def _check(fact: bool) -> None:
    assert fact
