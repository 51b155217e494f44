"""Sends inside a transaction of the caller's own: a rollback means that they never were, a commit that they run."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
import sqlalchemy.orm
from psycopg.rows import dict_row

from talo import Talo, chain, chord, group
from talo.errors import ImproperlyConfigured, NotSupported
from tests.chaos.kit import full
from tests.servers.postgres import PostgresServer
from tests.workers import Worker, client

#: The promised size in a soak.
MANY = full(10_000, 300)


class Undo(Exception):
    """What a caller's own code raises."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/talo.sqlite3"


@pytest.fixture
def app(url: str) -> Iterator[Talo]:
    with client(url) as app:
        app.store.ping(10)
        yield app


def connect(url: str) -> Any:
    """A connection of the caller's own, as its library makes it."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute("PRAGMA synchronous = OFF")
        return contextlib.closing(connection)
    return psycopg.connect(url)


def waiting(app: Talo) -> dict[str, int]:
    """The messages that others see."""
    return {each.name: each.ready + each.delayed for each in app.store.broker.stats()}


def send(app: Talo, *arguments: Any, **options: Any) -> Any:
    return app.send_task("tests.apps.traced.burn", arguments or (0.0,), **options)


@pytest.mark.promise("D09")
def test_rollbacks_leave_nothing_and_commits_leave_all(url: str, app: Talo) -> None:
    with connect(url) as connection:
        for _ in range(MANY):
            with app.transaction(connection):
                send(app)
            connection.rollback()
        assert waiting(app) == {}
        for _ in range(MANY):
            with app.transaction(connection):
                send(app)
            connection.commit()
        assert waiting(app) == {"celery": MANY}


def test_nobody_sees_it_before_the_commit_and_the_caller_s_rows_share_its_fate(url: str, app: Talo) -> None:
    with connect(url) as connection:
        connection.execute("CREATE TABLE orders (id int)")
        connection.commit()
        # Given an order and its task in one transaction that fails
        with contextlib.suppress(Undo), app.transaction(connection):
            connection.execute("INSERT INTO orders VALUES (1)")
            send(app)
            raise Undo
        connection.rollback()
        # And one that does not
        with app.transaction(connection):
            connection.execute("INSERT INTO orders VALUES (2)")
            send(app)
            assert waiting(app) == {}
        connection.commit()
        # Then there is one of each
        assert [tuple(row) for row in connection.execute("SELECT id FROM orders").fetchall()] == [(2,)]
    assert waiting(app) == {"celery": 1}


def test_workflows_and_delayed_calls_go_with_it(url: str, app: Talo) -> None:
    burn = app.signature("tests.apps.traced.burn", (0.0,))
    with connect(url) as connection:
        for end, there in ((connection.rollback, 0), (connection.commit, 1)):
            with app.transaction(connection):
                head = chord([burn, burn], burn).apply_async()
                group([burn, burn, burn]).apply_async()
                chain(burn, burn).apply_async()
                burn.apply_async(countdown=60)
            end()
            # The chord's two, the group's three, the first of the chain, and the one that waits
            assert sum(waiting(app).values()) == 7 * there
            assert head is not None


def test_a_commit_runs_it(url: str, app: Talo, tmp_path: Path) -> None:
    with Worker(url, tmp_path, "-c", "1"), connect(url) as connection:
        with app.transaction(connection):
            result = send(app)
        connection.commit()
        result.get(timeout=60)
        assert result.successful()


def test_outside_of_it_sends_are_as_ever(url: str, app: Talo) -> None:
    with connect(url) as connection:
        with app.transaction(connection):
            send(app)
        connection.rollback()
        send(app)
    assert waiting(app) == {"celery": 1}


def test_another_coroutine_s_sends_are_its_own(postgres_url: str) -> None:
    async def main(app: Talo, connection: Any) -> None:
        inside, sent = asyncio.Event(), asyncio.Event()

        async def joined() -> None:
            with app.transaction(connection):
                inside.set()
                await sent.wait()
                send(app)

        async def free() -> None:
            await inside.wait()
            send(app)
            sent.set()

        await asyncio.gather(joined(), free())

    with client(postgres_url) as app, psycopg.connect(postgres_url) as connection:
        asyncio.run(main(app, connection))
        connection.rollback()
        assert waiting(app) == {"celery": 1}


@pytest.mark.parametrize("kind", ["Connection", "Session"])
def test_sqlalchemy_s_connections_are_known(kind: str, postgres_url: str) -> None:
    engine = sqlalchemy.create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    with client(postgres_url) as app:
        app.store.ping(10)
        made: Any = engine.connect() if kind == "Connection" else sqlalchemy.orm.Session(engine)
        with made as connection:
            with app.transaction(connection):
                send(app)
            connection.rollback()
            assert waiting(app) == {}
            with app.transaction(connection):
                connection.execute(sqlalchemy.text("SELECT 1"))
                send(app)
            connection.commit()
        assert waiting(app) == {"celery": 1}
    engine.dispose()


def test_how_the_caller_s_connection_makes_rows_does_not_matter(postgres_url: str) -> None:
    with client(postgres_url) as app, psycopg.connect(postgres_url, row_factory=dict_row) as connection:
        with connection.transaction(), app.transaction(connection):
            send(app)
        connection.commit()
        assert waiting(app) == {"celery": 1}


def test_a_connection_that_leads_elsewhere_is_refused(
    postgres_url: str,
    postgres_server: PostgresServer,
    tmp_path: Path,
) -> None:
    with client(postgres_url) as app:
        app.store.ping(10)
        # Another schema, a closed one, one that commits by itself, another library's
        with (
            psycopg.connect(postgres_server.url) as other,
            pytest.raises(ImproperlyConfigured, match="does not lead to"),
        ):
            app.transaction(other).__enter__()
        with pytest.raises(ImproperlyConfigured, match="is closed"):
            app.transaction(other).__enter__()
        with (
            psycopg.connect(postgres_url, autocommit=True) as alone,
            pytest.raises(ImproperlyConfigured, match="commits by itself"),
        ):
            app.transaction(alone).__enter__()
        with (
            contextlib.closing(sqlite3.connect(":memory:")) as lite,
            pytest.raises(ImproperlyConfigured, match=r"not by sqlite3\.Connection"),
        ):
            app.transaction(lite).__enter__()
    with client(f"sqlite:///{tmp_path}/talo.sqlite3") as app:
        app.store.ping(10)
        with (
            contextlib.closing(sqlite3.connect(tmp_path / "other.sqlite3")) as lite,
            pytest.raises(ImproperlyConfigured, match=r"leads to .*other\.sqlite3"),
        ):
            app.transaction(lite).__enter__()


def test_a_store_without_transactions_says_so() -> None:
    with client("memory://no-transactions") as app, pytest.raises(NotSupported, match="cannot join a transaction"):
        app.transaction(object()).__enter__()
