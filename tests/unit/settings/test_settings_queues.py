"""Queues and exchanges as applications declare them."""

from __future__ import annotations

import types

import pytest

from talo.wire.queues import Binding, Broadcast, Exchange, Queue, as_exchange, as_queue


def test_a_queue_takes_all_arguments_that_applications_know():
    queue = Queue(
        "q",
        exchange=Exchange("e", type="topic"),
        routing_key="k.#",
        queue_arguments={"x-queue-type": "quorum"},
        binding_arguments={"b": 1},
        consumer_arguments={"c": 1},
        durable=False,
        exclusive=True,
        auto_delete=False,
        no_ack=True,
        alias="other",
        bindings=[Binding(Exchange("f"), "g")],
        no_declare=True,
        expires=60,
        message_ttl=5,
        max_length=10,
        max_length_bytes=1000,
        max_priority=9,
    )
    assert queue.as_dict(recurse=True)["exchange"]["type"] == "topic"
    assert (queue.expires, queue.message_ttl, queue.max_length, queue.max_length_bytes, queue.max_priority) == (
        60.0,
        5.0,
        10,
        1000,
        9,
    )
    assert queue.auto_delete, "a queue of one connection goes with it"
    assert queue.bindings == [Binding("f", "g")]
    assert Queue("q", [Binding("f", "g")]).bindings == [Binding("f", "g")]


def test_queues_are_equal_by_their_fields():
    assert Queue("q", Exchange("e"), "k") == Queue("q", "e", "k")
    assert hash(Queue("q", Exchange("e"), "k")) == hash(Queue("q", "e", "k"))
    assert Queue("q") != Queue("q", max_priority=5)
    assert Queue("q") != "q"
    assert Exchange("e") != Exchange("e", type="fanout")
    assert Exchange("e") != "e"
    assert Binding("e", "k") != Binding("e", "j")
    assert Binding("e", "k") != "e"


def test_queues_and_exchanges_tell_what_they_are():
    assert repr(Queue("q", Exchange("e", type="topic"), "k.#")) == "<Queue q -> <Exchange e(topic)> -> k.#>"
    assert repr(Exchange("")) == "<Exchange ''(direct)>"
    assert repr(Binding("e", "k")) == "<Binding: e->k>"


def test_a_delivery_mode_may_be_a_word():
    assert Exchange("e", delivery_mode="transient").delivery_mode == 1
    assert Exchange("e", delivery_mode=2).delivery_mode == 2


def test_a_queue_may_be_named_or_described():
    assert as_queue("q") == Queue("q")
    assert as_queue(Queue("q")) == Queue("q")
    assert as_queue(
        {"name": "q", "exchange": "e", "exchange_type": "topic", "routing_key": "pub", "binding_key": "bk"}
    ) == Queue("q", Exchange("e", type="topic"), "bk")
    assert as_queue({"name": "q", "exchange": Exchange("e"), "max_priority": 3}) == Queue("q", "e", max_priority=3)
    assert Queue.from_dict("q", routing_key="k") == Queue("q", routing_key="k")
    assert as_queue({"name": "q", "queue_durable": False}).durable is False
    assert as_exchange({"name": "e", "type": "fanout"}) == Exchange("e", type="fanout")
    with pytest.raises(TypeError, match="no nmae"):
        as_queue({"nmae": "q"})
    for wrong in (5, None, object()):
        with pytest.raises(TypeError, match="not a queue"):
            as_queue(wrong)
    with pytest.raises(TypeError, match="not an exchange"):
        as_exchange(5)


def test_a_queue_of_another_library_is_read_by_its_attributes():
    exchange = types.SimpleNamespace(
        name="e",
        type="topic",
        arguments=None,
        durable=True,
        passive=False,
        auto_delete=False,
        delivery_mode=None,
        no_declare=False,
    )
    binding = types.SimpleNamespace(exchange=exchange, routing_key="b")
    foreign = types.SimpleNamespace(
        name="q",
        exchange=exchange,
        routing_key="k",
        queue_arguments={"x": 1},
        durable=True,
        bindings=[binding],
        max_priority=7,
    )
    assert as_queue(foreign) == Queue(
        "q",
        Exchange("e", type="topic"),
        "k",
        queue_arguments={"x": 1},
        max_priority=7,
        bindings=[Binding(Exchange("e", type="topic"), "b")],
    )


def test_a_broadcast_is_a_queue_of_its_reader_alone():
    one, two = Broadcast("news"), Broadcast("news")
    assert one.name != two.name
    assert one.name.startswith("bcast.")
    assert (one.exchange, one.alias, one.auto_delete) == (Exchange("news", type="fanout"), "news", True)
    assert Broadcast("news", queue="mine").name == "mine"
    assert Broadcast("news", queue="mine", unique=True).name.startswith("mine.")
