"""The worker's HTTP: where it listens, whom it serves, when it says what."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from talo import Talo
from talo.errors import ImproperlyConfigured, StoreUnavailable
from talo.worker import health
from talo.worker.board import Board
from talo.worker.bulletin import Standing
from talo.worker.health import Health, HealthServer, check_address
from talo.worker.options import WorkerOptions
from talo.worker.plan import parse_address
from talo.worker.share import Common, Share
from tests.support import eventually


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:9540", ("0.0.0.0", 9540)),
        (":9540", ("127.0.0.1", 9540)),
        ("9540", ("127.0.0.1", 9540)),
        ("[::1]:9540", ("::1", 9540)),
        ("metrics.local:0", ("metrics.local", 0)),
    ],
)
def test_an_address_is_host_and_port_and_loopback_without_a_host(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "here", "host:", "host:http", "::1", "host:99999", "host:-1", "1.5", "host:²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="HOST:PORT"):
        parse_address(text)


def test_a_place_that_is_taken_is_refused_with_the_mend() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(ImproperlyConfigured, match="its own port"):
            check_address(taken.getsockname())
    check_address(("127.0.0.1", 0))


class Fleet:
    """A worker's common memory with one child, and what its node says."""

    def __init__(self, app: Talo) -> None:
        self.common = Common(meters=2)
        self.share = Share(0, 2, self.common)
        self.board: Board = self.share.board
        self.node: Any = SimpleNamespace(standing=Standing(queues=("celery",)), queues=("celery",))
        self.app = app
        self.options = WorkerOptions(hostname="w@test", queues=("celery",), http=("127.0.0.1", 0))

    def child_is_up(self) -> None:
        self.board.introduce(4711, "w@test/child")
        self.board.note_ready()

    def health(self) -> Health:
        return Health(self.app, [self.share], self.common, self.node)


@pytest.fixture
def fleet(talo_app: Talo) -> Fleet:
    return Fleet(talo_app)


def test_a_worker_is_ready_once_a_child_is_up_and_until_it_stops(fleet: Fleet) -> None:
    made = fleet.health()
    now = time.monotonic()
    assert made.unready(now) == ["no process runs tasks yet"]
    fleet.child_is_up()
    assert made.unready(now) == []
    fleet.common.note_stopping()
    assert made.unready(now) == ["the worker stops"]
    assert made.dying(now) == []


def test_a_worker_whose_queues_are_all_paused_is_not_ready(fleet: Fleet) -> None:
    fleet.child_is_up()
    fleet.node.standing = Standing(queues=("celery",), paused_queues=frozenset({"celery"}))
    (reason,) = fleet.health().unready(time.monotonic())
    assert reason.startswith("no queue is consumed")


