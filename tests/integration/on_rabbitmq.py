"""Meetings of Talo and the real Celery on one RabbitMQ, results in Redis: the fixtures of ``conftest`` once more.

A module that imports them runs tests that were written for Redis here too. ``OPTIONS`` of the module are words for the
worker's command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import Talo
from tests.apps.shared_code import define
from tests.integration.peers import CeleryClient, CeleryWorker
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer, empty_database
from tests.workers import Worker


@pytest.fixture(scope="module")
def results(redis_server: RedisServer) -> Iterator[str]:
    """A Redis database for the results of one module."""
    with empty_database(redis_server) as url:
        yield url


@pytest.fixture(scope="module")
def url(rabbit_server: RabbitServer) -> str:
    """A virtual host for one module."""
    return rabbit_server.url_of(rabbit_server.new_vhost())


@pytest.fixture(scope="module")
def talo_worker(request: pytest.FixtureRequest, url: str, results: str, folder: Path) -> Iterator[Worker]:
    """A worker of Talo's, with classic queues as Celery declares them."""
    env = {"TALO_TASK_UNKNOWN_PATIENCE": "0", "TALO_TASK_DEFAULT_QUEUE_TYPE": "classic"}
    options = getattr(request.module, "OPTIONS", ())
    with Worker(
        url, folder, "-c", "2", *options, app="tests.apps.talo_app", name="talo", results=results, env=env
    ) as w:
        yield w


@pytest.fixture(scope="module")
def celery_worker(url: str, results: str, folder: Path, talo_worker: Worker) -> Iterator[CeleryWorker]:
    """A worker of the real Celery; after Talo's, so that the queue is there."""
    with CeleryWorker(url, folder, "-E", env={"CELERY_RESULT_BACKEND": results}) as worker:
        yield worker


@pytest.fixture(scope="module")
def celery(url: str, results: str, talo_worker: Worker) -> Iterator[CeleryClient]:
    """The real Celery as a client."""
    client = CeleryClient(url, results)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="module")
def app(url: str, results: str, talo_worker: Worker) -> Iterator[Talo]:
    """Talo as a client that knows the tasks."""
    with Talo(
        "client", broker=url, backend=results, set_as_current=False, task_default_queue_type="classic"
    ) as app:  # fmt: skip
        define(app, "client")
        yield app
