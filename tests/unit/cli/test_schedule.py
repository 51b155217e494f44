"""``talo schedule`` and ``talo beat``: what is printed, and what is refused in one line."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import Project


def test_periodic_tasks_are_added_listed_and_removed(project: Project) -> None:
    # Given
    task = f"{project.name}.add"
    told = project.with_app(
        "schedule", "add", "night", task, "0 3 * * *", "--args", "[1, 2]", "--timezone", "Europe/Berlin", "--queue", "q"
    )
    assert told.code == 0, told.err
    assert told.out.startswith(f"Added night: {task}, 0 3 * * * (Europe/Berlin); next run ")
    assert project.with_app("schedule", "add", "often", task, "every", "30s", "--paused").code == 0
    # Then
    rows = project.with_app("schedule", "list").rows
    assert [row[:5] for row in rows] == [
        ["night", task, "0 3 * * * (Europe/Berlin)", "dynamic", "on"],
        ["often", task, "every 30.00 seconds", "dynamic", "off"],
    ]
    [night, _] = json.loads(project.with_app("schedule", "list", "--json").out)
    assert (night["args"], night["options"], night["misfire"]) == ([1, 2], {"queue": "q"}, "once")
    assert len(project.with_app("schedule", "next", "night", "4").out.splitlines()) == 4
    # And
    [task_id] = project.with_app("schedule", "run-now", "night").out.split()
    [run] = project.with_app("schedule", "history", "night").rows
    assert (run[1], run[5]) == ("manual", task_id)
    assert project.with_app("schedule", "edit", "night", "--misfire", "skip").code == 0
    assert project.with_app("schedule", "pause", "night").code == 0
    assert project.with_app("schedule", "resume", "night", "often").code == 0
    assert project.with_app("schedule", "remove", "night", "often").out == "Removed night.\nRemoved often.\n"
    assert project.with_app("schedule", "list").rows == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["schedule", "add", "n", "t", "61 * * * *"], "61 > 59"),
        (["schedule", "add", "n", "t", "0 0 31 2 *"], "never occurs"),
        (["schedule", "add", "n", "t", "@daily"], "5 fields"),
        (["schedule", "add", "n", "t", "every", "1h", "--timezone", "Mars"], "Mars"),
        (["schedule", "add", "n", "t", "at 2020-01-01T00:00"], "never comes"),
        (["schedule", "pause", "nobody"], "no periodic task 'nobody'"),
        (["schedule", "edit", "nobody"], "say what to change"),
        (["beat", "--detach"], "Talo does not daemonize"),
        (["beat", "--uid", "nobody"], "Talo does not daemonize"),
        (["beat", "--umask", "9"], "octal"),
        (["beat", "-S", "no.such:Scheduler"], "cannot be loaded"),
    ],
)
def test_what_cannot_be_is_one_line(project: Project, words: list[str], expected: str) -> None:
    told = project.with_app(*words)
    assert told.code != 0
    told.says_in_one_line(expected)


def test_they_need_an_app(project: Project) -> None:
    for words in (["beat"], ["schedule", "list"]):
        assert project.talo(*words).code == 2
