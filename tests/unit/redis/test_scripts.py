"""The scripts: documented, bounded, and all or nothing."""

from __future__ import annotations

import gzip
import pickle
import threading
import time
from collections.abc import Callable

import msgspec
import pytest

from talo.stores.base import Death, ResultMeta, Settlement, Verdict
from talo.stores.redis import RedisStore, scripts
from tests.servers.redis import RedisServer, database_of
from tests.support import eventually
from tests.unit.redis.conftest import OpenStore
from tests.unit.redis.messages import document, message

#: A busy machine may need as long.
LONG = 60.0
ALL = [each for each in vars(scripts).values() if isinstance(each, scripts.Script)]


@pytest.mark.parametrize("script", ALL, ids=lambda script: script.name)
def test_the_head_says_what_a_script_takes_and_returns(script: scripts.Script) -> None:
    head = (scripts._FOLDER / f"{script.name}.lua").read_text().split("\n\n", 1)[0]
    assert all(line.startswith("--") for line in head.splitlines())
    assert "ARGV" in head
    assert "Returns" in head or "Returns" in (scripts._FOLDER / f"{script.name}.lua").read_text()


@pytest.mark.promise("T08")
def test_one_turn_makes_a_bounded_number_ready(store: RedisStore) -> None:
    # Given many more due messages than one turn makes ready
    store.broker.open("me", worker="w", slots=1, lease=60)
    _send_due_together(store, 2500)

    def some_are_due() -> None:
        assert store.broker.turn([], "me", ["q"], 1).deliveries

    eventually(some_are_due, LONG)
    # Then the rest waits for the next turn, and is counted as what it is
    assert [len(store.broker.peek("q", 5000, delayed=each)) for each in (False, True)] == [999, 1500]
    [numbers] = store.broker.stats(["q"])
    assert (numbers.ready, numbers.delayed, numbers.leased) == (2499, 0, 1)


def _send_due_together(store: RedisStore, count: int) -> None:
    """So many messages fall due at one time, which is later than the sending of the last, however long that takes."""
    for ahead in (2.0, 8.0, 32.0):
        store.broker.purge(["q"])
        due = time.time() + ahead
        store.broker.send([message(body=str(n), due=due) for n in range(count)])
        if store.broker.stats(["q"])[0].delayed == count:
            return
    raise AssertionError(f"{count} messages could not be sent in {ahead} s")


def test_messages_due_at_one_time_keep_the_order_of_sending(store: RedisStore) -> None:
    store.broker.open("me", worker="w", slots=1, lease=60)
    due = time.time() + 0.1
    store.broker.send([message(body=str(n), due=due) for n in range(50)])
    found: list[str] = []

    def all_came() -> None:
        turn = store.broker.turn([], "me", ["q"], 100)
        found.extend(each.message.body.decode() for each in turn.deliveries if each.message)
        assert found == [str(n) for n in range(50)]

    eventually(all_came)


def test_more_settlements_than_one_step_takes_are_all_settled(store: RedisStore) -> None:
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message() for _ in range(2500)])
    leases = [each.lease for _ in range(3) for each in store.broker.turn([], "me", ["q"], 1000).deliveries]
    assert len(leases) == 2500
    settlements = [Settlement(lease=lease) for lease in leases]
    assert store.broker.turn(settlements[:2200], "me", ["q"], 10).refused == []
    assert store.broker.settle(settlements) == leases[:2200]
    assert store.broker.held("me") == []


def test_a_purge_reaches_delayed_messages_behind_any_number_of_others(store: RedisStore) -> None:
    due = time.time() + 900
    store.broker.send([message("other", due=due) for _ in range(3000)] + [message("mine", due=due) for _ in range(20)])
    assert store.broker.purge(["mine"]) == 20
    numbers = {each.name: each.delayed for each in store.broker.stats()}
    assert numbers == {"mine": 0, "other": 3000}


def test_a_listing_looks_past_those_that_are_filtered_out(store: RedisStore) -> None:
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message("rare", "x")] + [message("common", str(n)) for n in range(450)])
    deliveries = store.broker.turn([], "me", ["rare", "common"], 500).deliveries
    store.broker.settle(
        [Settlement(lease=each.lease, verdict=Verdict.DEAD, death=Death(reason="failed")) for each in deliveries]
    )
    assert [each.queue for each in store.broker.dead(queue="rare")] == ["rare"]
    assert len(store.broker.dead(limit=1000)) == 451


@pytest.mark.promise("T02", "T07")
def test_of_many_turns_at_once_each_message_goes_to_one(redis_url: str, open_store: OpenStore) -> None:
    # Given messages that fall due, and others that are ready
    stores = [open_store(redis_url) for _ in range(6)]
    due = time.time() + 0.1
    stores[0].broker.send([message(body=str(n), due=due if n % 2 else None) for n in range(600)])
    found: list[list[str]] = [[] for _ in stores]

    def work(n: int) -> None:
        broker, owner, deadline = stores[n].broker, f"owner{n}", time.monotonic() + 20
        broker.open(owner, worker="w", slots=1, lease=60)
        settlements: list[Settlement] = []
        while sum(map(len, found)) < 600 and time.monotonic() < deadline:
            turn = broker.turn(settlements, owner, ["q"], 7)
            found[n] += [each.message.body.decode() for each in turn.deliveries if each.message]
            settlements = [Settlement(lease=each.lease) for each in turn.deliveries]

    # When six processes turn at once
    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # Then each came once
    assert sorted(int(body) for each in found for body in each) == list(range(600))


