"""``talo queues``, ``talo purge`` and ``talo status``."""

from __future__ import annotations

import json
import time

from tests.unit.cli.conftest import Project


def send(project: Project, count: int, queue: str = "celery", **options: object) -> None:
    with project.app() as app:
        app.send_many([("some.task", (1,))] * count, queue=queue, **options)


def test_queues_are_counted(project: Project) -> None:
    # Given
    send(project, 3)
    send(project, 2, countdown=3600)
    send(project, 1, queue="other")
    with project.app() as app:
        broker = app.store.broker
        broker.open("holder", worker="w@test", slots=4, lease=60)
        broker.turn([], "holder", ["celery"], 1)
    # Then
    rows = project.talo("queues").rows
    assert [row[:4] for row in rows] == [["celery", "2", "2", "1"], ["other", "1", "0", "0"]]
    assert all(row[4].endswith(" s") for row in rows)
    told = json.loads(project.talo("queues", "--json").out)
    assert all(0 <= row.pop("oldest") < 600 for row in told)
    assert told == [
        {"name": "celery", "ready": 2, "delayed": 2, "leased": 1},
        {"name": "other", "ready": 1, "delayed": 0, "leased": 0},
    ]


def test_headings_are_left_out_for_the_quiet(project: Project) -> None:
    assert project.talo("queues").out == "queue\tready\tdelayed\tleased\toldest\ncelery\t0\t0\t0\t-\n"
    assert project.talo("-q", "queues").out == "celery\t0\t0\t0\t-\n"


def test_tasks_are_given_another_time(project: Project) -> None:
    send(project, 2, countdown=60)
    with project.app() as app:
        names = [str(each.id) for each in app.store.broker.peek("celery", 10, delayed=True)]
    assert project.talo("reschedule", *names, "--countdown", "5m").out == "Rescheduled 2 tasks.\n"
    assert project.talo("reschedule", names[0], "--eta", "2099-12-31T00:00:00+00:00").out == "Rescheduled 1 task.\n"
    with project.app() as app:
        dues = [each.due or 0.0 for each in app.store.broker.peek("celery", 10, delayed=True)]
    assert time.time() + 240 < dues[0] < time.time() + 301 < dues[1]
    told = project.talo("reschedule", names[1], "unknown", "--countdown", "0")
    assert told.code == 1
    assert told.out == "Rescheduled 1 task.\n"
    assert "unknown" in told.err
    assert names[1] not in told.err
    for wrong in ((), ("--countdown", "soon"), ("--countdown", "1", "--eta", "2099-12-31")):
        assert project.talo("reschedule", names[0], *wrong).code == 2


def test_purging_takes_ready_and_delayed_tasks(project: Project) -> None:
    send(project, 2)
    send(project, 1, countdown=3600)
    assert project.talo("purge", "-f").out == "Purged 3 messages from 1 known task queue.\n"
    assert project.talo("purge", "-f").out == "No messages purged from 1 queue.\n"


def test_purging_keeps_to_the_queues_that_are_named(project: Project) -> None:
    # Given
    for queue in ("a", "b", "c"):
        send(project, 1, queue=queue)
    # When
    told = project.talo("purge", "-f", "-Q", "a,b,c", "-X", "b")
    # Then
    assert told.out == "Purged 2 messages from 2 known task queues.\n"
    assert ["b", "1", "0", "0"] in [row[:4] for row in project.talo("queues").rows]


def test_purging_asks_and_a_no_keeps_everything(project: Project) -> None:
    # Given
    send(project, 1)
    # When
    told = project.process("purge", stdin="n\n")
    # Then
    assert told.code == 1
    assert "This will remove all tasks from queue: celery." in told.out
    assert "Aborted!" in told.err
    # And when nobody is there to answer, that is a no as well
    assert project.process("purge").code == 1
    # And a yes is a yes
    assert "Purged 1 message from" in project.process("purge", stdin="y\n").out


def test_purging_nothing_is_refused(project: Project) -> None:
    project.talo("purge", "-f", "-X", "celery").says_in_one_line("no queue is left to purge")


def test_without_a_worker_status_says_so_with_its_own_exit_code(project: Project) -> None:
    told = project.talo("status")
    assert told.code == 69
    assert told.err == "Error: No nodes replied within time constraint\n"


def test_status_sums_the_lease_holders_of_each_worker(project: Project) -> None:
    # Given
    send(project, 3)
    with project.app() as app:
        broker = app.store.broker
        broker.open("a1", worker="a@host", slots=1, lease=60)
        broker.open("a2", worker="a@host", slots=2, lease=60)
        broker.open("b1", worker="b@host", slots=4, lease=60)
        broker.open("c1", worker="c@host", slots=4, lease=-1)
        broker.turn([], "a1", ["celery"], 2)
    # When
    told = project.talo("status")
    # Then
    assert told.code == 0
    assert told.rows[:3] == [
        ["a@host: OK", "3", "2", "2"],
        ["b@host: OK", "4", "1", "0"],
        ["c@host: LEASE OVER", "4", "1", "0"],
    ]
    assert told.out.endswith("\n2 nodes online.\n")
    assert [node["name"] for node in json.loads(project.talo("status", "--json").out)] == ["a@host", "b@host", "c@host"]


def test_status_of_certain_workers_fails_when_they_are_away(project: Project) -> None:
    with project.app() as app:
        app.store.broker.open("a1", worker="a@host", slots=1, lease=60)
    assert project.talo("status", "-d", "a@host").code == 0
    assert project.talo("status", "-d", "b@host").code == 69
