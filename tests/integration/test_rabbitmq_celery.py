"""Talo and the real Celery on one RabbitMQ, both ways: plain tasks, retries, delays, callbacks and chains.

Celery's worker is there first and has made its classic queue; Talo uses it as it is. Results go over Redis or back to
who asked (``rpc``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from talo import Talo, chain
from talo.stores.base import Post
from talo.stores.rabbitmq import RabbitStore
from tests.apps.shared_code import PLAIN, define
from tests.integration.peers import CeleryClient, CeleryWorker
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer, empty_database
from tests.support import eventually
from tests.workers import Worker

CLASSIC = {"TALO_TASK_DEFAULT_QUEUE_TYPE": "classic"}


@pytest.fixture(scope="module", params=["redis", "rpc"])
def results(request: pytest.FixtureRequest, redis_server: RedisServer) -> Iterator[str]:
    with empty_database(redis_server) as url:
        yield "rpc://" if request.param == "rpc" else url


@pytest.fixture(scope="module")
def url(rabbit_server: RabbitServer, results: str) -> str:
    """One virtual host for each way of results."""
    return rabbit_server.url_of(rabbit_server.new_vhost())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rabbit-peers")


class TestFromCeleryToTalo:
    """A Celery producer, a Talo worker, Celery's ``AsyncResult``."""

    @pytest.fixture(scope="class")
    def worker(self, url: str, results: str, folder: Path) -> Iterator[Worker]:
        with Worker(url, folder, "-c", "2", app="tests.apps.talo_app", results=results, env=CLASSIC) as worker:
            yield worker

    @pytest.fixture(scope="class")
    def celery(self, url: str, results: str, worker: Worker) -> Iterator[CeleryClient]:
        client = CeleryClient(url, results)
        try:
            yield client
        finally:
            client.close()

    def test_talo_runs_it_and_the_value_comes_back(self, celery: CeleryClient) -> None:
        assert celery("app.tasks['shared.where'].delay().get(timeout=20)") == "talo"
        assert celery("app.tasks['shared.echo'].delay(1, 'zwei', **PLAIN).get(timeout=20)") == [[1, "zwei"], PLAIN]

    def test_a_failure_comes_back_as_its_exception(self, celery: CeleryClient) -> None:
        code = "type(app.tasks['shared.fails'].delay('no').get(timeout=20, propagate=False)).__name__"
        assert celery(code) == "ValueError"

    def test_retries_are_retried(self, celery: CeleryClient) -> None:
        assert celery("app.tasks['shared.flaky'].delay(2).get(timeout=20)") == 2

    def test_a_delayed_task_is_not_begun_early(self, celery: CeleryClient, worker: Worker) -> None:
        due = time.time() + 1.0
        sent = celery("(lambda r: (r.get(timeout=20), r.id)[1])(app.tasks['shared.started'].apply_async(countdown=1))")
        [[*_, at]] = [line for line in worker.trace.lines() if line[:2] == ["started", sent]]
        assert float(at) >= due - 0.05

    def test_a_chain_runs_to_its_end(self, celery: CeleryClient) -> None:
        assert celery("chain(s('add', 1, 2), s('add', 10), s('add', 100)).apply_async().get(timeout=20)") == 113

    def test_a_callback_is_called(self, celery: CeleryClient, worker: Worker) -> None:
        celery("app.tasks['shared.add'].apply_async((1, 1), link=s('started')).get(timeout=20)")

        def called() -> None:
            assert any(line[0] == "started" for line in worker.trace.lines())

        eventually(called, timeout=20)

    def test_celery_s_remote_control_reaches_talo_s_worker(self, celery: CeleryClient, worker: Worker) -> None:
        assert celery("app.control.ping(timeout=10, limit=1)") == [{worker.node: {"ok": "pong"}}]
        assert celery("list(app.control.inspect(timeout=10, limit=1).active_queues())") == [worker.node]


class TestFromTaloToCelery:
    """A Talo producer, a Celery worker, Talo's ``AsyncResult``."""

    @pytest.fixture(scope="class")
    def worker(self, url: str, results: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryWorker]:
        folder = tmp_path_factory.mktemp("celery")
        with CeleryWorker(url, folder, "-E", env={"CELERY_RESULT_BACKEND": results}) as worker:
            yield worker

    @pytest.fixture(scope="class")
    def app(self, url: str, results: str, worker: CeleryWorker) -> Iterator[Talo]:
        with Talo("client", broker=url, backend=results, set_as_current=False, task_canvas_form="celery") as app:
            define(app, "client")
            yield app

    def test_celery_runs_it_and_the_value_comes_back(self, app: Talo) -> None:
        assert app.tasks["shared.where"].delay().get(timeout=20) == "celery"
        assert app.tasks["shared.echo"].delay(1, "zwei", **PLAIN).get(timeout=20) == [[1, "zwei"], PLAIN]

    def test_retries_are_retried(self, app: Talo) -> None:
        assert app.tasks["shared.flaky"].delay(2).get(timeout=20) == 2

    def test_a_delayed_task_waits_in_the_exchanges_that_celery_knows(self, app: Talo, worker: CeleryWorker) -> None:
        due = time.time() + 1.0
        sent = app.tasks["shared.started"].apply_async(countdown=1.0)
        sent.get(timeout=20)
        [[*_, at]] = [line for line in worker.trace.lines() if line[:2] == ["started", sent.id]]
        assert float(at) >= due - 0.05

    def test_a_chain_runs_to_its_end(self, app: Talo) -> None:
        add = app.tasks["shared.add"]
        assert chain(add.s(1, 2), add.s(10), add.s(100), app=app).apply_async().get(timeout=20) == 113

    def test_a_callback_is_called(self, app: Talo, worker: CeleryWorker) -> None:
        before = len(worker.trace.lines())
        app.tasks["shared.add"].apply_async((1, 1), link=app.tasks["shared.started"].s()).get(timeout=20)

        def called() -> None:
            assert any(line[0] == "started" for line in worker.trace.lines()[before:])

        eventually(called, timeout=20)

    def test_celery_s_worker_answers_a_command_and_its_events_are_heard(self, url: str, app: Talo) -> None:
        # Given ears for events and for answers, declared as Celery declares them
        store = RabbitStore(url)
        with (
            store.bus.hear("celeryev", "topic", ["task.#"], queue="celeryev.test") as events,
            store.bus.hear("reply.celery.pidbox", "direct", ["me"], queue="me.reply.celery.pidbox") as replies,
        ):
            # When a worker of Celery's is asked, and runs a task
            ask = {
                "method": "ping", "arguments": {}, "destination": None, "pattern": None, "matcher": None,
                "ticket": "t", "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "me"},
            }  # fmt: skip
            store.bus.post([Post(exchange="celery.pidbox", kind="fanout", body=msgspec.json.encode(ask))])
            reply = replies.get(20)
            app.tasks["shared.add"].delay(1, 2).get(timeout=20)
            event = events.get(20)
        store.close()
        # Then it answers, and is heard
        assert reply is not None and event is not None
        assert msgspec.json.decode(reply.body) == {"celery@test": {"ok": "pong"}}
        assert reply.headers["ticket"] == "t"
        assert event.key.startswith("task.")
        assert b"task-" in event.body
