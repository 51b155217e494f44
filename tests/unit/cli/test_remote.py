"""What ``talo inspect``, ``control`` and ``events`` say when there is nobody, or nothing, to talk to."""

from __future__ import annotations

import json

import pytest

from talo.control.panel import Panel
from tests.unit.cli.conftest import Project


@pytest.mark.parametrize("kind", ["inspect", "control"])
def test_without_an_answer_it_ends_with_69(project: Project, kind: str) -> None:
    told = project.with_app(kind, "-t", "0.05", "ping" if kind == "inspect" else "heartbeat")
    assert told.code == 69
    assert "No nodes replied within time constraint" in told.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["inspect"], "say what: talo inspect COMMAND"),
        (["inspect", "pong"], "did you mean ping?"),
        (["inspect", "revoke"], "revoke is a command of talo control"),
        (["inspect", "ping", "more"], "ping takes no argument 'more'"),
        (["control", "pool_grow", "many"], "n is a number, not 'many'"),
        (["control", "rate_limit", "proj.add"], "rate_limit wants more arguments"),
        (["control", "heartbeat", "--task", "x"], "--task is for pause and resume"),
        (["control", "pause"], "pause what?"),
        (["events", "--maxrate", "often"], "write 10/s, 100/m or 5/h"),
    ],
)
def test_what_cannot_be_is_wrong_usage(project: Project, words: list[str], expected: str) -> None:
    told = project.with_app(*words)
    assert told.code == 2
    told.says_in_one_line(expected)


def test_the_commands_are_listed_with_what_they_do(project: Project) -> None:
    for kind in ("inspect", "control"):
        told = project.with_app(kind, "--list")
        shown = [each for each in Panel.meta.values() if each.type == kind and each.visible]
        assert told.code == 0
        assert all(each.name in told.out and each.help in told.out for each in shown)


def test_a_pause_is_kept_without_any_worker(project: Project) -> None:
    told = project.with_app("control", "--json", "pause", "mail", "--task", "proj.add")
    assert json.loads(told.out) == {"queues": ["mail"], "tasks": ["proj.add"]}
    assert json.loads(project.with_app("control", "--json", "paused").out)["queues"] == ["mail"]
    told = project.with_app("control", "resume", "mail", "--task", "proj.add")
    assert told.out == "paused queues: -\npaused tasks: -\n"


def test_the_commands_of_a_project_are_known(project: Project) -> None:
    name = f"{project.name}_own"
    project.write(
        name,
        "from talo import Talo\nfrom talo.control.panel import inspect_command\n\napp = Talo('own')\n\n\n"
        f"@inspect_command(args=[('n', int)])\ndef {name}_about(state, n=1):\n    '''Tell about it.'''\n    return n\n",
    )
    try:
        assert project.talo("-A", name, "inspect", "-t", "0.05", f"{name}_about", "3").code == 69
    finally:
        Panel.data.pop(f"{name}_about", None)
        Panel.meta.pop(f"{name}_about", None)
