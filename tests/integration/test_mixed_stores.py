"""RabbitMQ carries the messages, Redis or PostgreSQL keeps the rest: what Celery's users most often run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import chain, chord, group
from talo.errors import ChordError, TaskRevokedError
from talo.stores.history import RunQuery
from talo.stores.schedules import Run
from tests.apps import flows
from tests.apps.flows import add, fail, gather, nap, note, third_time, total
from tests.chaos.kit import check
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer, empty_database
from tests.support import eventually
from tests.workers import Worker

TIMEOUT = 60
TICKS = {"ticks": {"task": "tests.apps.flows.note", "schedule": 0.5, "args": ["tick"]}}


@pytest.fixture(scope="module", params=["redis", "postgres"])
def worker(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    rabbit_server: RabbitServer,
) -> Iterator[Worker]:
    """One worker with a beat, for all tests of a pair; the app of workflows is its client."""
    tmp: Path = tmp_path_factory.mktemp(request.param)
    server: RedisServer | PostgresServer = request.getfixturevalue(f"{request.param}_server")
    with _schema(server) if isinstance(server, PostgresServer) else empty_database(server) as results:
        yield from _worker_of(rabbit_server.url_of(rabbit_server.new_vhost()), results, tmp)


@contextlib.contextmanager
def _schema(server: PostgresServer) -> Iterator[str]:
    server.run("DROP SCHEMA IF EXISTS beside_rabbit CASCADE")
    server.run("CREATE SCHEMA beside_rabbit")
    yield f"{server.url}?options=-csearch_path%3Dbeside_rabbit"


def _worker_of(broker: str, results: str, tmp: Path) -> Iterator[Worker]:
    flows.app.conf.broker_url = broker
    flows.app.conf.result_backend = results
    flows.app.close_stores()
    env = {"ENTRIES": json.dumps(TICKS), "TALO_HISTORY": "all"}
    with Worker(broker, tmp, "-c", "2", "-B", results=results, app="tests.apps.flows", env=env) as worker:
        yield worker
    flows.app.close_stores()


def test_chains_groups_and_chords_end_as_elsewhere(worker: Worker) -> None:
    members = group(add.s(n, n) for n in range(50))
    shapes = [
        (chain(add.s(0, 1), *[add.s(1) for _ in range(29)]), 30),
        (members, [n + n for n in range(50)]),
        (chord(members, total.s()), 2450),
        (add.s(1, 1) | group(add.s(1), add.s(2)) | total.s() | add.s(100), 107),
        (chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(5, 5)], gather.s()), [6, 10]),
        (chord([flows.adds_members.s(1), flows.replaced_by_chord.s(5)], gather.s()), [1, 13, 11, 21]),
    ]
    results = [shape.apply_async() for shape, _ in shapes]
    assert [result.get(timeout=TIMEOUT) for result in results] == [value for _, value in shapes]
    with pytest.raises(ChordError):
        chord([add.s(1, 1), fail.s()], gather.s()).apply_async().get(timeout=TIMEOUT)


def test_retries_are_sent_again_and_told(worker: Worker) -> None:
    result = third_time.delay("at last")
    assert result.get(timeout=TIMEOUT) == "at last"
    assert worker.trace.count("try")[result.id] == 3
    # And history, which is kept beside, knows each attempt
    store = flows.app.state_store
    assert store is not None and store.history is not None
    assert [run.state for run in store.history.attempts(result.id)] == ["RETRY", "RETRY", "SUCCESS"]
    assert store.history.count(RunQuery(id=result.id)) == {"RETRY": 2, "SUCCESS": 1}


def test_revoking_reaches_what_waits_and_what_runs(worker: Worker) -> None:
    # Given a task that is due later and one that runs
    later = note.apply_async(("later",), countdown=2)
    running = nap.delay(600.0)
    eventually(lambda: check(worker.trace.count("start")[running.id] == 1), TIMEOUT)
    # When both are revoked
    later.revoke()
    running.revoke(terminate=True)
    # Then neither ends well, and the first never starts
    for result in (later, running):
        with pytest.raises(TaskRevokedError):
            result.get(timeout=TIMEOUT)
    assert worker.trace.count("note")[later.id] == 0


def test_schedules_are_kept_beside_and_sent_through_rabbitmq(worker: Worker) -> None:
    schedules = flows.app.schedules
    assert schedules is not None

    def ticked() -> list[Run]:
        ledger = schedules.runs("flows", "ticks", 1000)
        assert len(ledger) >= 4
        assert all(worker.trace.count("note")[str(run.task_id)] for run in ledger[1:])
        return ledger

    ledger = eventually(ticked, TIMEOUT)
    assert {run.fate for run in ledger} == {"ran"}
    # No tick was sent twice
    assert {worker.trace.count("note")[str(run.task_id)] for run in ledger[1:]} == {1}
