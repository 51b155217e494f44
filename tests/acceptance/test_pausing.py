"""A paused queue and a paused type of task start nothing, whatever restarts, and go on in their order."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talo.app.app import Talo
from talo.control.history import explain
from talo.control.queues import queue_stats
from talo.errors import OperationalError
from talo.stores.base import QueueStats
from talo.stores.parking import parking_of
from tests.acceptance.conftest import ONE_OF_EACH, named
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.workers import Trace, Worker, client

LONG = 120.0
NAP, NOOP, ADD = (f"tests.apps.traced.{name}" for name in ("nap", "noop", "add"))
Urls = tuple[str, str | None]
#: With a ledger what waits can be seen on every broker.
ENV = {"TALO_WORKER_LEASE": "3", "TALO_BROKER_LEDGER": "1"}
#: Where tasks of a paused type wait aside.
PARKING = parking_of("celery", NAP) or ""


@pytest.fixture
def app(urls: Urls) -> Iterator[Talo]:
    with client(*urls, broker_ledger=True) as app:
        app.store.broker.purge(["celery", "mail"])  # SQS is one for the whole session
        yield app


def worker_of(urls: Urls, tmp_path: Path, *arguments: str, name: str = "w") -> Worker:
    queues = ("-Q", "celery,mail")
    return Worker(urls[0], tmp_path, *queues, *arguments, results=urls[1], name=name, env=ENV)


def check(fact: object) -> None:
    assert fact


def naps(app: Talo, count: int, seconds: float = 0.02) -> list[str]:
    return [app.send_task(NAP, (seconds,)).id for _ in range(count)]


def begun(trace: Trace, ids: list[str]) -> list[str]:
    """Those of these tasks that have begun, in the order in which they did last."""
    times = trace.times("start")
    return sorted(times.keys() & set(ids), key=lambda task_id: times[task_id])


def waits(app: Talo, queue: str = PARKING) -> QueueStats:
    [stats] = app.store.broker.stats([queue])
    return stats


def work(app: Talo, times: int = 3) -> None:
    """Other work of the same queue is done."""
    for _ in range(times):
        assert app.send_task(ADD, (1, 1)).get(timeout=LONG) == 2


@pytest.mark.promise("F08")
def test_what_is_paused_starts_nothing_and_goes_on_in_its_order(urls: Urls, app: Talo, tmp_path: Path) -> None:
    parks = app.store.features.parks
    with worker_of(urls, tmp_path, "-c", "1") as worker:
        # Given a worker in the middle of its work
        ids = naps(app, 60)
        mails = [app.send_task(NOOP, queue="mail").id for _ in range(5)]
        eventually(lambda: check(len(begun(worker.trace, ids)) >= 5 and len(begun(worker.trace, mails)) == 5), LONG)
        # When a queue is paused, and a type of task, and two seconds have gone by
        app.control.pause("mail", tasks=[NAP])
        since = time.time() + 2.0
        while time.time() < since:
            work(app, 1)
        # Then nothing of it starts, while other work is done, whoever dies and begins anew
        mails += [app.send_task(NOOP, queue="mail").id for _ in range(20)]
        ids += naps(app, 20)
        work(app)
        if parks:
            # What a dead process had in hand comes behind what others park meanwhile.
            eventually(lambda: check(waits(app).ready == len(ids) - len(begun(worker.trace, ids))), LONG)
        worker.signal(signal.SIGKILL, group=True)
        worker.wait()
        ids += naps(app, 10)
        worker.start()
        work(app)
        if parks:
            started = len(begun(worker.trace, ids))
            eventually(lambda: check(waits(app).ready == len(ids) - started), LONG)
        assert [each for each in (*ids, *mails) if worker.trace.times("start").get(each, 0.0) > since] == []
        assert app.control.paused() == (["mail"], [NAP])
        # until it goes on, with what is sent then behind what has waited
        app.control.resume("mail", tasks=[NAP])
        later = naps(app, 20)
        eventually(lambda: check({*ids, *later, *mails} <= worker.trace.count("end").keys()), LONG)
        assert worker.trace.count("start") == dict.fromkeys([*ids, *later, *mails], 1)
        if not urls[0].startswith("sqs"):
            assert begun(worker.trace, ids + later)[: len(ids)] == ids
            assert begun(worker.trace, mails) == mails
        # and in the end it is as if nothing had been.
        eventually(lambda: check(all(not each.ready and not each.leased for each in queue_stats(app))), LONG)
        assert not any(each.name == PARKING for each in queue_stats(app))


@pytest.mark.promise("F08")
@pytest.mark.parametrize("urls", ONE_OF_EACH, indirect=True, ids=named)
def test_every_worker_parks_and_each_task_runs_once(urls: Urls, app: Talo, tmp_path: Path) -> None:
    slots = ("-c", "2")
    with worker_of(urls, tmp_path, *slots) as one, worker_of(urls, tmp_path, *slots, name="other"):
        app.control.pause(tasks=[NAP])
        ids = naps(app, 150, 0.001)
        eventually(lambda: check(waits(app).ready == len(ids)), LONG)
        assert begun(one.trace, ids) == []
        # Resumed, and paused again in the middle of it
        app.control.resume(tasks=[NAP])
        ids += naps(app, 50, 0.001)
        eventually(lambda: check(len(begun(one.trace, ids)) >= 20), LONG)
        app.control.pause(tasks=[NAP])
        since = time.time() + 2.0
        while time.time() < since:
            work(app, 1)
        ids += naps(app, 50, 0.001)
        started = begun(one.trace, ids)
        eventually(lambda: check(waits(app).ready == len(ids) - len(started)), LONG)
        assert begun(one.trace, ids) == started
        app.control.resume(tasks=[NAP])
        ids += naps(app, 50, 0.001)
        eventually(lambda: check(set(ids) <= one.trace.count("end").keys()), LONG)
    assert one.trace.count("start") == dict.fromkeys(ids, 1)


@pytest.mark.promise("F08")
@pytest.mark.parametrize("urls", ONE_OF_EACH, indirect=True, ids=named)
def test_what_is_parked_can_be_seen_and_steered(urls: Urls, app: Talo, tmp_path: Path) -> None:
    with worker_of(urls, tmp_path, "-c", "1") as worker:
        app.control.pause(tasks=[NAP, NOOP])
        kept, revoked, late = naps(app, 3, 0.0)
        purged = app.send_task(NOOP, queue="mail").id
        eventually(lambda: check(waits(app).ready == 3 and waits(app, parking_of("mail", NOOP) or "").ready == 1), LONG)
        # It is counted in a queue of its own,
        assert {each.name: each.ready for each in queue_stats(app) if each.ready} == {
            PARKING: 3,
            parking_of("mail", NOOP): 1,
        }
        told = explain(app, kept)
        assert (told.task, told.queue) == (NAP, "celery")
        assert [each.code for each in told.reasons] == ["paused", "waiting"]
        # goes with the queue that it belongs to,
        assert app.control.purge_queues(["mail"]) == 1
        assert waits(app).ready == 3
        # is revoked, and given another time,
        app.control.revoke(revoked)
        if app.store.features.reschedules:
            assert app.control.reschedule(late, countdown=2.0) == [late]
        app.control.resume(tasks=[NAP, NOOP])
        eventually(lambda: check(app.AsyncResult(revoked).state == "REVOKED"), LONG)
        eventually(lambda: check({kept, late} <= worker.trace.count("end").keys()), LONG)
        # and when all of it has begun the type is as open as any other.
        eventually(lambda: check(_open(app)), LONG)
        more = naps(app, 5, 0.0)
        eventually(lambda: check(set(more) <= worker.trace.count("end").keys()), LONG)
        assert worker.trace.count("start") == dict.fromkeys([kept, late, *more], 1)
        assert purged not in worker.trace.count("start")


def _open(app: Talo) -> bool:
    """Whether nothing is parked, as the marks say."""
    state = app.state_store
    assert state is not None
    return not any(each.startswith("parked:") for each in state.locks.all_marked("paused"))


@pytest.mark.promise("F08")
@pytest.mark.parametrize("broker", ["own_redis", "own_rabbit"])
def test_a_pause_outlasts_the_broker(
    broker: str, request: pytest.FixtureRequest, redis_url: str, tmp_path: Path
) -> None:
    server: RedisServer | RabbitServer = request.getfixturevalue(broker)
    urls = server.url, redis_url if broker == "own_rabbit" else None
    with client(*urls, broker_ledger=True) as app, worker_of(urls, tmp_path, "-c", "1") as worker:
        # Given a type of task that is paused, of which some wait aside
        app.control.pause(tasks=[NAP])
        ids = naps(app, 30)
        eventually(lambda: check(waits(app).ready == 30), LONG)
        # When the broker goes away and comes back, and the worker is another one
        server.stop()
        server.start()
        eventually(lambda: sent(app), LONG).get(timeout=LONG)
        worker.stop()
        worker.start()
        ids += naps(app, 10)
        work(app)
        assert begun(worker.trace, ids) == []
        # Then all of it goes on in its order
        app.control.resume(tasks=[NAP])
        eventually(lambda: check(set(ids) <= worker.trace.count("end").keys()), LONG)
        assert worker.trace.count("start") == dict.fromkeys(ids, 1)
        assert begun(worker.trace, ids) == ids


def sent(app: Talo) -> Any:
    try:
        return app.send_task(ADD, (1, 1))
    except OperationalError as error:
        raise AssertionError from error
