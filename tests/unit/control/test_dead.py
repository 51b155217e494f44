"""Replaying and dropping dead letters, on a real store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from talo.app.app import Talo
from talo.control.dead import DeadLetters, new_run
from talo.errors import MalformedMessage
from talo.stores.base import Broker, DeadLetter, Death, Settlement, Verdict
from talo.testing.clock import Clock
from talo.testing.local import LocalWorker
from talo.wire import serializers
from talo.wire.message import Message
from talo.wire.protocol import decode

JSON = serializers.accept(["json"])


@pytest.fixture
def app(tmp_path: Any) -> Iterator[Talo]:
    with Talo("dead", broker=f"sqlite:///{tmp_path / 'q.sqlite3'}", set_as_current=False) as made:
        yield made


@pytest.fixture
def talo_base_app() -> Talo:
    return Talo("kept", set_as_current=False)


def bury(broker: Broker) -> None:
    """Make a dead letter of everything that waits."""
    broker.open("digger", worker="digger@test", slots=1, lease=60)
    for delivery in broker.turn([], "digger", ["celery"], 1000).deliveries:
        message = delivery.message
        death = Death(reason="failed", text="no", task_id=message.id if message else None)
        broker.settle([Settlement(lease=delivery.lease, verdict=Verdict.DEAD, death=death)])
    broker.close_owner("digger")


def fetch(broker: Broker) -> list[Message]:
    broker.open("reader", worker="reader@test", slots=1, lease=60)
    return [d.message for d in broker.turn([], "reader", ["celery"], 1000).deliveries if d.message is not None]


def letter(message: Message | None, **death: Any) -> DeadLetter:
    return DeadLetter(
        id="1", queue="celery", death=Death(**{"reason": "failed", **death}), died=0.0, deliveries=3, message=message
    )


def test_a_new_run_is_the_same_call_under_a_new_id(app: Talo) -> None:
    # Given a call with everything that belongs to one attempt only
    old = app.prepare("some.task", [1], {"k": 2}, {"expires": 60, "retries": 2, "priority": 4, "countdown": 9})
    old.properties["delivery_tag"] = "the-old-one"
    # When
    new = new_run(letter(old), JSON)
    # Then
    assert new.id != old.id
    assert new.headers["replay_of"] == old.id
    assert (new.headers["retries"], new.headers["eta"], new.headers["expires"], new.due) == (0, None, None, None)
    assert not {"expiration", "delivery_tag"} & new.properties.keys()
    assert new.properties["correlation_id"] == new.headers["root_id"] == new.id
    assert (new.body, new.priority, new.queue) == (old.body, 4, "celery")
    assert decode(new, JSON).args == [1]


def test_headers_of_the_user_s_own_stay(app: Talo) -> None:
    old = app.prepare("some.task", [], {}, {"headers": {"tenant": "a"}})
    assert new_run(letter(old), JSON).headers["tenant"] == "a"


def test_a_run_inside_a_larger_tree_keeps_its_root(app: Talo) -> None:
    old = app.prepare("some.task", [], {}, {"root_id": "the-root", "parent_id": "the-parent"})
    new = new_run(letter(old), JSON)
    assert (new.headers["root_id"], new.headers["parent_id"]) == ("the-root", "the-parent")


def old_protocol(content_type: str = "application/json") -> Message:
    body = {"task": "some.task", "id": "old-1", "args": [1], "kwargs": {"k": 2}, "retries": 1}
    return Message(queue="celery", headers={}, body=json.dumps(body).encode(), content_type=content_type)


def test_a_message_of_protocol_1_becomes_one_of_protocol_2() -> None:
    new = new_run(letter(old_protocol()), JSON)
    call = decode(new, JSON)
    assert (call.task, call.args, call.kwargs, call.retries) == ("some.task", [1], {"k": 2}, 0)
    assert new.headers["replay_of"] == "old-1" != call.id


def test_a_body_that_the_app_does_not_accept_is_not_read() -> None:
    with pytest.raises(MalformedMessage, match="not among those that the app accepts"):
        new_run(letter(old_protocol("application/x-python-serialize")), JSON)


def test_bytes_that_make_no_message_cannot_be_replayed() -> None:
    with pytest.raises(MalformedMessage, match="not an envelope"):
        new_run(letter(None, reason="malformed", text="not an envelope"), JSON)


def test_all_letters_are_replayed_once(app: Talo) -> None:
    # Given more than one batch of them
    broker = app.store.broker
    old = [result.id for result in app.send_many([("some.task", (n,)) for n in range(250)])]
    bury(broker)
    letters = DeadLetters.of(app)
    # When
    told = list(letters.replay(letters.ids()))
    # Then
    assert {run.replay_of for run in told} == set(old)
    assert letters.list() == []
    assert {message.id for message in fetch(broker)} == {run.task_id for run in told}


def test_a_letter_is_replayed_once_however_often_it_is_named(app: Talo) -> None:
    # Given
    broker = app.store.broker
    app.send_task("some.task")
    bury(broker)
    letters = DeadLetters.of(app)
    ids = letters.ids()
    # When
    first, second = list(letters.replay(ids)), list(letters.replay(ids))
    # Then
    assert first[0].fault is None
    assert second[0].fault == "there is no such dead letter"
    assert len(fetch(broker)) == 1


def test_a_letter_that_somebody_takes_meanwhile_does_not_hold_up_the_others(app: Talo) -> None:
    # Given two letters that were read, one of which is gone when they are to be replaced
    broker = app.store.broker
    app.send_many([("some.task",), ("some.task",)])
    bury(broker)
    letters = DeadLetters.of(app)
    read = letters.list()
    gone = read[0].id

    class Late(DeadLetters):
        def get(self, ids: Any) -> Any:
            found = super().get(ids)
            broker.dead_replace([gone], [])
            return found

    # When
    told = {run.letter: run for run in Late.of(app).replay([each.id for each in read])}
    # Then
    assert told[gone].fault == "somebody else has replayed or dropped it"
    assert told[read[1].id].fault is None
    assert len(fetch(broker)) == 1


def test_dropping_deletes_for_good(app: Talo) -> None:
    # Given
    broker = app.store.broker
    app.send_many([("a.task",)] * 3 + [("b.task",)] * 2)
    bury(broker)
    letters = DeadLetters.of(app)
    # When
    dropped = letters.drop([*letters.ids(task="a.task"), "4711"])
    # Then
    assert dropped == 3
    assert len(letters.list()) == 2
    assert fetch(broker) == []


@pytest.mark.promise("M05")
def test_each_queue_keeps_its_letters_for_its_own_time(talo_app: Talo, talo_clock: Clock) -> None:
    # Given one queue that keeps them for a minute, one for ever, and the others for an hour
    settings = {"dead_letter_expires": 3600, "dead_letter_queue_expires": {"brief": "1m", "long": None}}

    @talo_app.task(name="fail", shared=False)
    def fail() -> None:
        raise ValueError("no")

    def kept_after(seconds: float) -> set[str]:
        talo_clock.advance(seconds)
        talo_app.backend.cleanup(100)
        return {letter.queue for letter in talo_app.store.broker.dead()}

    with talo_app.conf.overridden(**settings, task_queues=["brief", "long", "other"]):
        for queue in ("brief", "long", "other"):
            fail.apply_async(queue=queue)
        LocalWorker(talo_app).run_all()
        # When time passes, then each goes at its own
        assert kept_after(50) == {"brief", "long", "other"}
        assert kept_after(20) == {"long", "other"}
        assert kept_after(3600) == {"long"}
