"""A fetch begins where the last one found something: what stands before that is found all the same, and in time."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from talo.stores.base import Settlement, Store, Verdict
from talo.stores.sql import _fronts
from talo.stores.sql.broker import SqlBroker
from talo.stores.url import open_store
from talo.testing.contract._support import bodies, message


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    store = open_store(postgres_url)
    store.broker.open("me", worker="w", slots=1, lease=600)
    yield store
    store.close()


@pytest.fixture
def late(store: Store, postgres_url: str) -> None:
    """Of four messages two are fetched, and the last has since appeared before them, as of a sender that drew its
    number first and committed last."""
    store.broker.send([message(body=str(n)) for n in range(4)])
    assert bodies(store.broker.turn([], "me", ["q"], 2)) == ["0", "1"]
    with psycopg.connect(postgres_url) as server:
        server.execute("UPDATE talo_ready SET place = 0 WHERE place = (SELECT max(place) FROM talo_ready)")


@pytest.mark.usefixtures("late")
def test_what_appears_before_the_front_is_fetched_when_the_rest_is_at_its_end(store: Store) -> None:
    assert bodies(store.broker.turn([], "me", ["q"], 2)) == ["2"]
    assert bodies(store.broker.turn([], "me", ["q"], 2)) == ["3"]


@pytest.mark.usefixtures("late")
def test_what_appears_before_the_front_is_fetched_next_when_its_time_is_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = _fronts.monotonic()
    monkeypatch.setattr(_fronts, "monotonic", lambda: now + 60)
    assert bodies(store.broker.turn([], "me", ["q"], 2)) == ["3", "2"]


def test_what_another_process_gives_back_comes_before_the_front(store: Store, postgres_url: str) -> None:
    # Given a process that has fetched one, and another that has fetched the next and knows what stands first
    store.broker.send([message(body=str(n)) for n in range(5)])
    other = open_store(postgres_url)
    [held] = store.broker.turn([], "me", ["q"], 1).deliveries
    assert bodies(other.broker.turn([], "me", ["q"], 1)) == ["1"]
    # When the first gives back what it has, then the other's next fetch brings that
    store.broker.settle([Settlement(lease=held.lease, verdict=Verdict.AGAIN)])
    assert bodies(other.broker.turn([], "me", ["q"], 2)) == ["0", "2"]
    other.close()


def test_what_was_given_back_does_not_send_the_next_fetch_to_the_head(store: Store) -> None:
    # Given a process that knows where it found the first of many
    store.broker.send([message(body=str(n)) for n in range(5)])
    [held] = store.broker.turn([], "me", ["q"], 1).deliveries
    broker = store.broker
    assert isinstance(broker, SqlBroker)
    known = dict(broker._fronts._known)
    assert known
    # When it gives that back and fetches it again, then it still knows
    store.broker.settle([Settlement(lease=held.lease, verdict=Verdict.AGAIN)])
    assert bodies(store.broker.turn([], "me", ["q"], 1)) == ["0"]
    assert broker._fronts._known == known
    assert bodies(store.broker.turn([], "me", ["q"], 2)) == ["1", "2"]
