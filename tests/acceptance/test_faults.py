"""Faults that a user meets on an ordinary day: a broker that is away, a long task, a forged message, a full disk.

One fault a test, on the stores that it applies to. Kills and outages under load are the chaos suite's."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from talo import errors
from talo.app.app import Talo
from tests.chaos.kit import LONG, Fleet, Judge, call, check, full, send_all
from tests.servers.redis import RedisServer, database_of
from tests.support import eventually
from tests.workers import client

#: The deadline of a send, and what a busy machine may add to it: less than the store's own 5 s.
DEADLINE, SLACK = 0.5, 3.0


# -- sending ---------------------------------------------------------------------------------------------------------


def seconds_until_it_gives_up(app: Talo) -> float:
    began = time.monotonic()
    with pytest.raises(errors.PublishTimeout):
        app.send_task("tests.apps.traced.quiet")
    return time.monotonic() - began


@pytest.mark.promise("B01")
@pytest.mark.parametrize("fault", ["refuse", "black_hole", "reset", "delay"])
@pytest.mark.parametrize("warm", [True, False], ids=["connected", "new"])
def test_a_send_gives_up_at_its_deadline(fault: str, warm: bool, redis_url: str, redis_server: RedisServer) -> None:
    with redis_server.proxy() as proxy:
        with client(proxy.through(redis_url), publish_timeout=DEADLINE) as app:
            if warm:
                app.send_task("tests.apps.traced.quiet", timeout=LONG)
            getattr(proxy, fault)(*([30.0] if fault == "delay" else []))
            assert seconds_until_it_gives_up(app) < DEADLINE + SLACK
            # And the producer is well as soon as the broker is
            proxy.pass_on()
            assert eventually(lambda: sent(app), LONG)


def sent(app: Talo) -> str:
    try:
        return app.send_task("tests.apps.traced.quiet").id
    except errors.OperationalError as error:
        raise AssertionError from error


@pytest.mark.promise("B01")
@pytest.mark.parametrize("warm", [True, False], ids=["connected", "new"])
def test_a_send_to_a_paused_broker_gives_up_at_its_deadline(warm: bool, own_redis: RedisServer) -> None:
    with client(own_redis.url, publish_timeout=DEADLINE) as app:
        if warm:
            app.send_task("tests.apps.traced.quiet")
        own_redis.pause()
        try:
            assert seconds_until_it_gives_up(app) < DEADLINE + SLACK
        finally:
            own_redis.resume()
        assert eventually(lambda: sent(app), LONG)


@pytest.mark.promise("B01")
def test_a_crowd_that_sends_to_a_paused_broker_gives_up_at_its_deadline(own_redis: RedisServer) -> None:
    # Given more senders than connections
    took: list[float] = []
    with client(own_redis.url, publish_timeout=DEADLINE) as app:
        app.send_task("tests.apps.traced.quiet")
        own_redis.pause()
        try:
            crowd = [threading.Thread(target=lambda: took.append(seconds_until_it_gives_up(app))) for _ in range(30)]
            for thread in crowd:
                thread.start()
            for thread in crowd:
                thread.join(LONG)
        finally:
            own_redis.resume()
    assert len(took) == 30
    assert max(took) < DEADLINE + SLACK


@pytest.mark.promise("B01")
def test_a_send_to_a_name_that_does_not_exist_gives_up_at_its_deadline() -> None:
    with client("redis://no-such-host.invalid:6379/0", publish_timeout=DEADLINE) as app:
        assert seconds_until_it_gives_up(app) < DEADLINE + SLACK


@pytest.mark.promise("B01")
def test_a_send_to_a_port_where_nobody_listens_gives_up_at_its_deadline() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with client(f"redis://127.0.0.1:{taken.getsockname()[1]}/0", publish_timeout=DEADLINE) as app:
            assert seconds_until_it_gives_up(app) < DEADLINE + SLACK


# -- long beside short -----------------------------------------------------------------------------------------------


@pytest.fixture
def soon(request: pytest.FixtureRequest) -> float:
    """Seconds in which short tasks are through, that do not wait for a long one. A cluster whose slot is on its way
    more often than not lets nothing end meanwhile."""
    return 3.0 if request.config.getoption("--redis") == "server" else 12.0


@pytest.mark.promise("D06")
@pytest.mark.parametrize("first", ["long", "short"])
def test_short_tasks_do_not_wait_behind_a_long_one(
    first: str, broker: str, app: Talo, soon: float, tmp_path: Path
) -> None:
    with Fleet(broker, tmp_path, "-c", "2") as fleet:
        if first == "short":
            # Children that have learnt to fetch many at once
            Judge(app, fleet.trace, send_all(app, [call("burn", 0.0) for _ in range(300)])).wait()
        sent_at = time.time()
        long, *short = send_all(app, [call("nap", 60.0), *(call("nap", 0.1) for _ in range(10))])
        judge = Judge(app, fleet.trace, short)
        judge.wait()
        ended = fleet.trace.times("end")
        assert max(ended[task_id] for task_id in short) < sent_at + soon
        assert app.AsyncResult(long).state == "PENDING"
    assert all(fleet.trace.count("start")[task_id] == 1 for task_id in short)


@pytest.mark.promise("D06")
def test_a_long_task_holds_up_neither_what_ended_before_it_nor_what_was_fetched_behind_it(
    broker: str, app: Talo, soon: float, tmp_path: Path
) -> None:
    # Given a long one among many quick ones
    with Fleet(broker, tmp_path, "-c", "2") as fleet:
        Judge(app, fleet.trace, send_all(app, [call("burn", 0.0) for _ in range(300)])).wait()
        sent_at = time.time()
        quick = [call("noop") for _ in range(200)]
        ids = send_all(app, [*quick[:100], call("nap", 60.0), *quick[100:]])
        del ids[100]
        judge = Judge(app, fleet.trace, ids)
        # Then all quick ones are through, and seen to be, although it runs
        judge.wait()
        seen = time.time()
        ended = fleet.trace.times("end")
        assert max(ended[task_id] for task_id in ids) < sent_at + soon
        assert seen < sent_at + soon + 1.0
        assert judge.repeated() == set()


@pytest.mark.promise("D06")
def test_a_long_task_in_one_worker_leaves_the_rest_to_the_other(
    broker: str, app: Talo, soon: float, tmp_path: Path
) -> None:
    with Fleet(broker, tmp_path, "-c", "1") as fleet:
        fleet.start()
        sent_at = time.time()
        _, *short = send_all(app, [call("nap", 60.0), *(call("nap", 0.1) for _ in range(10))])
        Judge(app, fleet.trace, short).wait()
        ended = fleet.trace.times("end")
        assert max(ended[task_id] for task_id in short) < sent_at + soon


def test_what_is_due_in_an_hour_does_not_grow_a_worker(broker: str, app: Talo, tmp_path: Path) -> None:
    # Given a worker that has warmed up
    with Fleet(broker, tmp_path, "-c", "2") as fleet:
        Judge(app, fleet.trace, send_all(app, [call("noop") for _ in range(500)])).wait()
        before = memory(fleet)
        # When much is sent that is not due
        count = full(100_000, 10_000)
        send_all(app, [call("noop", countdown=3600.0) for _ in range(count)])
        Judge(app, fleet.trace, send_all(app, [call("noop") for _ in range(500)])).wait()
        after = memory(fleet)
        [queue] = [queue for queue in app.store.broker.stats() if queue.name == "celery"]
        assert queue.delayed == count
        # Then it waits in the store
        assert after - before < 8 * 1024, f"{before} KiB, then {after} KiB"


def memory(fleet: Fleet) -> int:
    """KiB of all processes of a worker, shared pages counted once."""
    worker = fleet.last
    return sum(pss(pid) for pid in [worker.pid, *worker.descendants()])


def pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError(f"process {pid} has no Pss")


# -- messages that make no task --------------------------------------------------------------------------------------

DATA = Path(__file__).parent.parent / "data" / "wire"
#: Samples of real brokers that are no fault: they run, wait, expire, or fail as tasks do.
NO_FAULT = {"args-mismatch", "expired", "far-eta", "no-task-nowhere", "embed-null", "retries-string", "timelimit-null"}


def bodied(changed: dict[str, object], body: str = "W1tdLCB7fSwge31d", **more: object) -> str:
    """An item of a Redis list with these headers; its body is ``[[], {}, {}]``."""
    envelope = {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "tests.apps.traced.noop", "id": "forged", **changed},
        "properties": {
            "correlation_id": "forged", "delivery_mode": 2, "body_encoding": "base64", "delivery_tag": "t",
            "priority": 0,
            "delivery_info": {"exchange": "", "routing_key": "celery"},
        },
    }  # fmt: skip
    return json.dumps({**envelope, **more})


MALFORMED = {
    "not JSON": "garbage{",
    "empty": "",
    "not text": "\ud800garbage".encode("utf-16", "surrogatepass").decode("latin-1"),
    "not an object": "[1, 2, 3]",
    "null": "null",
    "a number": "17",
    "nested deeper than anybody means": "[" * 100_000,
    "body not base64": bodied({}, body="@@@"),
    "body not JSON": bodied({}, body="e25vcGU="),
    "body a number": bodied({}, body="MTc="),
    "body of two items": bodied({}, body="W1sxLCAyXSwge31d"),
    "args no list": bodied({}, body="WzEsIHt9LCB7fV0="),
    "kwargs no object": bodied({}, body="W1tdLCAxLCB7fV0="),
    "no id": bodied({"id": None}),
    "id no text": bodied({"id": {"a": 1}}),
    "task no text": bodied({"task": 17}),
    "headers a list": bodied({}, headers=[1, 2]),
    "eta no date": bodied({"eta": "soon"}),
    "expires no date": bodied({"expires": "later"}),
    "time limits text": bodied({"timelimit": "abc"}),
    "unknown compression": bodied({"compression": "application/x-rar"}),
    "corrupt compression": bodied({"compression": "application/x-gzip"}),
    "content type pickle": bodied({}, **{"content-type": "application/x-python-serialize"}),
    "content type unknown": bodied({}, **{"content-type": "application/x-foo"}),
    "content type a list": bodied({}, **{"content-type": ["application/json"]}),
    "unknown __type__": bodied({}, body="W1t7Il9fdHlwZV9fIjoib3MiLCJfX3ZhbHVlX18iOiJ4In1dLHt9LHt9XQ=="),
    "callback no signature": bodied({}, body="W1tdLHt9LHsiY2FsbGJhY2tzIjpbMTddfV0="),
    "chain no list": bodied({}, body="W1tdLHt9LHsiY2hhaW4iOjE3fV0="),
}  # fmt: skip


def samples() -> dict[str, str]:
    """What was recorded of a real broker and makes no task."""
    found = {}
    for path in sorted(DATA.glob("malformed-redis-*.json")):
        name = path.stem.removeprefix("malformed-redis-")
        if name not in NO_FAULT:
            found[name] = json.loads(path.read_text())["messages"][0]["item"]
    return found


@pytest.mark.promise("D10", "X01", "X02")
@pytest.mark.parametrize("pool", ["processes", "threads", "asyncio"])
def test_messages_that_make_no_task_are_kept_and_harm_nobody(
    pool: str, redis_url: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    forged = {**samples(), **MALFORMED}
    assert len(forged) >= 18
    db = database_of(redis_url)
    with client(redis_url) as app:
        # Given every kind of malformed message in front of good ones
        for item in forged.values():
            redis_server.command("LPUSH", "celery", item, db=db)
        ids = send_all(app, [call("noop") for _ in range(50)])
        with Fleet(redis_url, tmp_path, "-P", pool, "-c", "2", env={"TALO_TASK_UNKNOWN_PATIENCE": "0"}) as fleet:
            pids = fleet.last.descendants()
            judge = Judge(app, fleet.trace, ids)
            judge.wait()
            judge.nothing_is_left()
            # Then nobody died of them
            assert fleet.last.descendants() == pids
            assert fleet.last.stop() == 0
        # And all are kept, each with a reason
        letters = app.store.broker.dead(limit=1000)
        assert judge.states() == {"SUCCESS": 50}
        assert all(letter.death.reason and letter.death.text for letter in letters)
        assert len(letters) == len(forged), sorted((d.death.reason, d.death.text) for d in letters)
        assert "Traceback" not in fleet.last.output()


@pytest.mark.promise("D10")
def test_a_task_that_only_some_workers_know_runs_there(broker: str, app: Talo, tmp_path: Path) -> None:
    # Given a deploy: one worker still has the code of before
    with Fleet(broker, tmp_path, "-c", "2", app="tests.apps.older") as old:
        Judge(app, old.trace, send_all(app, [call("quiet") for _ in range(20)])).wait()
        ids = send_all(app, [call("noop") for _ in range(50)])
        eventually(lambda: check("unregistered" in old.last.output()), LONG)
        with Fleet(broker, tmp_path / "new", "-c", "2") as new:
            # Then the tasks wait for the one that has the new code
            judge = Judge(app, new.trace, ids)
            judge.wait()
    assert judge.states() == {"SUCCESS": 50}
    assert judge.dead() == []
    assert new.trace.count("start") == dict.fromkeys(ids, 1)
