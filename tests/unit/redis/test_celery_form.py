"""What others find in Redis: Celery's own keys and envelopes, and Talo's own keys apart from them."""

from __future__ import annotations

import json
import time

import pytest

from talo.stores.base import Death, Settlement, Verdict
from talo.stores.redis import RedisStore
from tests.servers.redis import RedisServer, database_of
from tests.unit.redis.conftest import OpenStore
from tests.unit.redis.messages import document, message


class Raw:
    """The database beside the store."""

    def __init__(self, server: RedisServer, url: str) -> None:
        self.server = server
        self.db = database_of(url)

    def __call__(self, *words: str | bytes) -> bytes:
        return self.server.command(*words, db=self.db)

    def keys(self) -> set[bytes]:
        return {line for line in self("KEYS", "*").split(b"\r\n")[1:] if line and not line.startswith(b"$")}

    def keys_for_ever(self) -> set[bytes]:
        """Those without an expiry."""
        return {key for key in self.keys() if self("TTL", key) == b":-1\r\n"}


@pytest.fixture
def raw(redis_server: RedisServer, redis_url: str) -> Raw:
    return Raw(redis_server, redis_url)


@pytest.mark.parametrize(
    ("priority", "key"),
    [
        (0, b"q"),
        (2, b"q"),
        (3, b"q\x06\x163"),
        (5, b"q\x06\x163"),
        (6, b"q\x06\x166"),
        (9, b"q\x06\x169"),
        (99, b"q\x06\x169"),
    ],
)
def test_a_message_stands_in_the_list_of_its_priority_step(
    store: RedisStore, raw: Raw, priority: int, key: bytes
) -> None:
    store.broker.send([message(priority=priority)])
    assert raw("LLEN", key) == b":1\r\n"


def test_the_item_is_celerys_envelope(store: RedisStore, raw: Raw) -> None:
    sent = message(body="[[1], {}, {}]")
    store.broker.send([sent])
    item = json.loads(raw("LINDEX", "q", "0").split(b"\r\n")[1])
    assert item["headers"] == sent.headers
    assert item["content-type"] == "application/json"
    assert item["properties"]["body_encoding"] == "base64"
    assert item["properties"]["delivery_info"] == {"exchange": "", "routing_key": "q"}
    assert item["properties"]["delivery_tag"]


def test_foreign_tools_find_the_queue(store: RedisStore, raw: Raw) -> None:
    store.broker.send([message()])
    for key in ("_kombu.binding.q", "_kombu.binding_permanent.q"):
        assert raw("SMEMBERS", key) == b"*1\r\n$6\r\nq\x06\x16\x06\x16q\r\n"


def test_all_other_keys_are_talos_own(store: RedisStore, raw: Raw) -> None:
    # Given a store that has done everything once
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message(body="1"), message(body="2"), message(due=time.time() + 900)])
    first, second = store.broker.turn([], "me", ["q"], 2).deliveries
    store.broker.settle([Settlement(lease=first.lease, verdict=Verdict.DEAD, death=Death(reason="x"))])
    store.results.store([document("t")])
    store.results.store_group("g", b"{}", 60)
    store.locks.acquire("l", "me", 60)
    store.locks.mark("revoked", {"a": 60})
    # Then kombu's bookkeeping of the unacknowledged is untouched, and what is not Celery's begins with talo:
    own = {key for key in raw.keys() if not key.startswith(b"talo:")}
    assert own == {b"_kombu.binding.q", b"_kombu.binding_permanent.q", b"celery-task-meta-t", b"celery-taskset-meta-g"}
    assert store.broker.settle([Settlement(lease=second.lease)]) == []


@pytest.mark.one_server
def test_a_key_prefix_stands_in_front_of_everything(raw: Raw, redis_url: str, open_store: OpenStore) -> None:
    for prefix, results in (("pre:", "pre:"), ("app", "app_")):
        store = open_store(redis_url, keyprefix=prefix)
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message(), message(due=time.time() + 900)])
        store.broker.turn([], "me", ["q"], 1)
        store.results.store([document("t")])
        store.locks.mark("revoked", {"a": 60})
        assert f"{results}celery-task-meta-t".encode() in raw.keys()
        assert all(key.startswith(prefix.encode()) for key in raw.keys())
        raw("FLUSHDB")


@pytest.mark.promise("R03")
def test_a_result_expires_and_is_told_on_the_channel_of_its_name(store: RedisStore, raw: Raw) -> None:
    store.results.store([document("t", expires=100)])
    assert 90 < int(raw("TTL", "celery-task-meta-t")[1:]) <= 100
    store.results.store([document("u", expires=None)])
    assert raw("TTL", "celery-task-meta-u") == b":-1\r\n"


