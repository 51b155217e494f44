"""``talo runs``, ``run``, ``failures``, ``explain`` and ``waiting``."""

from __future__ import annotations

import json
import time

from talo.stores.base import Settlement
from talo.stores.history import RunRecord
from tests.unit.cli.conftest import Project


def keep(project: Project, *runs: RunRecord) -> None:
    with project.app() as app:
        assert app.store.history is not None
        app.store.history.record(runs)


def ended(id: str, ago: float = 10.0, **fields: object) -> RunRecord:
    usual = {"name": "t.add", "queue": "celery", "state": "SUCCESS", "seconds": 0.5, "worker": "w@one", "keep": 9e4}
    return RunRecord(id=id, ended=time.time() - ago, **{**usual, **fields})  # type: ignore[arg-type]


def failed(id: str, ago: float = 10.0, **fields: object) -> RunRecord:
    error = {"error": "ValueError: no", "fingerprint": "f1", "traceback": "Traceback:\n  line"}
    return ended(id, ago, **{"state": "FAILURE", **error, **fields})


def test_runs_are_listed_and_searched(project: Project) -> None:
    keep(project, ended("a", 30), failed("b", 20), ended("c", 7200, queue="other"))
    assert [row[3] for row in project.talo("runs").rows] == ["b", "a", "c"]
    assert [row[3] for row in project.talo("runs", "--state", "success", "--since", "1h").rows] == ["a"]
    assert [row[3] for row in project.talo("runs", "--error", "valueerror").rows] == ["b"]
    assert [row[3] for row in project.talo("runs", "--queue", "other").rows] == ["c"]
    assert project.talo("runs", "--count").rows == [["FAILURE", "1"], ["SUCCESS", "2"]]
    project.talo("runs", "--since", "never").says_in_one_line("neither a time", "nor an age")


def test_a_list_goes_on_where_it_ended(project: Project) -> None:
    keep(project, *(ended(str(n), 100 - n) for n in range(5)))
    first = json.loads(project.talo("runs", "--limit", "3", "--json").out)
    second = json.loads(project.talo("runs", "--limit", "3", "--json", "--cursor", first["cursor"]).out)
    assert [run["id"] for run in first["runs"] + second["runs"]] == ["4", "3", "2", "1", "0"]
    assert second["cursor"] is None


def test_one_task_s_story_has_each_attempt(project: Project) -> None:
    keep(project, failed("a", 30, state="RETRY"), ended("a", 10, attempt=1), ended("b", 5, root="a", parent="a"))
    told = project.talo("run", "a").out
    assert told.index("RETRY") < told.index("Traceback:\n  line") < told.index("SUCCESS") < told.index("workflow:")
    story = json.loads(project.talo("run", "a", "--json").out)
    assert [run["attempt"] for run in story["attempts"]] == [0, 1]
    assert [run["id"] for run in story["workflow"]] == ["b"]
    project.talo("run", "nobody").says_in_one_line("no run of nobody is kept")


def test_failures_are_grouped(project: Project) -> None:
    keep(project, failed("a", 30), failed("b", 20), failed("c", 10, fingerprint="f2"), failed("d", 88_000))
    rows = project.talo("failures").rows
    assert [(row[0], row[1], row[6]) for row in rows] == [("f2", "1", "c"), ("f1", "2", "b")]
    assert [each["count"] for each in json.loads(project.talo("failures", "--since", "2d", "--json").out)] == [1, 3]


def codes(project: Project, task_id: str) -> list[str]:
    return [reason["code"] for reason in json.loads(project.talo("explain", task_id, "--json").out)["reasons"]]


def test_what_waits_is_listed_and_explained(project: Project) -> None:
    # Given two that wait and one that is delayed, and nobody who works
    with project.app() as app:
        first, second = app.send_many([("t.add", (1,)), ("t.add", (2,))])
        [late] = app.send_many([("t.add", (3,))], countdown=600)
    # Then
    rows = project.talo("waiting", "celery").rows
    assert [(row[3], row[4], row[5]) for row in rows] == [("t.add", first.id, "(1,)"), ("t.add", second.id, "(2,)")]
    assert [row[4] for row in project.talo("waiting", "celery", "--delayed").rows] == [late.id]
    assert codes(project, first.id) == ["no_worker", "waiting"]
    assert codes(project, late.id) == ["no_worker", "delayed"]
    assert "behind 1 others" in project.talo("explain", second.id).out
    # When its queue and its task are paused
    with project.app() as app:
        app.control.pause("celery", tasks=["t.add"])
    # Then
    assert codes(project, first.id) == ["paused", "paused", "no_worker", "waiting"]
    with project.app() as app:
        app.control.resume("celery", tasks=["t.add"])
    # When one is fetched, one is revoked, and a worker is up
    with project.app() as app:
        broker = app.store.broker
        broker.open("me", worker="w@one", slots=0, lease=60)
        broker.open("another", worker="w@two", slots=1, lease=60)
        [delivery] = broker.turn([], "me", ["celery"], 1).deliveries
        app.AsyncResult(second.id).revoke()
    # Then
    assert codes(project, first.id) == ["leased"]
    assert "w@one" in project.talo("explain", first.id).out
    assert codes(project, second.id) == ["revoked", "waiting"]
    # When the first has ended
    with project.app() as app:
        app.store.broker.settle([Settlement(lease=delivery.lease, run=ended(first.id))])
    # Then
    assert codes(project, first.id) == ["ended"]
    assert codes(project, "nobody") == ["not_found"]


def test_a_dead_letter_is_explained(project: Project) -> None:
    [dead] = project.bury("t.add", text="no good")
    assert codes(project, dead) == ["dead"]
    assert "no good" in project.talo("explain", dead).out


def test_an_expired_task_is_explained(project: Project) -> None:
    keep(project, ended("a", state="REVOKED", error="expired", seconds=None))
    assert codes(project, "a") == ["expired", "ended"]
