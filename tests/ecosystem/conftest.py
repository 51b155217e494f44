"""Shared by the tests of the ecosystem: one environment for all, a place on Redis, a folder with a project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ecosystem.venv import Environment, build, build_celery
from tests.servers.redis import RedisServer, empty_database


@pytest.fixture(scope="session")
def where(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The environment with Talo as its celery."""
    return build(tmp_path_factory.mktemp("ecosystem") / "venv")


@pytest.fixture(scope="session")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The environment with the real Celery."""
    return build_celery(tmp_path_factory.mktemp("celery") / "venv")


@pytest.fixture
def url(redis_server: RedisServer) -> Iterator[str]:
    """An empty Redis database."""
    with empty_database(redis_server) as url:
        yield url


@pytest.fixture
def project(tmp_path: Path, url: str) -> Callable[[str], Path]:
    """Writes ``project.py`` with the broker in place of URL; returns its folder."""

    def write(text: str) -> Path:
        (tmp_path / "project.py").write_text(text.replace("URL", repr(url)))
        return tmp_path

    return write
