# ruff: noqa: F401, F811  (tests and fixtures are imported, and named as arguments)
"""Remote control on RabbitMQ: what holds on Redis, from Celery's side on Talo's worker, and the reverse."""

from __future__ import annotations

import pytest

from talo import Talo
from tests.integration.on_rabbitmq import app, celery, celery_worker, results, talo_worker, url
from tests.integration.peers import CeleryWorker
from tests.integration.test_control_celery import ask as ask_celery
from tests.integration.test_control_celery import tell
from tests.integration.test_control_redis import (
    gates,
    test_celerys_client_asks_talos_worker,
    test_celerys_client_steers_talos_worker,
    test_celerys_revoke_keeps_talos_worker_from_starting_it,
)
from tests.support import eventually


@pytest.mark.promise("K05")
def test_talos_client_asks_and_steers_celerys_worker(app: Talo, celery_worker: CeleryWorker) -> None:
    node = celery_worker.node
    assert ask_celery(app, node, "ping") == {"ok": "pong"}
    assert "shared.add" in ask_celery(app, node, "registered")
    assert [queue["name"] for queue in ask_celery(app, node, "active_queues")] == ["celery"]
    assert tell(app, node, "pool_grow", n=1) == {"ok": "pool will grow"}
    app.AsyncResult("revoked-by-talo").revoke()
    eventually(lambda: _assert_in("revoked-by-talo", ask_celery(app, node, "revoked")), timeout=20)


def _assert_in(item: str, items: list[str]) -> None:
    assert item in items