@pytest.mark.parametrize("wrap", [lambda payload: payload, lambda payload: b" " + payload], ids=["json", "odd json"])
def test_a_success_is_recognised_by_its_own_status_only(store: RedisStore, wrap: object) -> None:
    progress = document("t", "PROGRESS", {"status": "SUCCESS"})
    store.results.store([progress])
    retry = document("t", "RETRY")
    store.results.store([retry])
    assert store.results.get(["t"]) == {"t": retry.payload}


def _gzip(payload: bytes) -> bytes:
    return b"\0celery-compressed\0application/x-gzip\0" + gzip.compress(payload)


def _pickle(status: str) -> bytes:
    return pickle.dumps({"status": status, "result": {"status": "FAILURE"}, "task_id": "t"})


ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "json": lambda status: document("t", status).payload,
    "msgpack": lambda status: msgspec.msgpack.encode({"status": status, "result": None}),
    "pickle": _pickle,
    "yaml": lambda status: f"status: {status}\nresult: null\n".encode(),
    "gzip of json": lambda status: _gzip(document("t", status).payload),
    "gzip of pickle": lambda status: _gzip(_pickle(status)),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("late", ENCODINGS)
def test_a_success_of_any_encoding_is_kept(store: RedisStore, encoding: str, late: str) -> None:
    # Given a state on the way, and then a success
    for status in ("STARTED", "SUCCESS"):
        payload = ENCODINGS[encoding](status)
        store.results.store([ResultMeta(task_id="t", status=status, payload=payload, expires=60)])
        assert store.results.get(["t"]) == {"t": payload}
    # When a failure comes late, in whatever encoding
    failure = ENCODINGS[late]("FAILURE")
    store.results.store([ResultMeta(task_id="t", status="FAILURE", payload=failure, expires=60)])
    # Then the success stays, until it is forgotten
    assert store.results.get(["t"]) == {"t": payload}
    store.results.forget(["t"])
    store.results.store([ResultMeta(task_id="t", status="FAILURE", payload=failure, expires=60)])
    assert store.results.get(["t"]) == {"t": failure}


def test_what_was_answered_outlives_the_server(own_redis: RedisServer, open_store: OpenStore) -> None:
    # Given a lease, a delayed message, a result and a dead letter
    store = open_store(own_redis.url)
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message(body="1"), message(body="2"), message(due=time.time() + 900)])
    first, second = store.broker.turn([], "me", ["q"], 2).deliveries
    store.broker.settle(
        [Settlement(lease=first.lease, verdict=Verdict.DEAD, death=Death(reason="x"), result=document("t", "FAILURE"))]
    )
    # When the server is killed and comes back
    own_redis.kill()
    own_redis.start()
    store.close()
    # Then all of it is there
    assert store.broker.held("me") == [second]
    assert [each.message for each in store.broker.dead()] == [first.message]
    assert set(store.results.get(["t"])) == {"t"}
    [numbers] = store.broker.stats(["q"])
    assert (numbers.ready, numbers.delayed, numbers.leased) == (0, 1, 1)


def test_what_an_older_release_delayed_is_rescheduled(
    redis_server: RedisServer, redis_url: str, store: RedisStore
) -> None:
    # Given delayed messages, of which the index knows one: the others were delayed by a release that keeps none
    sent = [message(due=time.time() + 3600) for _ in range(2500)]
    store.broker.send(sent)
    redis_server.command("DEL", "talo:delayed:tasks", db=database_of(redis_url))
    known = message(due=time.time() + 3600)
    store.broker.send([known])
    ids = [str(each.id) for each in (sent[0], sent[1200], sent[-1], known)]
    # When some are given another time, then they are found, in the index or by a look at all
    assert store.broker.reschedule([*ids, "unknown"], time.time()) == set(ids)
    assert store.broker.stats(["q"])[0].ready == 4
    # And of those that are not delayed any more the index keeps none
    assert redis_server.command("HLEN", "talo:delayed:tasks", db=database_of(redis_url)) == b":0\r\n"


def test_the_index_of_delayed_tasks_keeps_none_that_is_not_delayed(
    redis_server: RedisServer, redis_url: str, store: RedisStore
) -> None:
    def indexed() -> int:
        return int(redis_server.command("HLEN", "talo:delayed:tasks", db=database_of(redis_url))[1:])

    store.broker.open("me", worker="w", slots=1, lease=60)
    far = time.time() + 3600
    store.broker.send([message(due=far), message(id="a", due=far), message(id="a", due=far), message("r", due=far)])
    assert indexed() == 3
    store.broker.purge(["r"])
    assert indexed() == 2
    # Of two messages of one task both are found
    assert store.broker.reschedule(["a"], time.time()) == {"a"}
    assert store.broker.reschedule(["a"], time.time()) == {"a"}
    assert indexed() == 1
    store.broker.undelay(lambda each: each, 10)
    assert indexed() == 0
    store.broker.send([message(due=time.time() + 0.5)])
    assert indexed() == 1

    def fell_due() -> None:
        store.broker.turn([], "me", ["q"], 10)
        assert indexed() == 0

    eventually(fell_due, LONG)
