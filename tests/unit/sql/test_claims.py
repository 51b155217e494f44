"""What a fetch costs when much waits, is delayed or has ended, after as much again has come and gone.

A table that is a queue fills with dead rows. PostgreSQL says how many pages a fetch reads, which depends on no machine;
at the promised size a fetch is timed on every database.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from talo.stores.base import Settlement, Store
from talo.stores.sql import SqlStore
from talo.stores.sql.dialect import dialect, dollars
from talo.stores.url import open_store
from talo.testing.contract._support import document, end, message
from tests.chaos.kit import HANGS, SOAK, full

#: How many wait, how many have ended, and how many come and go.
MANY = full(1_000_000, 5_000)
#: The promise: seconds at the 99th percentile.
SOON = 0.010


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """The store of the database that the test names."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/talo.sqlite3"
    else:
        url = request.getfixturevalue(f"{request.param}_url")
    store = open_store(url, timeout=60)
    yield store
    store.close()


def filled(store: Store) -> None:
    """Much that waits, a tenth of it delayed, and as much that has ended."""
    for _ in range(0, MANY, 5_000):
        store.broker.send([message(body="x" * 100) for _ in range(5_000)])
        store.results.store([document(message().id or "", expires=86400) for _ in range(5_000)])
    for _ in range(0, MANY // 10, 500):
        store.broker.send([message(due=time.time() + 86400) for _ in range(500)])
    store.broker.open("me", worker="w", slots=1, lease=86400)


def churned(store: Store) -> None:
    """As many again have come and gone: whatever ends leaves a result, and another in its place."""
    settlements: list[Settlement] = []
    for _ in range(0, MANY, 500):
        turn = store.broker.turn(settlements, "me", ["q"], 500)
        settlements = [end(each, result=document("r"), follow=[message()]) for each in turn.deliveries]
    store.broker.settle(settlements)


def spans(store: Store, count: int) -> list[float]:
    """The seconds that each of so many fetches took, in ascending order."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
        found.append(time.perf_counter() - began)
        store.broker.settle([end(delivery)])
    return sorted(found)


def pages(store: Store) -> int:
    """The pages that fetching one message touches, by PostgreSQL's own count: the look before it, and the taking."""
    assert isinstance(store, SqlStore)
    queries = dialect("postgres", dollars).queries
    broker = store.broker
    front = broker._fronts._known["q", 0].place
    [glance], [ready] = queries["glance"], queries["ready"]
    looks = [
        (glance.text, ("'me'", "'{q}'::text[]")),
        (ready.text, ("'q'", "0", "1", str(front))),
    ]

    class Undo(Exception):
        pages = 0

    def work(tx: object) -> None:
        for text, values in looks:
            for at, value in enumerate(values, 1):
                text = text.replace(f"${at}", value)
            rows, _ = tx._link.run(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", ())  # type: ignore[attr-defined]
            plan = rows[0][0] if not isinstance(rows[0][0], str) else json.loads(rows[0][0])
            Undo.pages += int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])
        raise Undo

    with pytest.raises(Undo):
        store.database.write(work)
    return Undo.pages


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
@pytest.mark.parametrize("watched", [False, True], ids=["vacuumed", "with-an-old-snapshot"])
@pytest.mark.timeout(HANGS)
def test_dead_rows_do_not_slow_a_fetch(store: Store, postgres_url: str, watched: bool) -> None:
    # Given many that wait, are delayed and have ended
    filled(store)
    spans(store, 20)
    fresh = pages(store)
    with psycopg.connect(postgres_url) as old:
        if watched:
            # and somebody's transaction for which the server keeps every row that is deleted from now on
            old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            old.execute("SELECT count(*) FROM talo_owner")
        # When as many again have come and gone
        churned(store)
        spans(store, 20)
        # Then a fetch reads about as few pages as ever
        churn = pages(store)
        print(f"a fetch of one in {MANY} touches {churn} pages, before the churn {fresh}")
        assert churn < fresh + 20


@pytest.mark.soak
@pytest.mark.parametrize("store", ["postgres", "mariadb", "sqlite"], indirect=True)
@pytest.mark.timeout(HANGS)
def test_a_fetch_stays_fast_among_millions(store: Store) -> None:
    # Time is a promise about the reference machine: it is measured in the soak, not while others compete for it.
    if not SOAK:
        pytest.skip("a soak")
    filled(store)
    churned(store)
    found = spans(store, 1000)
    print(f"a fetch takes {found[500] * 1000:.2f} ms at the median, {found[990] * 1000:.2f} ms at the 99th percentile")
    assert found[990] < SOON, found[-20:]
