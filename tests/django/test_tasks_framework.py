"""Django's Tasks framework over Talo: what its documentation says of backends holds, with a real worker."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from tests.django.postgres import Postgres
from tests.django.site import Site
from tests.support import eventually

pytest.importorskip("django_tasks", reason="the backport of Django's Tasks is not installed: pip install django-tasks")

SETTINGS: dict[str, Any] = {
    "INSTALLED_APPS": ["orders", "letters", "talo.django", "django_tasks"],
    "TASKS": {"default": {"BACKEND": "talo.django.tasks.TaloBackend", "QUEUES": ["default", "slow"]}},
}
SHOW = """
import datetime, time
from django.db import transaction
from django_tasks import default_task_backend as backend, TaskResultStatus
from django_tasks.exceptions import *
from letters.tasks import *
from letters.later import elsewhere
def show(result):
    return {"id": result.id, "status": result.status, "args": result.args, "kwargs": result.kwargs,
            "attempts": result.attempts, "priority": result.task.priority, "queue": result.task.queue_name,
            "errors": [[e.exception_class_path, e.traceback[-40:]] for e in result.errors],
            "times": [str(t) if t else None for t in (result.enqueued_at, result.started_at, result.last_attempted_at,
                      result.finished_at)]}
def ended(result):
    until = time.monotonic() + 60
    while not result.is_finished and time.monotonic() < until:
        time.sleep(0.02)
        result.refresh()
    return result
"""


@pytest.fixture(params=["django://, sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    databases: dict[str, Any] | None = None
    broker = "django://default"
    if request.param == "redis":
        broker = request.getfixturevalue("redis_url")
    elif "postgresql" in request.param:
        server: Postgres = request.getfixturevalue("postgres")
        databases = {"default": server.database()}
    site = Site(tmp_path, databases=databases, broker=broker, settings=SETTINGS)
    site.migrate()
    return site


ENDS = """
results = [write.enqueue("Ada", copies=2), attempts.enqueue(), count.enqueue(), elsewhere.enqueue(21), named.enqueue()]
found = [ended(each) for each in results]
failed, wrong_ = ended(fail.enqueue()), ended(wrong.enqueue())
slow = slowly.enqueue()
by_id = write.get_result(results[0].id)
async def asynchronously():
    result = await write.aenqueue("Bob")
    for _ in range(3000):
        await result.arefresh()
        if result.is_finished: break
        time.sleep(0.02)
    return (await write.aget_result(result.id)).return_value
from asgiref.sync import async_to_sync
told = {"values": [each.return_value for each in found], "shown": [show(each) for each in found],
        "failed": show(failed), "wrong": show(wrong_), "slow": show(slow), "by id": by_id.return_value,
        "async": async_to_sync(asynchronously)(), "errors": []}
for wish in (lambda: failed.return_value, lambda: slow.return_value, lambda: backend.get_result("nobody"),
             lambda: fail.get_result(results[0].id), lambda: write.using(queue_name="nowhere"),
             lambda: write.using(priority=101), lambda: write.enqueue(object()),
             lambda: write.using(run_after=datetime.datetime(2030, 1, 1))):
    try: wish()
    except Exception as error: told["errors"].append(type(error).__name__)
print(json.dumps(told))
"""


@pytest.mark.promise("J08")
def test_results_say_what_became_of_a_task(place: Site) -> None:
    # When tasks of every kind are enqueued and a worker runs those of the default queue
    with place.worker("-c", "2") as worker:
        told = place.python(SHOW + ENDS)
        assert worker.stop() == 0
    # Then sync, async, context, tasks in modules nobody looks for, and tasks under another name return what they return
    assert told["values"] == [["Dear Ada"] * 2, [1, "RUNNING", [], 1], 0, 42, "by another name"]
    assert (told["by id"], told["async"]) == (["Dear Ada"] * 2, ["Dear Bob"])
    first = told["shown"][0]
    assert (first["status"], first["args"], first["kwargs"]) == ("SUCCESSFUL", ["Ada"], {"copies": 2})
    assert [each["attempts"] for each in told["shown"]] == [1] * 5
    assert [each["priority"] for each in told["shown"]] == [0, 10, 0, 0, 0]
    times = [dt.datetime.fromisoformat(each) for each in first["times"]]
    assert times[0] <= times[1] <= times[2] <= times[3]
    # And failures say which exception, and where
    assert told["failed"]["status"] == "FAILED"
    assert told["failed"]["errors"][0][0] == "builtins.LookupError"
    assert "nobody of that name" in told["failed"]["errors"][0][1]
    assert (told["wrong"]["status"], told["wrong"]["errors"][0][0]) == ("FAILED", "builtins.TypeError")
    # And what no worker has come to is ready
    assert (told["slow"]["status"], told["slow"]["attempts"], told["slow"]["times"][1]) == ("READY", 0, None)
    errors = ["ValueError", "ValueError", "TaskResultDoesNotExist", "TaskResultMismatch", "InvalidTaskError"]
    assert told["errors"] == [*errors, "InvalidTaskError", "TypeError", "InvalidTaskError"]


ORDERED = """
from orders.models import Order
class Back(Exception): pass
try:
    with transaction.atomic():
        lost = stamp.enqueue("lost")
        raise Back
