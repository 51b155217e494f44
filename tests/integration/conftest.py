"""Meetings of Talo and the real Celery on one Redis: who sends and who works is the module's choice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import Talo
from tests.apps.shared_code import define
from tests.integration.peers import CeleryClient, CeleryWorker
from tests.servers.redis import RedisServer, empty_database
from tests.workers import Worker


@pytest.fixture(scope="module")
def url(redis_server: RedisServer) -> Iterator[str]:
    """A Redis database for one module."""
    with empty_database(redis_server) as url:
        yield url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the workers of a module write."""
    return tmp_path_factory.mktemp("peers")


@pytest.fixture(scope="module")
def celery(url: str) -> Iterator[CeleryClient]:
    """The real Celery as a client."""
    client = CeleryClient(url)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="module")
def app(url: str) -> Iterator[Talo]:
    """Talo as a client that knows the tasks."""
    with Talo(
        "client", broker=url, backend=url, set_as_current=False, redis_priority_order="low-first",
        accept_content=["json", "msgpack", "yaml"],
    ) as app:  # fmt: skip
        define(app, "client")
        yield app


@pytest.fixture(scope="module")
def talo_worker(url: str, folder: Path) -> Iterator[Worker]:
    """A worker of Talo."""
    env = {"RESULT_EXTENDED": "1", "TALO_TASK_UNKNOWN_PATIENCE": "0"}
    with Worker(url, folder, "-c", "2", app="tests.apps.talo_app", name="talo", env=env) as worker:
        yield worker


@pytest.fixture(scope="module")
def celery_worker(url: str, folder: Path) -> Iterator[CeleryWorker]:
    """A worker of the real Celery."""
    with CeleryWorker(url, folder, env={"RESULT_EXTENDED": "1"}) as worker:
        yield worker
