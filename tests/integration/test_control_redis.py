"""Remote control on Redis: the real Celery asks and steers a worker of Talo's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from talo import Talo
from talo.events import pidbox
from tests.integration.peers import CeleryClient, celery_env
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.workers import ROOT, Worker

#: Generous: the answer is awaited, not the time.
LONG = 20.0


def ask(app: Talo, node: str, question: str) -> Any:
    """What one node answers."""
    return getattr(app.control.inspect([node], timeout=LONG), question)()[node]


def celery_command(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The real ``celery`` command."""
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "tests.apps.celery_app", *words],
        env={**os.environ, **celery_env(url)}, cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


@pytest.fixture
def gates(tmp_path: Path, app: Talo, talo_worker: Worker) -> Any:
    """Both slots of the worker are busy until ``gates`` is opened."""
    gate = tmp_path / "open"
    results = [app.send_task("shared.hold", (str(gate),)) for _ in range(2)]
    ids = {result.id for result in results}
    eventually(lambda: _all_begun(talo_worker, ids), timeout=30)
    yield results
    gate.touch()
    for result in results:
        result.get(timeout=30, propagate=False)


def _all_begun(worker: Worker, ids: set[str]) -> None:
    assert ids <= set(worker.trace.times("started"))


@pytest.mark.promise("K05")
def test_celerys_client_asks_talos_worker(
    url: str, celery: CeleryClient, talo_worker: Worker, gates: list[Any]
) -> None:
    node = talo_worker.node
    inspect = "app.control.inspect([{node}], timeout=20)"
    # With every slot busy it answers everything that Celery asks,
    assert celery("app.control.ping([{node}], timeout=20)", node=node) == [{node: {"ok": "pong"}}]
    active = celery(f"{inspect}.active()", node=node)[node]
    assert {info["id"] for info in active} == {gate.id for gate in gates}
    [info, _] = active
    assert info["name"] == info["type"] == "shared.hold"
    assert info["hostname"] == node
    assert isinstance(info["time_start"], float) and abs(time.time() - info["time_start"]) < 3600
    assert info["worker_pid"] in talo_worker.children()
    assert info["delivery_info"]["routing_key"] == "celery"
    stats = celery(f"{inspect}.stats()", node=node)[node]
    assert stats["pid"] == talo_worker.pid
    assert stats["pool"]["max-concurrency"] == 2
    assert sorted(stats["pool"]["processes"]) == sorted(talo_worker.children())
    assert stats["broker"]["transport"] == url.partition(":")[0]
    [queue] = celery(f"{inspect}.active_queues()", node=node)[node]
    assert (queue["name"], queue["exchange"]["type"], queue["routing_key"]) == ("celery", "direct", "celery")
    assert "shared.add" in celery(f"{inspect}.registered()", node=node)[node]
    query = celery(f"{inspect}.query_task({{ids}})", node=node, ids=[gates[0].id, "nosuch"])[node]
    assert query[gates[0].id][0] == "active" and list(query) == [gates[0].id]
    assert celery(f"{inspect}.conf()", node=node)[node]["task_track_started"] is True
    for question in ("reserved", "scheduled", "revoked"):
        assert isinstance(celery(f"{inspect}.{question}()", node=node)[node], list)
    assert celery(f"{inspect}.clock()", node=node)[node]["clock"] > 0
    assert "MB" in celery(f"{inspect}.memsample()", node=node)[node]
    assert "broker" in celery(f"{inspect}.report()", node=node)[node]["ok"]


def test_the_real_command_sees_talos_worker(url: str, talo_worker: Worker) -> None:
    told = celery_command(url, "inspect", "-t", "10", "-d", talo_worker.node, "-j", "ping")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == {talo_worker.node: {"ok": "pong"}}


def _assert_in(item: Any, items: Any) -> None:
    assert item in items


