"""What real workers tell over HTTP."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from talo.stores.history import RunQuery
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.unit.observe.scrape import Scrape, ask
from tests.workers import Worker, client


def equal(found: object, wanted: object) -> None:
    assert found == wanted


@pytest.mark.parametrize(
    "arguments", [("-c", "2"), ("-P", "threads", "-c", "4", "--start-method", "spawn")], ids=["fork", "spawn"]
)
def test_what_ends_is_counted_and_no_death_takes_it_back(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    # Given a worker that keeps no history
    env = {"TALO_HISTORY": "off", "TALO_RESULT_EXPIRES": "3600"}
    with client(broker) as app, Worker(broker, tmp_path, *arguments, "--http", "0", env=env) as worker:
        # When tasks succeed, fail, are tried again, and one kills its process twice
        for number in range(20):
            app.send_task("tests.apps.traced.add", (number, 1))
        app.send_task("tests.apps.traced.fails")
        app.send_task("tests.apps.traced.flaky", (2,))
        app.send_task("tests.apps.traced.nap", (0.02,))
        eventually(lambda: equal(Scrape(worker).sum("talo_tasks_total"), 25), timeout=30)
        before = Scrape(worker)
        app.send_task("tests.apps.traced.poison")
        # Then each end is there by task, queue and state
        eventually(lambda: equal(Scrape(worker).sum("talo_worker_process_exits_total", cause="crashed"), 3), timeout=40)
        eventually(lambda: equal(Scrape(worker).sum("talo_dead_letters_total", reason="worker_lost"), 1), timeout=40)
        found = Scrape(worker)
        name = "tests.apps.traced."
        ended = {
            (s.labels["task"].removeprefix(name), s.labels["state"]): s.value
            for s in found.samples
            if s.name == "talo_tasks_total" and s.labels["queue"] == "celery"
        }
        assert ended == {
            ("add", "SUCCESS"): 20,
            ("fails", "FAILURE"): 1,
            ("flaky", "RETRY"): 2,
            ("flaky", "SUCCESS"): 1,
            ("nap", "SUCCESS"): 1,
            ("poison", "LOST"): 2,
            ("poison", "FAILURE"): 1,
        }
        # And nothing that was told before has fallen
        counters = [s for s in before.samples if s.name.endswith(("_total", "_count", "_bucket", "_sum"))]
        assert all(found.sum(s.name, **s.labels) >= s.value for s in counters)
        assert found.sum("talo_task_run_seconds_count", task=f"{name}nap") == 1
        assert found.sum("talo_task_run_seconds_bucket", task=f"{name}nap", le="0.016") == 0
        assert found.sum("talo_task_wait_seconds_count", queue="celery") == 25
        assert found.sum("talo_dead_letters_total", reason="failed") == 1
        # And the store was told of none of them
        history = app.store.history
        assert history is not None
        assert history.runs(RunQuery(), 10).runs == []
        assert history.counters(0, 2**33, 60) == []
        assert worker.stop() == 0


@pytest.mark.promise("M09")
def test_labels_stay_few_under_ten_thousand_ids_hosts_and_keys(tmp_path: Path) -> None:
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    options = ("-c", "2", "-Q", "celery,side", "--http", "0", "metrics_max_tasks=20", "task_unknown_patience=0")
    with client(broker) as app, Worker(broker, tmp_path, *options) as worker:
        add = "tests.apps.traced.add"
        # Given what the worker tells of one task
        app.send_task(add, (1, 1))
        app.send_task(add, (1, 1), queue="side")
        # When ten thousand come, each with an id, a sender's host and a routing key of its own, some under names
        # that nobody knows, and some with names that are no names
        calls = [
            (add, (1, 1), {}, {"task_id": f"id{n}", "headers": {"origin": f"gen{n}@host{n}"}, "routing_key": f"key{n}",
                               "queue": "celery" if n % 2 else "side"})
            for n in range(10_000)
        ]  # fmt: skip
        app.send_many(calls)
        app.send_many([(f"unknown{n}", (), {}, {"reply_to": f"reply{n}"}) for n in range(100)])
        eventually(lambda: equal(Scrape(worker).sum("talo_tasks_total"), 10_102), timeout=100)
        found = Scrape(worker)
        # Then all of them are counted
        assert found.sum("talo_tasks_total", task=add) == 10_002
        # And the labels are those of the configuration: no id, host, key or reply address is among them
        tasks, queues = found.labels("task"), found.labels("queue")
        assert add in tasks and len(tasks) <= 21 and "other" in tasks
        assert queues == {"celery", "side"}
        assert not any(word in found.text for word in ("id1", "host1", "key1", "reply1"))
        assert len(found.samples) < 1000
        assert found.labels("state") <= {"SUCCESS", "FAILURE", "REJECTED", "ready", "delayed", "leased"}


def test_a_worker_is_ready_only_while_it_could_start_something(tmp_path: Path, own_redis: RedisServer) -> None:
    with client(own_redis.url) as app, Worker(own_redis.url, tmp_path, "-c", "1", "--http", "0") as worker:
        # Given a worker that is up
        eventually(lambda: equal(ask(worker, "/readyz"), (200, '{"ready": true, "reasons": []}\n')), timeout=30)
        assert Scrape(worker).sum("talo_broker_up") == 1
        # When its queue is paused
        app.control.pause("celery")
        eventually(lambda: equal(ask(worker, "/readyz")[0], 503), timeout=30)
        app.control.resume("celery")
        eventually(lambda: equal(ask(worker, "/readyz")[0], 200), timeout=30)
        # When the broker goes away
        own_redis.stop()
        eventually(lambda: equal("the broker is away" in ask(worker, "/readyz")[1], True), timeout=30)
        # Then the worker lives, and says that it sees no broker
        assert ask(worker, "/livez")[0] == 200
        eventually(lambda: equal(Scrape(worker).sum("talo_broker_up"), 0), timeout=30)
        assert "talo_queue_tasks" not in Scrape(worker).names
        # When it is back
        own_redis.start()
        eventually(lambda: equal(ask(worker, "/readyz")[0], 200), timeout=30)
        # When the worker stops, and a task still runs
        app.send_task("tests.apps.traced.nap", (60,))
        eventually(lambda: equal(Scrape(worker).sum("talo_worker_slots_busy"), 1), timeout=30)
        worker.signal(signal.SIGTERM)
        eventually(lambda: equal("the worker stops" in ask(worker, "/readyz")[1], True), timeout=30)
        assert ask(worker, "/livez")[0] == 200
        worker.signal(signal.SIGQUIT)
        assert worker.wait() == 0


def test_a_new_agent_answers_and_the_counts_of_children_stay(tmp_path: Path) -> None:
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    with client(broker) as app, Worker(broker, tmp_path, "-c", "1", "--http", "0") as worker:
        app.send_task("tests.apps.traced.add", (1, 1))
        eventually(lambda: equal(Scrape(worker).sum("talo_tasks_total"), 1), timeout=30)
        os.kill(worker.agent(), signal.SIGKILL)
        eventually(lambda: equal(worker.output().count("Health and metrics on"), 2), timeout=30)
        found = Scrape(worker)
        assert found.sum("talo_tasks_total") == 1
        assert found.sum("talo_worker_process_exits_total", cause="agent") == 1


def test_a_port_that_is_taken_stops_the_worker_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = Worker(f"sqlite:///{tmp_path}/t.sqlite3", tmp_path, "--http", str(port)).start(ready=False)
        assert worker.wait() == 1
    assert f"worker_http 127.0.0.1:{port} cannot be listened on" in worker.output()
    assert "Traceback" not in worker.output()
