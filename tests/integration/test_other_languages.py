"""Clients and workers of other languages at Talo's queues.

Node's package runs itself. Of Go's (gocelery) and Rust's (celery) the tests speak the form that the packages write and
read, as their sources declare it: members, types, and what is left out.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from talo import Talo
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.workers import ROOT, Worker

PACKAGE = "celery-node@0.5.9"


@dataclass
class Place:
    """A broker, and where the results are."""

    broker: str
    results: str
    redis: RedisServer

    @property
    def db(self) -> int:
        return int(self.results.rpartition("/")[2])

    def app(self, **settings: Any) -> Talo:
        """Talo as a client."""
        return Talo(
            "client", broker=self.broker, backend=self.results, set_as_current=False, redis_priority_order="low-first",
            task_default_queue_type="classic", **settings,
        )  # fmt: skip

    def worker(self, folder: Path) -> Worker:
        """A worker of Talo's."""
        env = {"TALO_TASK_DEFAULT_QUEUE_TYPE": "classic"}
        return Worker(
            self.broker, folder, "-c", "1", app="tests.apps.talo_app", name="talo", results=self.results, env=env
        )

    def push(self, message: dict[str, Any]) -> None:
        """Put an envelope into the queue, as a client does it that knows no more than the list."""
        self.redis.command("LPUSH", "celery", json.dumps(message), db=self.db)


@pytest.fixture
def redis_place(redis_server: RedisServer, redis_url: str) -> Place:
    """A database for one test."""
    return Place(redis_url, redis_url, redis_server)


@pytest.fixture(params=["redis", "rabbitmq"])
def place(request: pytest.FixtureRequest, redis_place: Place) -> Place:
    """Redis, or RabbitMQ with the results in Redis."""
    if request.param == "rabbitmq":
        rabbit: RabbitServer = request.getfixturevalue("rabbit_server")
        redis_place.broker = rabbit.url_of(rabbit.new_vhost())
    return redis_place