def test_a_result_that_celery_stores_ends_the_wait(store: RedisStore, raw: Raw) -> None:
    meta = document("t").payload
    raw("SETEX", "celery-task-meta-t", "60", meta)
    assert store.results.wait(["t"], 20) == {"t": meta}


def test_a_message_that_a_foreign_producer_pushes_is_fetched(store: RedisStore, raw: Raw) -> None:
    store.broker.open("me", worker="w", slots=1, lease=60)
    item = {
        "body": "W10=",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "t", "id": "x"},
        "properties": {"body_encoding": "base64", "delivery_tag": "tag", "priority": 4},
    }
    assert store.broker.turn([], "me", ["q"], 1).deliveries == []
    raw("LPUSH", b"q\x06\x163", json.dumps(item))
    assert store.broker.wait(["q"], 20) is True
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    assert delivery.message is not None
    assert (delivery.message.id, delivery.message.body, delivery.message.priority) == ("x", b"[]", 4)


def test_what_was_charged_is_still_an_envelope_for_others(store: RedisStore, raw: Raw) -> None:
    # Given a message that was charged and goes back to its queue
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message()])
    before = raw("LINDEX", "q", "0").split(b"\r\n")[1]
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    store.broker.settle([Settlement(lease=delivery.lease, verdict=Verdict.AGAIN, charge=True, suspect=True)])
    # Then its item says so in a member that others ignore, and is the same otherwise
    item = json.loads(raw("LINDEX", "q", "0").split(b"\r\n")[1])
    assert item.pop("talo") == [1, 1]
    assert item == json.loads(before)


@pytest.mark.promise("M07")
def test_nothing_is_left_behind_by_what_has_ended(store: RedisStore, raw: Raw) -> None:
    # Given every kind of ending, and owners that are gone
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message(body=str(n)) for n in range(4)] + [message(due=time.time() + 0.01)])
    found = store.broker.turn([], "me", ["q"], 4).deliveries
    store.broker.settle([Settlement(lease=each.lease, verdict=Verdict.AGAIN, charge=True) for each in found[:3]])
    found[:3] = store.broker.turn([], "me", ["q"], 3).deliveries
    store.broker.settle([Settlement(lease=each.lease, verdict=Verdict(n % 3)) for n, each in enumerate(found)])
    store.broker.dead_replace([each.id for each in store.broker.dead()], [])
    deadline = time.monotonic() + 10
    left = 2
    while left and time.monotonic() < deadline:
        deliveries = store.broker.turn([], "me", ["q"], 10).deliveries
        left -= len(deliveries)
        store.broker.settle([Settlement(lease=each.lease) for each in deliveries])
    store.broker.close_owner("me")
    # Then only names of queues and the counter of tokens are left
    assert raw.keys() == {b"_kombu.binding.q", b"_kombu.binding_permanent.q", b"talo:queues", b"talo:token"}


@pytest.mark.promise("M07")
def test_nothing_of_workers_that_died_idle_stays_for_ever(store: RedisStore, raw: Raw) -> None:
    # Given workers that had work, and were killed while they had none
    for owner in ("one", "two"):
        store.broker.open(owner, worker="w", slots=1, lease=60)
    store.broker.send([message(), message()])
    deliveries = store.broker.turn([], "one", ["q"], 2).deliveries
    assert raw.keys_for_ever() >= {b"talo:owners", b"talo:owners:info", b"talo:owners:holding"}
    # As long as one holds something, no renewal lets it fade
    store.broker.settle([Settlement(lease=deliveries[0].lease)])
    store.broker.renew(["one", "two"], 60)
    assert raw.keys_for_ever() >= {b"talo:owners", b"talo:owners:info", b"talo:leases:one"}
    # When the last has ended, then everything but the names of queues and the counter has an end
    store.broker.settle([Settlement(lease=deliveries[1].lease)])
    store.broker.renew(["one", "two"], 60)
    assert raw.keys_for_ever() == {b"_kombu.binding.q", b"_kombu.binding_permanent.q", b"talo:queues", b"talo:token"}
    # And who leases again can be found again
    store.broker.send([message()])
    store.broker.open("three", worker="w", slots=1, lease=60)
    store.broker.turn([], "two", ["q"], 1)
    assert raw.keys_for_ever() >= {b"talo:owners", b"talo:owners:info", b"talo:leases:two"}
    store.broker.take_over("two", "three", 10, expired=False)
    store.broker.renew(["one"], 60)
    assert raw.keys_for_ever() >= {b"talo:owners", b"talo:owners:info", b"talo:leases:three"}
