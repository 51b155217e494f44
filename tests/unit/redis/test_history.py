"""History on Redis: chunks that fill up, and that nothing is left without an expiry."""

from __future__ import annotations

import time
from typing import Any

import pytest

from talo.stores.base import Settlement
from talo.stores.history import RunQuery, RunRecord
from talo.stores.redis import RedisStore
from talo.stores.redis.history import RedisHistory
from tests.servers.redis import RedisServer, database_of
from tests.unit.redis.messages import message


def run(number: int, **fields: Any) -> RunRecord:
    usual = {
        "name": f"t{number % 3}",
        "queue": "q",
        "state": "FAILURE" if number % 5 == 0 else "SUCCESS",
        "keep": 900.0,
    }
    error = {"error": f"ValueError: {number}", "fingerprint": f"f{number % 2}"} if number % 5 == 0 else {}
    ended = time.time() - 600 + number
    return RunRecord(id=f"id{number}", worker="w", **{**usual, "ended": ended, "seconds": 0.1, **error, **fields})


@pytest.fixture
def history(store: RedisStore) -> RedisHistory:
    """With chunks so small that a test fills some."""
    assert isinstance(store.history, RedisHistory)
    store.history.chunk = store.broker.chunk = 16
    return store.history


def settle(store: RedisStore, runs: list[RunRecord]) -> None:
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message() for _ in runs])
    deliveries = store.broker.turn([], "me", ["q"], len(runs)).deliveries
    store.broker.settle([Settlement(lease=d.lease, run=each) for d, each in zip(deliveries, runs, strict=True)])


def test_a_search_goes_through_all_chunks(store: RedisStore, history: RedisHistory) -> None:
    for start in range(0, 200, 50):
        settle(store, [run(number) for number in range(start, start + 50)])
    assert len(history._chunks("ok", RunQuery())) == 10 and len(history._chunks("bad", RunQuery())) == 3
    found: list[str] = []
    page = history.runs(RunQuery(), 7)
    found += [each.id for each in page.runs]
    while page.cursor is not None:
        page = history.runs(RunQuery(), 7, page.cursor)
        found += [each.id for each in page.runs]
    assert found == [f"id{number}" for number in reversed(range(200))]
    assert [each.id for each in history.runs(RunQuery(name="t1"), 500).runs] == [
        f"id{number}" for number in reversed(range(200)) if number % 3 == 1
    ]
    assert history.count(RunQuery(name="t0")) == {
        "SUCCESS": sum(n % 3 == 0 and n % 5 != 0 for n in range(200)),
        "FAILURE": sum(n % 15 == 0 for n in range(200)),
    }
    assert sum(each.count for each in history.failures(0, 10)) == 40
    assert [each.state for each in history.attempts("id25")] == ["FAILURE"]


def test_the_oldest_successes_go_first_where_there_are_too_many(store: RedisStore, history: RedisHistory) -> None:
    settle(store, [run(number) for number in range(100)])
    assert history.trim(60, 1000) == 48
    assert history.count(RunQuery()) == {"SUCCESS": 32, "FAILURE": 20}
    # The chunks that are written to stay, however little is wanted.
    while history.trim(0, 1000):
        pass
    assert history.count(RunQuery()) == {"SUCCESS": 16, "FAILURE": 4}
    settle(store, [run(200)])
    assert len(history.attempts("id200")) == 1


def test_no_key_of_the_history_is_without_an_expiry(
    redis_server: RedisServer, redis_url: str, store: RedisStore, history: RedisHistory
) -> None:
    settle(store, [run(number, root="r", parent="r") for number in range(40)])
    history.forget(RunQuery(name="t1"))
    db = database_of(redis_url)
    found = [redis_server.command("KEYS", f"talo:{name}*", db=db) for name in ("runs", "counters")]
    ours = [key for reply in found for key in reply.split(b"\r\n")[2::2]]
    assert len(ours) > 20
    assert [key for key in ours if redis_server.command("TTL", key, db=db).startswith(b":-")] == []


def test_a_number_of_refused_settlements_is_not_counted(store: RedisStore, history: RedisHistory) -> None:
    # Given a batch of which every third is refused, with times of every size and none
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message() for _ in range(60)])
    deliveries = store.broker.turn([], "me", ["q"], 60).deliveries
    store.broker.settle([Settlement(lease=each.lease) for each in deliveries[::3]])
    times = [None, 0.0, 1e-6, 0.001, 0.5, 3.0, 1e5]
    runs = [run(n, seconds=times[n % 7], waited=times[(n + 1) % 7], name="t", ended=time.time()) for n in range(60)]
    batch = [Settlement(lease=d.lease, run=each) for d, each in zip(deliveries, runs, strict=True)]
    # When it is settled
    assert len(store.broker.settle(batch)) == 20
    # Then the counters are those of the others
    accepted = [each for n, each in enumerate(runs) if n % 3]
    found = history.counters(time.time() - 120, time.time() + 60, 60)
    assert sum(each.count for each in found) == 40
    assert sum(each.seconds for each in found) == pytest.approx(sum(each.seconds or 0 for each in accepted))
    assert sum(each.waited for each in found) == pytest.approx(sum(each.waited or 0 for each in accepted))
    assert sum(sum(each.run_buckets.values()) for each in found) == sum(each.seconds is not None for each in accepted)
    assert sum(sum(each.wait_buckets.values()) for each in found) == sum(each.waited is not None for each in accepted)
    assert history.count(RunQuery()) == {
        state: sum(each.state == state for each in accepted) for state in ("SUCCESS", "FAILURE")
    }
