"""Workers on Amazon SQS (its stand-in) with a store beside it: processes that die, and either of the two going away.

The stand-in itself is never ended: it would forget everything."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo.app.app import Talo
from talo.stores.base import Settlement, Verdict
from tests.chaos.kit import HANGS, LONG, Fleet, Judge, Storm, any_process, call, check, for_seconds, full, send_all
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer
from tests.servers.sqs import SqsServer
from tests.support import eventually
from tests.workers import Trace, Worker, client

QUEUES = {"celery"}
NAP = "tests.apps.traced.nap"


class Cloud:
    """One SQS, one file for results, and the settings that lead there."""

    def __init__(self, server: SqsServer, directory: Path, results: str = "", port: int = 0) -> None:
        self.server = server
        self.results = results or f"sqlite:///{directory}/results.sqlite3"
        self.options = {
            "region": "us-east-1",
            "endpoint_url": f"http://127.0.0.1:{port}" if port else server.endpoint,
            "ledger": str(directory / "ledger.sqlite3"),
            "wait_time_seconds": 2,
        }
        self.env = {"TALO_BROKER_TRANSPORT_OPTIONS": json.dumps(self.options), "TALO_WORKER_LEASE": "3"}

    url = "sqs://key:secret@"

    def queues(self, app: Talo) -> set[str]:
        """The names of all queues there are."""
        connection = app.store._connection  # type: ignore[attr-defined]
        with connection.translated():
            urls = connection.client().list_queues().get("QueueUrls", [])
        return {url.rsplit("/", 1)[1] for url in urls}

    def client(self) -> Talo:
        """An app that sends there, and is patient."""
        return client(
            self.url, self.results, broker_transport_options=self.options, store_timeout=20, publish_timeout=30
        )


@pytest.fixture
def cloud(own_sqs: SqsServer, tmp_path: Path) -> Cloud:
    return Cloud(own_sqs, tmp_path)


@pytest.fixture
def app(cloud: Cloud) -> Iterator[Talo]:
    with cloud.client() as app:
        yield app


@pytest.mark.promise("D03", "B12")
@pytest.mark.timeout(HANGS)
def test_every_task_ends_while_processes_are_killed(cloud: Cloud, app: Talo, tmp_path: Path) -> None:
    # Given work, some of it with callbacks
    after = app.signature("tests.apps.traced.after")
    count = full(5_000, 120)
    ids = send_all(
        app, [call("nap", 0.01, **({"link": [after]} if n % 10 == 0 else {})) for n in range(count)], timeout=LONG
    )
    with Fleet(cloud.url, tmp_path, "-c", "2", results=cloud.results, env=cloud.env) as fleet:
        judge = Judge(app, fleet.trace, ids)

        # When any of the processes is killed, again and again
        Storm().until(judge.all_have_ended, any_process(app, fleet), every=0.6)
        # Then every task has ended well, and what it linked has run
        judge.wait()
        eventually(lambda: _have_called_back(fleet, set(ids[::10])), LONG, 0.05)
        judge.nothing_is_left()
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []
    # And no queue was created but the one that was configured
    assert cloud.queues(app) == QUEUES


@pytest.mark.promise("D05")
@pytest.mark.timeout(HANGS)
def test_a_pill_starts_three_times_and_is_a_dead_letter(cloud: Cloud, app: Talo, tmp_path: Path) -> None:
    ids = send_all(app, [call("burn", 0.0) for _ in range(full(1000, 40))])
    [pill] = send_all(app, [call("poison")])
    with Fleet(cloud.url, tmp_path, "-c", "2", results=cloud.results, env=cloud.env) as fleet:
        judge = Judge(app, fleet.trace, [*ids, pill])
        judge.wait()
        eventually(lambda: check(judge.dead()), LONG, 0.05)
    assert fleet.trace.count("start")[pill] == 3
    [letter] = app.store.broker.dead()
    assert (letter.death.reason, letter.death.task_id, letter.queue) == ("worker_lost", pill, "celery")
    assert "SIGKILL" in letter.death.detail["status"]
    assert judge.states() == {"SUCCESS": len(ids), "FAILURE": 1}


@pytest.mark.promise("B03")
@pytest.mark.timeout(HANGS)
def test_work_flows_again_when_sqs_is_back(cloud: Cloud, app: Talo, tmp_path: Path) -> None:
    ids = send_all(app, [call("nap", 0.02) for _ in range(full(2_000, 150))])
    env = {**cloud.env, "TALO_STORE_TIMEOUT": "4"}
    with Fleet(cloud.url, tmp_path, "-c", "2", results=cloud.results, env=env) as fleet:
        judge = Judge(app, fleet.trace, ids)
        eventually(lambda: check(len(fleet.trace.count("end")) > 20), LONG)
        cloud.server.pause()
        for_seconds(full(30.0, 4.0))
        cloud.server.resume()
        judge.wait()
        judge.nothing_is_left()
    assert judge.states() == {"SUCCESS": len(ids)}
    assert judge.dead() == []


def black_holed(proxy: Proxy) -> None:
    proxy.black_hole()


def reset(proxy: Proxy) -> None:
    proxy.reset()


def refused(proxy: Proxy) -> None:
    proxy.refuse()


def late(proxy: Proxy) -> None:
    proxy.hold()


def torn(proxy: Proxy) -> None:
    proxy.cut_after(1_000)


FAULTS = [black_holed, reset, refused, late, torn]


@pytest.mark.promise("D03", "B03")
@pytest.mark.parametrize("side", full(["redis", "postgres"], ["redis"]))
@pytest.mark.timeout(HANGS)
def test_nothing_is_lost_though_everything_fails(
    side: str,
    request: pytest.FixtureRequest,
    own_sqs: SqsServer,
    tmp_path: Path,
) -> None:
    # Given much work, some of it with callbacks, of which a part waits in the side store until it is due
    keeper: RedisServer | PostgresServer = request.getfixturevalue(f"own_{side}")
    count = full(5_000, 200)
    with Proxy("127.0.0.1", own_sqs.port) as proxy:
        direct = Cloud(own_sqs, tmp_path, keeper.url)
        seen = Cloud(own_sqs, tmp_path, keeper.url, proxy.port)
        env = {**seen.env, "TALO_STORE_TIMEOUT": "4"}
        with direct.client() as app, Fleet(seen.url, tmp_path, "-c", "2", results=keeper.url, env=env) as fleet:
            after = app.signature("tests.apps.traced.after")
            calls = [call("nap", 0.01, **({"link": [after]} if n % 10 == 0 else {})) for n in range(count)]
            ids = send_all(app, calls, timeout=LONG)
            judge = Judge(app, fleet.trace, ids)
            kill_any = any_process(app, fleet)
            troubles: Counter[str] = Counter()

            # When processes are killed, the side store is, and SQS is out of reach
            def strike(rng: random.Random) -> None:
                trouble = next(turns)
                troubles[trouble] += 1
                if trouble == "kill":
                    kill_any(rng)
                elif trouble == "side":
                    keeper.kill()
                    for_seconds(0.5)
                    keeper.start()
                else:
                    rng.choice(FAULTS)(proxy)
                    for_seconds(full(5.0, 2.5))
                    proxy.pass_on()

            turns = itertools.cycle(["kill", "side", "sqs", "kill"])
            Storm().until(
                lambda: min(troubles["side"], troubles["sqs"]) > 0 and judge.seem_to_have_ended(), strike, every=0.8
            )
            # Then all of it has ended well, and what it linked has run
            judge.wait()
            eventually(lambda: _have_called_back(fleet, set(ids[::10])), LONG, 0.05)
            judge.nothing_is_left()
            assert judge.states() == {"SUCCESS": len(ids)}
            assert judge.dead() == []


@pytest.mark.promise("B12")
@pytest.mark.timeout(HANGS)
def test_cancel_and_status_work_as_elsewhere(cloud: Cloud, app: Talo, tmp_path: Path) -> None:
    # Given tasks that wait, in SQS and on the shelf, of which some are revoked while no worker is up
    ids = send_all(app, [call("nap", 0.0) for _ in range(4)])
    later = send_all(app, [call("nap", 0.0, countdown=2000)])
    for task_id in ids[:2]:
        app.AsyncResult(task_id).revoke()
    with Fleet(cloud.url, tmp_path, "-c", "2", results=cloud.results, env=cloud.env) as fleet:
        # Then they do not run
        Judge(app, fleet.trace, ids).wait()
        assert [app.AsyncResult(task_id).state for task_id in ids] == ["REVOKED", "REVOKED", "SUCCESS", "SUCCESS"]
        # And the worker answers, and a running one can be terminated
        assert app.control.ping(timeout=3) == [{fleet.last.node: {"ok": "pong"}}]
        [long] = send_all(app, [call("nap", 600.0)])
        eventually(lambda: check(fleet.trace.count("start")[long] == 1), LONG)
        app.AsyncResult(long).revoke(terminate=True)
        eventually(lambda: check(app.AsyncResult(long).state == "REVOKED"), LONG)
    assert set(fleet.trace.count("start")).isdisjoint({*ids[:2], *later})
    assert [each.delayed for each in app.store.broker.stats(["celery"])] == [1]


@pytest.mark.parametrize("paused", ["queue", "task type"])
@pytest.mark.timeout(HANGS)
def test_a_pause_outlasts_everything_and_each_group_goes_on_in_its_order(
    cloud: Cloud, app: Talo, tmp_path: Path, paused: str
) -> None:
    # Given a FIFO queue with three groups, and a worker in the middle of it
    groups: dict[str, list[str]] = {"a": [], "b": [], "c": []}

    def send(count: int) -> None:
        for _ in range(count):
            for group, ids in groups.items():
                ids.append(app.send_task(NAP, (0.02,), queue="orders.fifo", MessageGroupId=group).id)

    send(25)
    trace = Trace(tmp_path / "trace")
    slow = {**cloud.env, "TALO_WORKER_LEASE": "600"}
    words = ("-c", "2", "-Q", "orders.fifo,open")
    queues, tasks = (["orders.fifo"], []) if paused == "queue" else ([], [NAP])
    with Worker(cloud.url, tmp_path, *words, results=cloud.results, env=slow) as worker:
        eventually(lambda: check(len(trace.count("start")) >= 6), LONG)
        # When it is paused
        app.control.pause(*queues, tasks=tasks)
        eventually(lambda: check(trace.count("start") == trace.count("end")), LONG)
        before = set(trace.count("start"))
        # Then what was fetched is given back at once, long before its lease would end,
        if paused == "queue":
            eventually(lambda: check(not _held(app)), LONG)
        worker.stop()
    cloud.server.restart()
    send(5)
    # and is charged nothing.
    eventually(lambda: check(_charges(app) == {0}), LONG)
    # Nothing of it starts, though workers and SQS are started anew, and workers die
    for end in ("killed", "ended"):
        with Worker(cloud.url, tmp_path, *words, results=cloud.results, env=cloud.env, name=end) as worker:
            _adds(app)
            cloud.server.restart()
            _adds(app)
            if end == "ended":
                worker.stop()
    assert set(trace.count("start")) == before
    # When it goes on, then all of it runs, each group in its order
    app.control.resume(*queues, tasks=tasks)
    with Worker(cloud.url, tmp_path, *words, results=cloud.results, env=cloud.env, name="last"):
        everything = {task_id for ids in groups.values() for task_id in ids}
        eventually(lambda: check(set(trace.count("end")) == everything), LONG)
    began = trace.times("start")
    assert {group: sorted(ids, key=lambda task_id: began[task_id]) for group, ids in groups.items()} == groups
    assert app.store.broker.dead() == []


def _held(app: Talo) -> int:
    [numbers] = app.store.broker.stats(["orders.fifo"])
    return numbers.leased or 0


def _adds(app: Talo) -> None:
    """A worker does what is not paused."""
    for _ in range(5):
        assert app.send_task("tests.apps.traced.add", (1, 1), queue="open").get(timeout=LONG) == 2


def _charges(app: Talo) -> set[int]:
    """What those have been charged that come first; they go back."""
    broker = app.store.broker
    broker.open("probe", worker="test", slots=1, lease=60)
    found = broker.turn([], "probe", ["orders.fifo"], 100).deliveries
    assert broker.settle([Settlement(lease=each.lease, verdict=Verdict.AGAIN) for each in found]) == []
    return {each.deliveries for each in found}


def test_a_worker_without_a_side_store_says_what_it_misses(cloud: Cloud, tmp_path: Path) -> None:
    worker = Worker(cloud.url, tmp_path, results="disabled://", env=cloud.env)
    try:
        with pytest.raises(RuntimeError, match="keeps no dead letters: set result_backend"):
            worker.start()
    finally:
        worker.destroy()
    # But without dead letters it runs
    env = {**cloud.env, "TALO_TASK_DEAD_LETTERS": "0"}
    with Worker(cloud.url, tmp_path, results="disabled://", env=env, name="w2") as worker:
        with client(cloud.url, "disabled://", broker_transport_options=cloud.options) as app:
            ids = send_all(app, [call("burn", 0.0) for _ in range(10)])
        eventually(lambda: check(set(worker.trace.count("end")) == set(ids)), LONG)
        # And says what it cannot do, a line each
        eventually(lambda: check("carries no remote commands: sqs:// keeps no bus" in worker.output()), LONG)
        assert "Traceback" not in worker.output()


def _have_called_back(fleet: Fleet, linked: set[str]) -> None:
    said = {line[4].removeprefix("parent=") for line in fleet.trace.lines() if line[0] == "after"}
    assert linked <= said
