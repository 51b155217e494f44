# ruff: noqa: F401, F811  (tests and fixtures are imported, and named as arguments)
"""Events on RabbitMQ: what Talo's worker tells, as Talo and Celery hear it, and what Talo hears of Celery's worker."""

from __future__ import annotations

import pytest

from talo import Talo
from tests.integration.on_rabbitmq import app, celery, celery_worker, results, talo_worker, url
from tests.integration.peers import CeleryWorker
from tests.integration.test_control_events import (
    Heard,
    heard,
    test_a_task_tells_its_life_in_celerys_words,
    test_celery_hears_talos_worker,
)
from tests.integration.test_control_flower import flower, test_flower_sees_and_steers_talos_worker
from tests.support import eventually
from tests.workers import Worker

#: The worker tells of its tasks.
OPTIONS = ("-E",)


@pytest.mark.promise("K05")
def test_talo_hears_celerys_worker(app: Talo, heard: Heard, talo_worker: Worker, celery_worker: CeleryWorker) -> None:
    # Given a worker of Celery's that is the only one,
    assert talo_worker.stop() == 0
    task = app.send_task("shared.add", (20, 22))

    # when it runs a task, then Talo's receiver knows both.
    def known() -> None:
        seen = heard.state.tasks[task.id] if task.id in heard.state.tasks else None
        assert seen is not None and (seen.state, seen.result) == ("SUCCESS", "42")
        assert seen.worker.hostname == celery_worker.node

    eventually(known, timeout=30)
