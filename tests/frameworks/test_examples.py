"""The examples at work: a client, a web server and a worker, each a process of its own, on one SQLite file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.frameworks.servers import EXAMPLES, FlaskWorker, Server, environment
from tests.support import eventually
from tests.workers import Worker

LETTERS = ["Dear Ada, yours Talo", "Dear Grace, yours Talo"]
ORDER = {"names": ["Ada", "Grace"]}


@pytest.fixture(scope="module")
def flask_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    tmp = tmp_path_factory.mktemp("flask")
    folder, broker = EXAMPLES / "flask", f"sqlite:///{tmp}/talo.sqlite3"
    with (
        FlaskWorker(folder, broker, tmp, "letters", "-c", "1"),
        Server(folder, broker, tmp, "flask", "--app", "letters", "run", "--port", "0") as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def fastapi_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    tmp = tmp_path_factory.mktemp("fastapi")
    folder, broker = EXAMPLES / "fastapi", f"sqlite:///{tmp}/talo.sqlite3"
    with (
        Worker(broker, tmp, "-c", "1", app="letters", env=environment(folder, broker)),
        Server(folder, broker, tmp, "uvicorn", "letters:api", "--port", "0") as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield client


def test_a_flask_site_hands_off_work_and_shows_its_result(flask_site: httpx.Client) -> None:
    # When a client orders letters
    accepted = flask_site.post("/letters", json=ORDER)
    assert accepted.status_code == 202

    # Then the worker writes them with the application's own configuration
    def written() -> list[str]:
        answer = flask_site.get(f"/letters/{accepted.json()['id']}").json()
        assert answer["state"] == "SUCCESS", answer
        return answer["letters"]

    assert eventually(written, timeout=60) == LETTERS


def test_a_fastapi_service_streams_progress_until_the_end(fastapi_service: httpx.Client) -> None:
    # When a client orders letters and follows them
    task_id = fastapi_service.post("/letters", json=ORDER).json()["id"]
    with fastapi_service.stream("GET", f"/tasks/{task_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line]  # ends with the task

    # Then each change was told once, the result last
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert told[-1]["state"] == "SUCCESS"
    assert told[-1]["result"] == LETTERS
    progress = [each["progress"] for each in told if each["progress"]]
    assert progress
    assert progress == sorted(progress, key=lambda each: each["done"])
    assert len({json.dumps(each) for each in told}) == len(told)
    assert fastapi_service.get(f"/tasks/{task_id}").json() == told[-1]


def test_a_fastapi_service_waits_for_a_result_and_serves_others_meanwhile(fastapi_service: httpx.Client) -> None:
    assert fastapi_service.post("/letters/now", json=ORDER).json() == LETTERS


def test_a_fastapi_service_reaches_its_app_by_the_dependency(fastapi_service: httpx.Client, tmp_path: Path) -> None:
    # Given orders before it in the queue, when one is cancelled
    for _ in range(4):
        fastapi_service.post("/letters", json=ORDER)
    task_id = fastapi_service.post("/letters", json=ORDER).json()["id"]
    assert fastapi_service.delete(f"/letters/{task_id}").status_code == 204

    # Then it never runs
    def revoked() -> None:
        assert fastapi_service.get(f"/tasks/{task_id}").json()["state"] == "REVOKED"

    eventually(revoked, timeout=60)
