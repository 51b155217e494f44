"""From a URL to a store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from talo.errors import ImproperlyConfigured
from talo.stores.sql import SqlStore
from talo.stores.url import open_store, schemes


def test_the_scheme_chooses_the_store() -> None:
    assert isinstance(open_store("sqlite:///some.db"), SqlStore)
    assert isinstance(open_store("memory://"), SqlStore)
    assert {"sqlite", "memory", "redis", "rediss"} <= set(schemes())


def test_an_unknown_scheme_names_the_nearest_and_all() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"did you mean sqlite://\?.*redis://"):
        open_store("sqllite:///x.db")


def test_three_slashes_are_relative_and_four_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative, absolute = open_store("sqlite:///talo.db"), open_store(f"sqlite:///{tmp_path}/talo.db")
    assert relative.same_as(absolute)
    relative.ping(5)
    assert (tmp_path / "talo.db").exists()
    relative.close()


def test_a_store_stays_where_it_was_when_the_directory_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///talo.db")
    monkeypatch.chdir("/")
    store.ping(5)
    assert (tmp_path / "talo.db").exists()
    store.close()


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    assert open_store("sqlite:///~/my%20talo.db").url == f"sqlite:///{tmp_path}/my talo.db"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://host/x.db", "sqlite:///:memory:"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="names no file"):
        open_store(url)


@pytest.mark.parametrize(
    ("query", "hint"), [("synchronus=FULL", "did you mean synchronous"), ("synchronous=OFF", "FULL or NORMAL")]
)
def test_unknown_options_are_refused_with_the_mend(query: str, hint: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=hint):
        open_store(f"sqlite:///x.db?{query}")


def test_what_means_nothing_here_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="one database per app"):
        open_store("sqlite:///x.db", keyprefix="app:")
    with pytest.raises(ImproperlyConfigured, match="high-first or low-first"):
        open_store("sqlite:///x.db", priority_order="up")


def test_memory_of_one_name_is_one_place_and_of_two_names_two() -> None:
    one, same, two = open_store("memory://one"), open_store("memory://one"), open_store("memory://two")
    assert one.same_as(same)
    assert not one.same_as(two)
    one.locks.mark("kind", {"here": 60})
    assert same.locks.all_marked("kind") == {"here"}
    assert two.locks.all_marked("kind") == set()
