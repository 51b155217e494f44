"""A real, unmodified Flower in front of a worker of Talo's on Redis, asked through its own API."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talo import Talo
from tests.integration.peers import celery_env
from tests.support import eventually
from tests.workers import ROOT, Worker


class Flower:
    """The process and its API."""

    def __init__(self, url: str, folder: Path) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self.log = folder / "flower.log"
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "tests.apps.celery_app", "-b", url, "flower",
                 f"--port={self.port}", "--address=127.0.0.1", "--inspect_timeout=5000"],
                env={**os.environ, **celery_env(url), "FLOWER_UNAUTHENTICATED_API": "true"},
                cwd=ROOT, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def __call__(self, path: str, **form: Any) -> Any:
        """What its API answers: GET, or POST with a form."""
        data = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/{path}", data=data)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read()[:500]!r}") from error
        except OSError as error:
            assert self.process.poll() is None, self.log.read_text()
            raise AssertionError(f"{path}: {error}") from error

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture(scope="module")
def flower(url: str, folder: Path) -> Iterator[Flower]:
    pytest.importorskip("flower")
    flower = Flower(url, folder)
    try:
        eventually(lambda: flower("workers"), timeout=60, interval=0.1)
        yield flower
    finally:
        flower.stop()


@pytest.mark.promise("K05")
def test_flower_sees_and_steers_talos_worker(flower: Flower, app: Talo, talo_worker: Worker) -> None:
    node = talo_worker.node
    # It lists the worker with what it consumes and knows,
    worker = eventually(lambda: _worker(flower, node), timeout=60)
    assert [queue["name"] for queue in worker["active_queues"]] == ["celery"]
    assert "shared.add" in worker["registered"]
    assert worker["stats"]["pool"]["max-concurrency"] == 2
    eventually(lambda: _online(flower, node), timeout=30)
    # hears its events, and shows each task with its result,
    app.control.enable_events(destination=[node], reply=True, timeout=20)
    done = app.send_task("shared.add", (20, 22))
    info = eventually(lambda: _ended(flower, done.id), timeout=30)
    assert (info["name"], info["state"], info["result"], info["worker"]) == ("shared.add", "SUCCESS", "42", node)
    # and its buttons work: the pool grows, a queue is added, a limit is set,
    assert "Growing" in flower(f"worker/pool/grow/{node}", n=1)["message"]
    eventually(lambda: _children(talo_worker, 3), timeout=30)
    assert "shrink" in flower(f"worker/pool/shrink/{node}", n=1)["message"].lower()
    assert "extra" in flower(f"worker/queue/add-consumer/{node}", queue="extra")["message"]
    assert "rate limit" in flower("task/rate-limit/shared.add", workername=node, ratelimit="500/s")["message"]
    assert "time limit" in flower("task/timeout/shared.nap", workername=node, soft=50, hard=100)["message"]
    # and a running task is terminated.
    napping = app.send_task("shared.nap", (60,))
    eventually(lambda: _state(flower, napping.id, "STARTED"), timeout=30)
    assert "Revoked" in flower(f"task/revoke/{napping.id}", terminate="true")["message"]
    eventually(lambda: _state(flower, napping.id, "REVOKED"), timeout=30)


def _worker(flower: Flower, node: str) -> dict[str, Any]:
    found = flower("workers?refresh=1")
    assert node in found and "stats" in found[node] and "registered" in found[node], found
    return found[node]  # type: ignore[no-any-return]


def _online(flower: Flower, node: str) -> None:
    assert flower("workers?status=1") == {node: True}


def _ended(flower: Flower, uuid: str) -> dict[str, Any]:
    info = flower(f"task/info/{uuid}")
    assert info["state"] == "SUCCESS"
    return info  # type: ignore[no-any-return]


def _state(flower: Flower, uuid: str, state: str) -> None:
    assert flower(f"task/info/{uuid}")["state"] == state


def _children(worker: Worker, number: int) -> None:
    assert len(worker.children()) == number
