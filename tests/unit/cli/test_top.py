"""``talo top``: one look at workers, queues, rates and failures."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from talo.stores.history import RunRecord
from tests.unit.cli.conftest import Project


@pytest.fixture
def busy(project: Project) -> Project:
    """A worker that holds two tasks, a queue where one waits, and what ended a moment ago."""
    with project.app() as app:
        app.send_many([("shop.pay", (1,))] * 3)
        broker, history = app.store.broker, app.store.history
        assert history is not None
        broker.open("w1/child", worker="w1@test", slots=4, lease=60)
        broker.turn([], "w1/child", ["celery"], 2)
        now = time.time()
        ended = [RunRecord(name="shop.pay", queue="celery", state="SUCCESS", ended=now, seconds=0.05)] * 9
        failed = RunRecord(
            name="shop.pay", queue="celery", state="FAILURE", ended=now, seconds=3.0, keep=60.0, id="f1",
            error="KeyError: [red]no\nsecond line", fingerprint="fp",
        )  # fmt: skip
        history.record([*ended, failed])
    return project


def test_one_frame_tells_all(busy: Project) -> None:
    # When
    told = busy.talo("top", "--once")
    # Then
    assert told.code == 0
    assert "workers 1   slots 4   held 2   ready 1   delayed 0" in told.out
    assert "failed 10.0%" in told.out
    lines = [" ".join(line.split()) for line in told.out.splitlines()]
    assert "w1@test alive 4 2" in lines
    assert any(line.startswith("celery 1 0 2 ") for line in lines)
    assert any(line.startswith("shop.pay ") and line.endswith(" 10 1 0 64 ms 4.1 s") for line in lines)
    # And text from tasks is text, one line of it
    assert any(line.endswith("KeyError: [red]no") for line in lines)
    assert "second line" not in told.out


def test_a_frame_as_json(busy: Project) -> None:
    found = json.loads(busy.talo("top", "--json").out)
    assert found["workers"] == [{"name": "w1@test", "alive": True, "slots": 4, "held": 2}]
    assert found["counted"] is True
    (task,) = found["tasks"]
    assert (task["name"], task["ended"], task["failed"], task["retried"]) == ("shop.pay", 10, 1, 0)
    assert 0 < task["rate"] <= 10 / 240
    assert [each["count"] for each in found["failures"]] == [1]


def test_an_empty_store_and_one_without_history_have_a_frame(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "workers 0   slots 0" in project.talo("top", "--once").out
    monkeypatch.setenv("TALO_HISTORY", "off")
    assert "No history is kept here" in project.talo("top", "--once").out


def test_names_cannot_steer_the_terminal_and_many_queues_fit_the_screen(project: Project) -> None:
    # Given
    with project.app() as app:
        history = app.store.history
        assert history is not None
        for number in range(25):
            name = f"t{number}\x1b]0;owned\x07"
            history.record([RunRecord(name=name, queue="q", state="SUCCESS", ended=time.time(), seconds=0.1)])
            app.send_task("t", queue=f"queue{number:02}")
        app.send_many([("t", ())] * 2, queue="queue24")
    # When
    told = project.talo("top", "--once").out
    # Then
    assert "\x1b" not in told and "\x07" not in told
    assert "t0?]0;owned?" in told
    lines = [line.split() for line in told.splitlines()]
    assert [line[0] for line in lines if line and line[0].startswith("queue")][1:3] == ["queue24", "queue00"]
    assert "and 6 more" in told
    # And the totals are those of all
    found = json.loads(project.talo("top", "--json").out)
    assert (found["ended"], len(found["tasks"])) == (25, 20)


def test_a_pipe_gets_one_frame_and_the_end(busy: Project) -> None:
    told = busy.process("top")
    assert (told.code, told.err) == (0, "")
    assert told.out.count("Queues") == 1
    assert "\033[" not in told.out


def test_a_terminal_gets_frames_until_int(busy: Project) -> None:
    # Given
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "talo", "top", "--interval", "0.2"]
    env = busy.environment(COLUMNS="100", LINES="40", TERM="xterm")
    process = subprocess.Popen(command, cwd=busy.directory, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    # When three frames were drawn
    seen = b""
    deadline = time.monotonic() + 30
    while seen.count(b"Queues") < 3 and time.monotonic() < deadline:
        if select.select([ours], [], [], 1.0)[0]:
            seen += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    # Then
    assert seen.count(b"Queues") >= 3
    while time.monotonic() < deadline + 60 and select.select([ours], [], [], 5.0)[0]:
        try:
            if not os.read(ours, 65536):
                break
        except OSError:
            break
    assert process.wait(10) == 0
    os.close(ours)