except Back: pass
ids = [stamp.using(priority=each).enqueue(str(each)).id for each in (0, -100, 1, 100, -1, 50)]
due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=3)
ids.append(stamp.using(run_after=due, priority=-100).enqueue("later").id)
with transaction.atomic():
    inside = attempts.using(priority=-50).enqueue(fail_first=True)
    inside.refresh()
    assert inside.status == TaskResultStatus.READY, inside.status
print(json.dumps({"ids": ids, "inside": inside.id, "due": due.timestamp()}))
"""
AFTER = """
result = ended(backend.get_result({id!r}))
last = ended(backend.get_result({last!r}))
print(json.dumps([show(result), result.return_value, last.started_at.timestamp()]))
"""


@pytest.mark.parametrize("place", ["django://, postgresql"], indirect=True)
def test_priorities_run_after_transactions_and_a_process_that_dies(place: Site) -> None:
    # Given tasks of several priorities, one for later, one of a rolled back transaction, and one that kills its process
    told = place.python(SHOW + ORDERED)
    with place.worker("-c", "1") as worker:
        shown, value, started = place.python(SHOW + AFTER.format(id=told["inside"], last=told["ids"][-1]))
        assert worker.stop() == 0
    # Then they ran in the order of their priorities, the delayed one not before its time, the rolled back one never
    lines = (place.directory / "order").read_text().split()
    assert lines == ["100", "50", "1", "0", "-1", "-100", "later"]
    assert started >= told["due"] - 0.05
    # And the second attempt knows of the first
    assert (shown["attempts"], value[0], value[3]) == (2, 2, 2)
    assert (place.directory / "attempts").read_text().split() == [told["inside"]] * 2


def test_signals_of_the_framework_are_told(tmp_path: Path) -> None:
    site = Site(tmp_path, settings=SETTINGS)
    site.migrate()
    code = """
from django_tasks.signals import task_enqueued, task_started, task_finished
from talo.django.worker_app import app
from talo.testing.local import LocalWorker
told = []
for name, signal in (("enqueued", task_enqueued), ("started", task_started), ("finished", task_finished)):
    signal.connect(lambda sender, task_result, name=name, **more:
                   told.append([name, sender.__name__, task_result.status]), weak=False)
write.enqueue("Ada"); fail.enqueue(); wrong.enqueue()
LocalWorker(app).run_all()
print(json.dumps(told))
"""
    told = site.python(SHOW + code)
    assert told == [
        *[["enqueued", "TaloBackend", "READY"]] * 3,
        ["started", "TaloBackend", "RUNNING"], ["finished", "TaloBackend", "SUCCESSFUL"],
        ["started", "TaloBackend", "RUNNING"], ["finished", "TaloBackend", "FAILED"],
        ["started", "TaloBackend", "RUNNING"], ["finished", "TaloBackend", "FAILED"],
    ]  # fmt: skip


def test_a_project_without_the_app_is_told_by_the_checks(tmp_path: Path) -> None:
    site = Site(tmp_path, settings={**SETTINGS, "INSTALLED_APPS": ["orders", "django_tasks"]})
    said = eventually(lambda: site.manage("check", check=False).stderr)
    assert "talo.E003" in said


def test_secret_arguments_are_sealed_with_the_project_s_key(tmp_path: Path) -> None:
    # Given the project's database as the store
    site = Site(tmp_path, broker="django://default", settings=SETTINGS)
    site.migrate()
    # When
    with site.worker("-c", "1") as worker:
        told = site.python(
            SHOW + 'result = ended(sealed_letter.enqueue("Ada", words="correct " + "horse"))\n'
            "print(json.dumps([result.return_value, show(result)]))"
        )
        assert worker.stop() == 0
    # Then the task got them, and nobody else
    value, shown = told
    assert value == ["Ada", 13, "['Ada']"]
    assert (shown["args"], shown["kwargs"]) == (["Ada"], {"words": "<secret>"})
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".py"]
    assert [path.name for path in files if b"correct horse" in path.read_bytes()] == []