def test_a_worker_whose_broker_is_away_lives_and_is_not_ready(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given
    fleet.child_is_up()
    made = fleet.health()
    asked = []

    def away(timeout: float) -> None:
        asked.append(timeout)
        raise StoreUnavailable("no route")

    monkeypatch.setattr(fleet.app.store, "ping", away)
    # Then
    now = time.monotonic()
    assert made.unready(now) == ["the broker is away: no route"]
    assert made.dying(now) == []
    # And who asks often asks the broker seldom
    for _ in range(10):
        made.unready(now)
    assert len(asked) == 1
    # When it is back
    monkeypatch.undo()
    assert made.unready(now + 60) != ["the broker is away: no route"]


@pytest.mark.promise("B03")
def test_a_worker_is_not_ready_while_none_of_its_processes_reaches_the_broker_or_asks_it(fleet: Fleet) -> None:
    # Given a child whose own connection is in trouble, though the broker answers to others
    fleet.child_is_up()
    made, now = fleet.health(), time.monotonic()
    fleet.board.note_away(True)
    assert made.unready(now) == ["no process reaches the broker"]
    fleet.board.introduce(4711, "w@test/child-again")
    assert made.unready(now) == ["no process reaches the broker"]
    fleet.board.note_away(False)
    assert made.unready(now) == []
    # And one that has a free slot and should have asked for work long ago
    fleet.board.note_fetching(now - 1)
    assert made.unready(now) == []
    fleet.board.note_fetching(now - 10)
    assert made.unready(now) == ["no process asks for work"]
    # One that is busy need not ask
    for slot in range(fleet.board.slots):
        fleet.board.start(slot, slot + 1, now, 0.0, 0.0)
    assert made.unready(now) == []


def test_a_stuck_agent_and_an_orphan_are_dying(fleet: Fleet) -> None:
    made = fleet.health()
    now = time.monotonic()
    assert made.dying(now + 59) == []
    assert made.dying(now + 120) == ["the agent has been stuck for 120 s"]
    made.tick(now + 119, orphaned=False)
    assert made.dying(now + 120) == []
    made.tick(now + 120, orphaned=True)
    assert made.dying(now + 120) == ["the supervisor is gone"]


@pytest.fixture
def server(fleet: Fleet) -> Iterator[tuple[str, int]]:
    made = HealthServer(fleet.app, fleet.options, [fleet.share], fleet.common, fleet.node)
    made.start()
    yield eventually(lambda: _listening(made))
    made.stop()
    made.stop()
    made._thread.join(5)
    assert not made._thread.is_alive()


def _listening(made: HealthServer) -> tuple[str, int]:
    assert made._server is not None
    host, port = made._server.server_address[:2]
    return str(host), port


def get(address: tuple[str, int], path: str, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(f"http://{address[0]}:{address[1]}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


def test_each_path_answers_by_its_status(server: tuple[str, int], fleet: Fleet) -> None:
    assert get(server, "/livez") == (200, '{"alive": true, "reasons": []}\n')
    status, body = get(server, "/readyz")
    assert (status, json.loads(body)) == (503, {"ready": False, "reasons": ["no process runs tasks yet"]})
    fleet.child_is_up()
    assert get(server, "/readyz?verbose")[0] == 200
    assert get(server, "/metrics")[1].startswith("# HELP talo_build_info")
    assert get(server, "/readyz", "HEAD") == (200, "")
    assert get(server, "/../etc/passwd")[0] == 404
    assert get(server, "/metrics", "POST")[0] == 501


def test_a_fault_is_told_in_the_log_and_not_to_strangers(
    server: tuple[str, int], fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.node.standing = None
    assert get(server, "/readyz") == (500, "See the worker's log.\n")
    assert "'/readyz'" in caplog.text or "/readyz cannot be answered" in caplog.text


def test_who_dawdles_is_cut_and_who_comes_too_many_is_turned_away(
    server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given as many as are served who ask for nothing, for as long as one may
    monkeypatch.setattr(health, "_LONGEST", 2.0)
    idle = [socket.create_connection(server, timeout=20) for _ in range(health._MOST)]
    try:
        eventually(lambda: _busy(health._MOST))
        # When one more comes
        with pytest.raises((OSError, urllib.error.URLError)):
            get(server, "/livez")
        # And one of them trickles
        idle[0].sendall(b"GET /li")
        # Then all of them are cut, and others are served again
        for connection in idle:
            assert connection.recv(10) == b""
        eventually(lambda: _is(get(server, "/livez")[0], 200))
    finally:
        for connection in idle:
            connection.close()


def _busy(number: int) -> None:
    assert sum(thread.name == "talo-http-one" for thread in threading.enumerate()) == number


def _is(found: object, wanted: object) -> None:
    assert found == wanted


def test_without_the_extra_the_metrics_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fleet: Fleet) -> None:
    # Given an installation that lacks prometheus-client
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    made = HealthServer(fleet.app, fleet.options, [fleet.share], fleet.common, fleet.node)
    # Then health is told, and of the metrics what is missing
    assert made._answer("/livez")[0] == 200
    status, _, body = made._answer("/metrics")
    assert status == 501
    assert b"talo[prometheus]" in body and body.count(b"\n") == 1
