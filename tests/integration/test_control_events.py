"""Events on Redis: what Talo's workers and clients tell, as Talo and the real Celery hear it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talo import Talo
from talo.events import EventReceiver
from talo.events.kinds import KINDS
from tests.integration.peers import CeleryClient
from tests.support import eventually
from tests.workers import Worker


@pytest.fixture(scope="module")
def talo_worker(url: str, folder: Path) -> Iterator[Worker]:
    """A worker of Talo that tells of its tasks."""
    env = {"TALO_TASK_UNKNOWN_PATIENCE": "0"}
    with Worker(url, folder, "-c", "2", "-E", app="tests.apps.talo_app", name="talo", env=env) as worker:
        yield worker


class Heard:
    """A receiver in a thread, and what it has heard."""

    def __init__(self, app: Talo) -> None:
        self.app = app
        self.events: list[dict[str, Any]] = []
        self.state = app.events.State()
        self.receiver: EventReceiver = app.events.Receiver(None, handlers={"*": self._note})
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._begun.wait(20)

    def _run(self) -> None:
        for _ in self.receiver.itercapture(limit=None, wakeup=True):
            self._begun.set()

    def _note(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.state.event(event)
        self._begun.set()

    def of(self, uuid: str) -> dict[str, dict[str, Any]]:
        return {event["type"]: event for event in list(self.events) if event.get("uuid") == uuid}

    def stop(self) -> None:
        self.receiver.stop()
        self._thread.join(10)


@pytest.fixture
def heard(app: Talo, talo_worker: Worker) -> Iterator[Heard]:
    heard = Heard(app)
    # It hears when the worker is heard.
    eventually(lambda: _has(heard, "worker-heartbeat"), timeout=30)
    yield heard
    heard.stop()


def _has(heard: Heard, kind: str, uuid: str | None = None) -> dict[str, Any]:
    for event in list(heard.events):
        if event["type"] == kind and uuid in (None, event.get("uuid")):
            return event
    raise AssertionError(f"no {kind} among {[event['type'] for event in heard.events]}")


#: What Celery's own events of these types carry, beside what all carry.
FIELDS = {
    "task-sent": {"uuid", "root_id", "parent_id", "name", "args", "kwargs", "retries", "eta", "expires", "queue",
                  "exchange", "routing_key"},
    "task-received": {"uuid", "name", "args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires"},
    "task-started": {"uuid"},
    "task-succeeded": {"uuid", "result", "runtime"},
    "task-failed": {"uuid", "exception", "traceback"},
    "task-retried": {"uuid", "exception", "traceback"},
    "task-revoked": {"uuid", "terminated", "signum", "expired"},
    "worker-heartbeat": {"freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"},
}  # fmt: skip
COMMON = {"type", "hostname", "utcoffset", "pid", "clock", "timestamp", "local_received"}


def test_the_table_of_events_says_the_same() -> None:
    assert {name: set(KINDS[name].fields) for name in FIELDS} == FIELDS


def _in_form(event: dict[str, Any]) -> None:
    assert set(event) == COMMON | FIELDS[event["type"]]
    assert isinstance(event["clock"], int) and isinstance(event["pid"], int)


def test_a_task_tells_its_life_in_celerys_words(app: Talo, heard: Heard, talo_worker: Worker) -> None:
    # When tasks succeed, fail, are tried again, are revoked
    app.conf.task_send_sent_event = True
    good = app.send_task("shared.add", (1, 2))
    bad = app.send_task("shared.fails", ("text",))
    again = app.send_task("shared.flaky", (1,))
    expired = app.send_task("shared.add", (1, 1), expires=-1)
    killed = app.send_task("shared.nap", (30,))
    eventually(lambda: _has(heard, "task-started", killed.id), timeout=30)
    app.control.terminate(killed.id)
    # Then each of these is told, with Celery's fields
    # (what has expired RabbitMQ may drop by itself, and nobody tells)
    dropped = app.conf.broker_url.startswith("amqp")
    for kind, result in (
        ("task-sent", good), ("task-received", good), ("task-started", good), ("task-succeeded", good),
        ("task-failed", bad), ("task-retried", again), ("task-succeeded", again), ("task-revoked", killed),
        *(() if dropped else (("task-revoked", expired),)),
    ):  # fmt: skip
        _in_form(eventually(lambda kind=kind, id_=result.id: _has(heard, kind, id_), timeout=30))
    told = heard.of(good.id)
    assert (told["task-received"]["name"], told["task-received"]["args"]) == ("shared.add", "(1, 2)")
    assert told["task-succeeded"]["result"] == "3"
    assert told["task-received"]["hostname"] == talo_worker.node
    assert told["task-received"]["clock"] < told["task-started"]["clock"] < told["task-succeeded"]["clock"]
    assert told["task-sent"]["hostname"].startswith("gen")
    assert heard.of(bad.id)["task-failed"]["exception"] == "ValueError('text', 42)"
    assert dropped or heard.of(expired.id)["task-revoked"]["expired"] is True
    assert heard.of(killed.id)["task-revoked"]["terminated"] is True
    # And the state knows it
    assert (heard.state.tasks[good.id].state, heard.state.tasks[good.id].result) == ("SUCCESS", "3")
    assert heard.state.tasks[bad.id].state == "FAILURE"
    assert heard.state.tasks[good.id].worker.hostname == talo_worker.node
    assert [worker.hostname for worker in heard.state.alive_workers()] == [talo_worker.node]
    _in_form(_has(heard, "worker-heartbeat"))


def test_a_process_that_dies_is_told_too(app: Talo, heard: Heard) -> None:
    lost = app.send_task("shared.dies")
    assert "WorkerLost" in eventually(lambda: _has(heard, "task-failed", lost.id), timeout=60)["exception"]


@pytest.mark.promise("K05")
def test_celery_hears_talos_worker(celery: CeleryClient, app: Talo, talo_worker: Worker) -> None:
    # Given the state of the real Celery, fed by its own receiver
    celery("globals().__setitem__('state', app.events.State())")
    celery("globals().__setitem__('connection', app.connection_for_read())")
    celery("globals().__setitem__('receiver', app.events.Receiver(connection, handlers=dict([('*', state.event)])))")
    celery("globals().__setitem__('captured', receiver.itercapture(limit=None, timeout=20))")
    celery("next(captured) and None")
    # When a task runs
    task = app.send_task("shared.add", (20, 22))
    # Then that state knows worker and task
    celery(
        "next(event for event in captured if state.tasks.get({id}) and state.tasks[{id}].state == 'SUCCESS') and None",
        id=task.id,
    )
    assert celery("[state.tasks[{id}].name, state.tasks[{id}].result, state.tasks[{id}].worker.hostname]",
                  id=task.id) == ["shared.add", "42", talo_worker.node]  # fmt: skip
    assert celery("[w.hostname for w in state.alive_workers()]") == [talo_worker.node]
