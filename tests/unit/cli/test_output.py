"""A terminal gets a table, a pipe gets lines."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from tests.unit.cli.conftest import Project


def at_a_terminal(project: Project, *words: str, **env: str) -> str:
    """What a person sees."""
    ours, theirs = pty.openpty()
    environment = project.environment(**{"COLUMNS": "100", "TERM": "xterm", **env})
    process = subprocess.Popen(
        [sys.executable, "-m", "talo", *words], cwd=project.directory, env=environment, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(ours, 4096):
            said += chunk
    except OSError:
        # A terminal whose last writer has gone cannot be read any more.
        process.wait(20)
    os.close(ours)
    return said.decode()


def test_a_terminal_gets_a_table(project: Project) -> None:
    # Given
    project.with_app("call", f"{project.name}.add", "-a", "[1, 2]")
    # When
    said = at_a_terminal(project, "queues")
    # Then
    assert "\t" not in said
    heading, rule, row = [line.strip() for line in said.splitlines() if line.strip()]
    assert "queue" in heading and "leased" in heading
    assert set(rule) == {"─"}
    assert row.split()[:4] == ["celery", "1", "0", "0"]


def test_no_color_is_respected(project: Project) -> None:
    assert "\033[" not in at_a_terminal(project, "-C", "queues")


@pytest.mark.parametrize("text", ["[red]markup[/red]", "[not closed"])
def test_text_of_tasks_is_no_markup(project: Project, text: str) -> None:
    project.bury("some.task", text=text)
    assert text.split()[0] in at_a_terminal(project, "dead", "list", COLUMNS="200")
