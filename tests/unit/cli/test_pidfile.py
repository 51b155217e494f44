"""The pid file: one holder, a dead one's is taken over, nothing of others is deleted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from talo.cli._errors import PidfileTaken
from talo.cli._pidfile import pidfile


def test_it_names_this_process_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pidfile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_one_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    # Given
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path = tmp_path / "pid"
    path.write_text(f"{dead.pid}\n")
    # Then
    with pidfile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_one_s_own_is_taken_over_after_a_restart_in_place(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getpid()}\n")
    with pidfile(str(path)):
        assert path.exists()


def test_one_of_a_living_process_is_respected(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(PidfileTaken, match=f"process {os.getppid()} is running"), pidfile(str(path)):
        pass
    assert path.read_text() == f"{os.getppid()}\n"


@pytest.mark.parametrize("text", ["", "hello", "0", "-1", "99999999999999"])
def test_a_file_of_something_else_is_not_touched(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pid"
    path.write_text(text)
    with pytest.raises(PidfileTaken, match="holds no process id"), pidfile(str(path)):
        pass
    assert path.read_text() == text


def test_a_place_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PidfileTaken, match="cannot be created"), pidfile(str(tmp_path / "no" / "pid")):
        pass


def test_one_that_another_has_taken_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pidfile(str(path)):
        path.write_text("1\n")
    assert path.read_text() == "1\n"