@pytest.mark.promise("K05")
def test_celerys_client_steers_talos_worker(celery: CeleryClient, app: Talo, talo_worker: Worker) -> None:
    node = talo_worker.node
    do = "app.control.{command}(destination=[{node}], reply=True, timeout=20, **{more})"

    def steer(command: str, **more: Any) -> Any:
        [reply] = celery(do.replace("{command}", command), node=node, more=more)
        return reply[node]

    # When the pool grows there is one more process, and one less when it shrinks
    assert steer("pool_grow", n=1) == {"ok": "pool will grow"}
    eventually(lambda: _has_children(talo_worker, 3), timeout=30)
    assert steer("pool_shrink", n=1) == {"ok": "pool will shrink"}
    eventually(lambda: _has_children(talo_worker, 2), timeout=30)
    assert "Can't shrink" in steer("pool_shrink", n=2)["error"]
    # A queue that is added is consumed, and one that is cancelled is not
    assert steer("add_consumer", queue="extra") == {"ok": "add consumer extra"}
    assert app.send_task("shared.add", (1, 2), queue="extra").get(timeout=30) == 3
    assert steer("cancel_consumer", queue="extra") == {"ok": "no longer consuming from extra"}
    assert [each["name"] for each in ask(app, node, "active_queues")] == ["celery"]
    # Limits, events
    assert steer("rate_limit", task_name="nope", rate_limit="10/m") == {"error": "unknown task"}
    assert steer("rate_limit", task_name="shared.add", rate_limit="soon")["error"].startswith("Invalid rate limit")
    assert steer("time_limit", task_name="shared.nap", hard=100, soft=50) == {"ok": "time limits set successfully"}
    assert steer("enable_events") == {"ok": "task events enabled"}
    assert steer("enable_events") == {"ok": "task events already enabled"}
    assert steer("disable_events") == {"ok": "task events disabled"}
    assert steer("heartbeat") is None
    assert "Autoscale not enabled" in steer("autoscale", max=4, min=2)["error"]
    assert "not enabled" in steer("pool_restart")["error"]
    [reply] = celery("app.control.broadcast('no_such', destination=[{node}], reply=True, timeout=20)", node=node)
    assert reply[node] == {"error": "KeyError('no_such')"}


def _has_children(worker: Worker, number: int) -> None:
    assert len(worker.children()) == number


@pytest.mark.promise("K05")
def test_celerys_revoke_keeps_talos_worker_from_starting_it(
    celery: CeleryClient, app: Talo, talo_worker: Worker, gates: list[Any]
) -> None:
    # Given a task behind busy slots, which Celery's client revokes
    waiting = celery("send('started', 'never')")
    told = celery("app.control.revoke({id}, reply=True, timeout=20, destination=[{node}])", id=waiting,
                  node=talo_worker.node)  # fmt: skip
    assert told == [{talo_worker.node: {"ok": f"tasks {{{waiting!r}}} flagged as revoked"}}]
    assert waiting in ask(app, talo_worker.node, "revoked")
    # When the slots are free again, because what runs is stopped
    for gate in gates:
        celery("app.control.terminate({id})", id=gate.id)
    # Then it ends without having started, and the ones that ran were stopped
    assert celery("raised({id})", id=waiting)[1] == "TaskRevokedError"
    for gate in gates:
        assert celery("raised({id})", id=gate.id)[3] == "REVOKED"
    assert waiting not in talo_worker.trace.times("started")


def test_a_command_that_comes_late_is_not_carried_out(
    app: Talo, talo_worker: Worker, redis_server: RedisServer, url: str
) -> None:
    node = talo_worker.node
    late = pidbox.Request(
        method="add_consumer", arguments={"queue": "late"}, destination=[node], expires=time.time() - 1
    )
    # Given a command past its deadline, nonsense, and patterns that would take for ever
    app.store.bus.post([pidbox.request_post(late, pidbox.Exchanges())])
    for body in (b"nonsense", b"[]", b"{}", b'{"method": 7}', b'{"method": "ping", "arguments": 3}'):
        post = pidbox.request_post(late, pidbox.Exchanges())
        post.body = body
        app.store.bus.post([post])
    for pattern in ("(a+)+$", "a*a*a*a*a*b", "(", "x" * 500, r"(.)\1"):
        app.control.broadcast("shutdown", pattern=pattern, matcher="pcre")
    redis_server.command("PUBLISH", f"/{url.rsplit('/', 1)[1]}.celery.pidbox", "garbage", db=0)
    # Then the worker is there, consumes what it did, and has said so
    assert [each["name"] for each in ask(app, node, "active_queues")] == ["celery"]
    eventually(lambda: _assert_in("after its deadline", talo_worker.output()))
    # And patterns that are fine reach it
    for pattern, matcher in (("talo@*", "glob"), (r"talo@\w+", "pcre")):
        assert app.control.broadcast("ping", reply=True, timeout=LONG, limit=1, pattern=pattern, matcher=matcher) == [
            {node: {"ok": "pong"}}
        ]
    assert app.control.broadcast("ping", reply=True, timeout=0.3, pattern="other*", matcher="glob") == []


def test_nothing_stays_in_redis_without_an_expiry(app: Talo, talo_worker: Worker, redis_server: RedisServer) -> None:
    db = int(app.conf.broker_url.rsplit("/", 1)[1])
    left: dict[bytes, int] = {}

    def look(_: object) -> None:
        keys = redis_server.command("KEYS", "*reply.celery.pidbox*", db=db)
        for name in (line for line in keys.split(b"\r\n") if b"pidbox" in line):
            left[name] = int(redis_server.command("TTL", name, db=db)[1:].split()[0])

    # While somebody waits for an answer, all that would stay if he died has an end
    app.control.broadcast("ping", reply=True, timeout=LONG, limit=1, destination=[talo_worker.node], callback=look)
    assert left and min(left.values()) > 0, left