class Node:
    """An installation of the package."""

    def __init__(self, modules: Path) -> None:
        self._env = {**os.environ, "NODE_PATH": str(modules)}

    def start(self, place: Place, *words: str) -> subprocess.Popen[str]:
        """Start a peer; its standard output is a pipe."""
        script = str(ROOT / "tests/apps/node_peer.js")
        command = ["node", script, words[0], place.broker, place.results, *words[1:]]
        return subprocess.Popen(command, env=self._env, stdout=subprocess.PIPE, text=True)

    def call(self, place: Place, protocol: int, *calls: list[Any]) -> Any:
        """What a client is told as the results of these calls."""
        client = self.start(place, "client", str(protocol), *map(json.dumps, calls))
        out, _ = client.communicate(timeout=90)
        return json.loads(out)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """The package, from its registry; where that cannot be reached nothing of Node is shown."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    install = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE]
    done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=170)
    if done.returncode:
        pytest.skip(f"{PACKAGE} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return Node(folder / "node_modules")


@pytest.mark.promise("K03")
@pytest.mark.parametrize("protocol", [1, 2])
def test_what_node_sends_runs_and_node_reads_the_result(
    place: Place, node: Node, protocol: int, tmp_path: Path
) -> None:
    with place.worker(tmp_path):
        told = node.call(place, protocol, ["shared.add", 20, 22], ["shared.where"], ["shared.fails", "no"])
    assert told == [42, "talo", "FAILURE"]


@pytest.mark.promise("K03")
@pytest.mark.parametrize("protocol", [1, 2])
def test_a_node_worker_runs_what_talo_sends_and_talo_reads_the_result(place: Place, node: Node, protocol: int) -> None:
    worker = node.start(place, "worker")
    try:
        with place.app(task_protocol=protocol) as app:
            results = [app.send_task("shared.add", (n, 1)) for n in range(20)]
            assert app.send_task("shared.where").get(timeout=60) == "node"
            assert [result.get(timeout=60) for result in results] == [n + 1 for n in range(20)]
            failed = app.send_task("shared.fails", ("no",))
            with pytest.raises(Exception, match="ended as FAILURE"):
                failed.get(timeout=60)
    finally:
        worker.kill()
        worker.communicate()


def _packed(body: Any) -> str:
    return base64.b64encode(json.dumps(body).encode()).decode()


def _unpacked(envelope: dict[str, Any]) -> Any:
    assert envelope["properties"]["body_encoding"] == "base64"
    assert (envelope["content-type"], envelope["content-encoding"]) == ("application/json", "utf-8")
    return json.loads(base64.b64decode(envelope["body"]))


def go_message(task: str, *args: Any) -> tuple[str, dict[str, Any]]:
    """The id and the envelope of a call from Go: protocol 1, no headers, ids unlike the id of the task."""
    task_id = str(uuid.uuid4())
    body = {"id": task_id, "task": task, "args": args, "kwargs": {}, "retries": 0, "eta": None, "expires": None}
    return task_id, {
        "body": _packed(body),
        "content-type": "application/json",
        "properties": {
            "body_encoding": "base64",
            "correlation_id": str(uuid.uuid4()),
            "reply_to": str(uuid.uuid4()),
            "delivery_info": {"priority": 0, "routing_key": "celery", "exchange": "celery"},
            "delivery_mode": 2,
            "delivery_tag": str(uuid.uuid4()),
        },
        "content-encoding": "utf-8",
    }


def rust_message(task: str, **kwargs: Any) -> tuple[str, dict[str, Any]]:
    """The id and the envelope of a call from Rust: protocol 2, all by name, no place, no priority, no mode."""
    task_id = str(uuid.uuid4())
    absent = ("lang", "root_id", "parent_id", "group", "meth", "shadow", "eta", "expires", "retries", "argsrepr")
    embedded = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return task_id, {
        "body": _packed([[], kwargs, embedded]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            **dict.fromkeys(absent),
            "id": task_id,
            "task": task,
            "timelimit": [None, None],
            "kwargsrepr": None,
            "origin": "gen1@host",
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": None,
            "delivery_tag": str(uuid.uuid4()),
            "body_encoding": "base64",
        },
    }


def test_what_go_and_rust_send_runs(redis_place: Place, tmp_path: Path) -> None:
    place = redis_place
    with place.app() as app, place.worker(tmp_path):
        go, envelope = go_message("shared.add", 20, 22)
        place.push(envelope)
        rust, envelope = rust_message("shared.add", x=2, y=3)
        place.push(envelope)
        assert [app.AsyncResult(task_id).get(timeout=60) for task_id in (go, rust)] == [42, 5]
    # Go's client looks for these members under this name.
    [_, stored, *_] = place.redis.command("GET", f"celery-task-meta-{go}", db=place.db).split(b"\r\n")
    told = json.loads(stored)
    assert (told["task_id"], told["status"], told["result"], told["traceback"]) == (go, "SUCCESS", 42, None)
    assert isinstance(told["children"], list)


def test_go_and_rust_can_read_what_talo_sends(redis_place: Place) -> None:
    # Given a call in each protocol, where the workers of these languages pop it,
    place = redis_place
    with place.app() as app:
        for protocol in (1, 2):
            app.conf.task_protocol = protocol
            app.send_task("shared.add", (2, 3), countdown=0)
    first, second = (
        json.loads(place.redis.command("RPOP", "celery", db=place.db).split(b"\r\n", 1)[1]) for _ in range(2)
    )
    # then Go finds protocol 1 in the body,
    body = _unpacked(first)
    assert (body["task"], body["args"], body["kwargs"], body["retries"]) == ("shared.add", [2, 3], {}, 0)
    assert isinstance(first["properties"].get("delivery_info", {}).get("priority", 0), int)
    # and Rust protocol 2 in the headers, with every member that it cannot do without.
    args, kwargs, embedded = _unpacked(second)
    assert (args, kwargs) == ([2, 3], {})
    assert embedded.keys() >= {"callbacks", "errbacks", "chain", "chord"}
    headers = second["headers"]
    assert (headers["task"], headers["timelimit"], headers["retries"]) == ("shared.add", [None, None], 0)
    assert isinstance(headers["id"], str)
    assert {"correlation_id", "delivery_tag", "body_encoding"} <= second["properties"].keys()


def test_the_result_of_a_go_worker_is_read(redis_place: Place) -> None:
    # Go's worker repeats no id in what it stores, and gives it a day.
    place = redis_place
    with place.app() as app:
        result = app.send_task("shared.add", (2, 3))
        told = {"task_id": "", "status": "SUCCESS", "traceback": None, "result": 5, "children": None}
        place.redis.command("SETEX", f"celery-task-meta-{result.id}", "86400", json.dumps(told), db=place.db)
        eventually(lambda: _is(app.AsyncResult(result.id).state, "SUCCESS"))
        assert result.get(timeout=30) == 5


def _is(actual: object, expected: object) -> None:
    assert actual == expected
