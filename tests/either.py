"""Where a test runs either on a file or on Redis, each time in a place of its own: fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from talo.app.app import Talo
from tests.workers import client

__all__ = ["app", "broker"]


@pytest.fixture(params=["sqlite", "redis"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url"))
    return f"sqlite:///{tmp_path}/talo.sqlite3"


@pytest.fixture
def app(broker: str) -> Iterator[Talo]:
    """A client of it."""
    with client(broker) as app:
        yield app
