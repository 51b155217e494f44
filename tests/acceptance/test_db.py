"""``talo db``: the tables of a database, made and looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from talo.cli.main import run
from talo.errors import ImproperlyConfigured
from talo.stores.url import open_store
from talo.testing.contract._support import message, race


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/talo.sqlite3"


def states(url: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, set[str]]:
    """The exit code of ``talo db status``, and the states that it shows."""
    code = run(["-b", url, "--result-backend", url, "db", "status", "--json"])
    return code, {row["state"] for row in json.loads(capsys.readouterr().out)}


def test_status_shows_what_is_pending_and_migrate_does_it(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    # Given a database without tables
    assert states(url, capsys) == (1, {"pending"})
    # When they are made
    assert run(["-b", url, "--result-backend", url, "db", "migrate"]) == 0
    assert "applied 0001 begin" in capsys.readouterr().out
    # Then nothing is left to do, and doing it again does nothing
    assert states(url, capsys) == (0, {"applied"})
    assert run(["-b", url, "--result-backend", url, "db", "migrate"]) == 0
    assert capsys.readouterr().out.count("up to date") == 1


def test_where_nothing_is_made_unasked_a_store_says_how_it_is_made(url: str) -> None:
    store = open_store(url, auto_migrate=False)
    with pytest.raises(ImproperlyConfigured, match="run 'talo db migrate'"):
        store.broker.send([message()])
    assert run(["-b", url, "--result-backend", url, "db", "migrate"]) == 0
    store.broker.send([message()])
    assert [each.ready for each in store.broker.stats()] == [1]
    store.close()


def test_of_many_that_make_the_tables_at_once_one_does(url: str) -> None:
    stores = [open_store(url, timeout=30) for _ in range(6)]
    done = race([lambda store=store: store.database.migrate() for store in stores])  # type: ignore[attr-defined]
    assert sorted(map(bool, done)) == [False] * 5 + [True]
    for store in stores:
        store.close()


def test_without_a_database_there_are_no_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-b", "redis://127.0.0.1:1/0", "--result-backend", "redis://127.0.0.1:1/0", "db", "status"]) != 0
    assert "there are no tables" in capsys.readouterr().err
