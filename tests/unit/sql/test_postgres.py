"""PostgreSQL beyond the contract: what is refused and how it is said, locks and deadlines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from talo.errors import AccessRefused, EncodeError, ImproperlyConfigured, StoreUnavailable, TaloError
from talo.stores.base import Store
from talo.stores.sql import SqlStore
from talo.stores.url import open_store
from talo.testing.contract._support import bodies, eventually, message
from tests.servers.postgres import PASSWORD, PostgresServer

#: Generous: what is tested is that it ends.
SOON = 20.0


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    store = open_store(postgres_url, timeout=SOON)
    store.ping(SOON)
    yield store
    store.close()


def refusal(url: str) -> Exception:
    """What is said of a URL."""
    with pytest.raises(TaloError) as caught:
        open_store(url, timeout=SOON).ping(SOON)
    return caught.value


def shows(server: PostgresServer, value: str) -> None:
    """Whether new connections are read-only by now."""
    assert server.run("SHOW default_transaction_read_only") == [(value,)]


# -- what is refused


def test_a_wrong_password_is_refused_in_one_line_without_it(postgres_server: PostgresServer) -> None:
    error = refusal(f"postgresql://talo:wr0ng@127.0.0.1:{postgres_server.port}/postgres")
    assert isinstance(error, AccessRefused)
    assert "refuses this user or password: check the URL" in str(error)
    assert "wr0ng" not in str(error)
    assert "\n" not in str(error)


def test_a_missing_database_is_named(postgres_server: PostgresServer) -> None:
    error = refusal(postgres_server.url_of("nowhere"))
    assert isinstance(error, ImproperlyConfigured)
    assert "/nowhere does not exist: create the database" in str(error)


def test_a_missing_privilege_says_what_to_grant(own_postgres: PostgresServer) -> None:
    own_postgres.run("CREATE ROLE clerk LOGIN PASSWORD 'x'")
    error = refusal(f"postgresql://clerk:x@127.0.0.1:{own_postgres.port}/postgres")
    assert isinstance(error, AccessRefused)
    assert "grant CREATE on the schema" in str(error)


def test_a_missing_schema_is_said(postgres_server: PostgresServer) -> None:
    error = refusal(postgres_server.url + "?options=-csearch_path%3Dnowhere")
    assert isinstance(error, ImproperlyConfigured)
    assert "search_path" in str(error)


def test_nobody_there_is_unavailable_in_one_line(postgres_server: PostgresServer) -> None:
    error = refusal(f"postgresql://talo:{PASSWORD.replace('/', '%2F')}@127.0.0.1:1/postgres")
    assert isinstance(error, StoreUnavailable)
    assert "\n" not in str(error)
    assert PASSWORD not in str(error)


@pytest.mark.parametrize("tail", ["?nonsense=1", "?max_connections=0"])
def test_a_url_that_cannot_be_read_is_refused_without_its_secret(tail: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        open_store(f"postgresql://user:s3cret@host{tail}")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_password_is_shown_nowhere(postgres_server: PostgresServer) -> None:
    store = open_store(postgres_server.url)
    assert isinstance(store, SqlStore)
    place = store.database
    assert all("hush" not in text for text in (store.url, repr(store), place.name, repr(place), repr(vars(place))))


def test_a_read_only_server_is_said_to_be_and_used_again_afterwards(own_postgres: PostgresServer) -> None:
    # Given a store whose server becomes read-only, as a replica is
    store = open_store(own_postgres.url, timeout=SOON)
    store.broker.send([message()])
    own_postgres.run("ALTER SYSTEM SET default_transaction_read_only = on")
    own_postgres.run("SELECT pg_reload_conf()")
    eventually(lambda: shows(own_postgres, "on"))
    own_postgres.end_connections()
    with pytest.raises(StoreUnavailable, match="is read-only"):
        store.broker.send([message()])
    # When it takes writes again
    own_postgres.run("ALTER SYSTEM RESET default_transaction_read_only")
    own_postgres.run("SELECT pg_reload_conf()")
    eventually(lambda: shows(own_postgres, "off"))
    # Then so does the store
    store.broker.send([message()])
    assert [each.ready for each in store.broker.stats()] == [2]
    store.close()


def test_text_that_it_cannot_keep_is_an_encode_error(store: Store) -> None:
    with pytest.raises(EncodeError, match="cannot keep a value"):
        store.broker.send([message(queue="nul\0")])
    store.broker.send([message(body="after")])
    assert [each.ready for each in store.broker.stats()] == [1]


# -- deadlines


def test_a_lock_that_others_hold_ends_a_verb_at_its_deadline_and_a_turn_passes_it_over(
    store: Store,
    postgres_url: str,
) -> None:
    impatient = open_store(postgres_url, timeout=0.5)
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message(body="held"), message(body="free")])
    assert isinstance(store, SqlStore)
    assert isinstance(impatient, SqlStore)

    def stall(tx: object) -> None:
        # Given a transaction that has taken a message and an owner, and stands still
        tx.rows("hold", "me")  # type: ignore[attr-defined]
        tx.rows("ready", "q", 0, 1, 0)  # type: ignore[attr-defined]
        impatient.broker.open("other", worker="w", slots=1, lease=60)
        # Then another's turn gets what is free at once, and only who wants the owner itself waits
        assert bodies(impatient.broker.turn([], "other", ["q"], 10)) == ["free"]
        with pytest.raises(StoreUnavailable, match=r"did not (end|answer) in time"):
            impatient.broker.take_over("me", "other", 10, expired=False)

    store.database.write(stall)
    impatient.close()
