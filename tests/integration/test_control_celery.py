"""Remote control on Redis: Talo asks and steers a worker of the real Celery, by its client and by its command."""

from __future__ import annotations

from typing import Any

import pytest

from talo import Talo
from tests.integration.peers import CeleryWorker
from tests.support import eventually


def ask(app: Talo, node: str, question: str) -> Any:
    """What one node answers. Celery's worker may say that it is ready a moment before it listens."""

    def answer() -> Any:
        answers = getattr(app.control.inspect([node], timeout=2), question)()
        assert answers
        return answers[node]

    return eventually(answer, timeout=30)


def tell(app: Talo, node: str, command: str, **arguments: Any) -> Any:
    """What one node answers to a command."""
    [reply] = app.control.broadcast(command, arguments, destination=[node], reply=True, timeout=20)
    return reply[node]


@pytest.mark.promise("K05")
def test_talos_client_asks_celerys_worker(app: Talo, celery_worker: CeleryWorker) -> None:
    node = celery_worker.node
    assert ask(app, node, "ping") == {"ok": "pong"}
    assert ask(app, node, "active") == []
    assert ask(app, node, "stats")["pool"]["max-concurrency"] == 1
    assert "shared.add" in ask(app, node, "registered")
    assert [queue["name"] for queue in ask(app, node, "active_queues")] == ["celery"]


@pytest.mark.promise("K05")
def test_talos_client_steers_celerys_worker(app: Talo, celery_worker: CeleryWorker) -> None:
    node = celery_worker.node
    assert tell(app, node, "pool_grow", n=1) == {"ok": "pool will grow"}
    assert tell(app, node, "rate_limit", task_name="shared.add", rate_limit="10/m") == {
        "ok": "new rate limit set successfully"
    }
    app.AsyncResult("revoked-by-talo").revoke()
    eventually(lambda: _assert_in("revoked-by-talo", ask(app, node, "revoked")), timeout=20)


def _assert_in(item: Any, items: Any) -> None:
    assert item in items
