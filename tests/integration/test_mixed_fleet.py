"""Celery and Talo at the same queues at the same time, sending and working."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import Talo
from tests.integration.peers import CeleryClient, CeleryWorker
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.workers import Worker


@pytest.fixture
def url(redis_url: str) -> str:
    """A Redis database for one test."""
    return redis_url


@pytest.fixture
def celery(url: str) -> Iterator[CeleryClient]:
    """The real Celery as a client, for one test."""
    client = CeleryClient(url)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def app(url: str) -> Iterator[Talo]:
    """Talo as a client, for one test."""
    with Talo("client", broker=url, set_as_current=False, redis_priority_order="low-first") as app:
        yield app


def test_both_share_a_queue_and_every_result_is_right(
    redis_server: RedisServer, url: str, celery: CeleryClient, app: Talo, tmp_path: Path
) -> None:
    # Given a worker of each, of which each can be sure to get some of the work,
    with (
        CeleryWorker(url, tmp_path) as theirs,
        Worker(url, tmp_path, "-c", "1", app="tests.apps.talo_app", name="talo"),
    ):
        # When 250 tasks come from Talo and 250 from Celery,
        ours = app.send_many(("shared.add", (n, 1000)) for n in range(250))
        others = celery("[send('add', n, 2000) for n in range(250)]")
        # Then all results are right, whoever asks for them,
        assert [app.AsyncResult(task_id).get(timeout=60) for task_id in others] == [n + 2000 for n in range(250)]
        values = celery("[result(i).get(timeout=60) for i in {ids}]", ids=[result.id for result in ours])
        assert values == [n + 1000 for n in range(250)]
        # and of tasks that wait, more than Celery's worker can hold, Talo's has one, which kombu knows nothing of.
        gates = [app.send_task("shared.hold", (str(tmp_path / "open"),)) for _ in range(4)]
        [mine, *_] = eventually(lambda: _begun_by("talo", theirs), timeout=30)
        assert mine.encode() not in redis_server.command("HVALS", "unacked", db=_db(url))
        (tmp_path / "open").touch()
        engines = Counter(gate.get(timeout=30) for gate in gates)
        assert engines["talo"] >= 1
        assert set(engines) <= {"talo", "celery"}
        # When Celery's worker has left,
        theirs.stop()
    # Then nobody holds anything any more.
    assert redis_server.command("EXISTS", "unacked", "unacked_index", "celery", db=_db(url)) == b":0\r\n"


def test_a_celery_worker_that_restores_takes_nothing_from_talo(
    redis_server: RedisServer, url: str, app: Talo, tmp_path: Path
) -> None:
    # Given a task that Talo's worker is running,
    with Worker(url, tmp_path, "-c", "1", app="tests.apps.talo_app", name="talo") as worker:
        result = app.send_task("shared.hold", (str(tmp_path / "open"),))
        eventually(lambda: _is(len([x for x in worker.trace.lines() if x[0] == "started"]), 1))
        # When a worker of Celery's starts that thinks everything older than a second lost, and does a task itself,
        env = {"VISIBILITY_TIMEOUT": "1"}
        with CeleryWorker(url, tmp_path, env=env) as theirs:
            assert app.send_task("shared.where").get(timeout=30) == "celery"
            theirs.stop()
        (tmp_path / "open").touch()
        # Then Talo's task ran once, on Talo.
        assert result.get(timeout=30) == "talo"
        assert [line[2] for line in worker.trace.lines() if line[0] == "started"] == ["talo"]


def test_links_cross_over_wherever_they_land(url: str, celery: CeleryClient, app: Talo, tmp_path: Path) -> None:
    # Given a worker of each,
    with CeleryWorker(url, tmp_path), Worker(url, tmp_path, "-c", "1", app="tests.apps.talo_app", name="talo"):
        # When many chains of five steps are sent by Celery,
        code = "[chain(s('add', n, 1), *[s('add', 1) for _ in range(4)]).apply_async().id for n in range(40)]"
        ids = celery(code)
        # Then each ends with its sum.
        assert [app.AsyncResult(task_id).get(timeout=60) for task_id in ids] == [n + 5 for n in range(40)]


@pytest.mark.parametrize("engine", ["talo", "celery"])
def test_priority_has_one_meaning_when_talo_is_told_celerys(
    url: str, celery: CeleryClient, app: Talo, tmp_path: Path, engine: str
) -> None:
    # Given tasks of all priorities from both sides, sent while nobody works,
    sent = {}
    for priority in (9, 3, 6, 0):
        sent[app.send_task("shared.started", priority=priority).id] = priority
        sent[celery("send('started', priority={p})", p=priority)] = priority
    # When one worker takes them one by one,
    worker = CeleryWorker(url, tmp_path) if engine == "celery" else Worker(
        url, tmp_path, "-P", "solo", app="tests.apps.talo_app", name="talo"
    )  # fmt: skip
    with worker:
        eventually(lambda: _is(len(worker.trace.lines()), 8), timeout=30)
    # Then 0 comes first, as on Celery's Redis.
    assert [sent[line[1]] for line in worker.trace.lines()] == [0, 0, 3, 3, 6, 6, 9, 9]


def _begun_by(engine: str, worker: Worker) -> list[str]:
    begun = [line[1] for line in worker.trace.lines() if line[0] == "started" and line[2] == engine]
    assert begun
    return begun


def _db(url: str) -> int:
    return int(url.rpartition("/")[2])


def _is(actual: object, expected: object) -> None:
    assert actual == expected
