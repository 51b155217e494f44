"""The demo runs as a first-time visitor runs it, only smaller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support import eventually

DEMO = Path(__file__).resolve().parents[2] / "examples/website/demo.py"
SMALL = ("--photos", "3", "--mails", "5", "--reports", "1", "--rates", "1", "--delay", "1")


def command(folder: Path) -> list[str]:
    return [sys.executable, str(DEMO), "--folder", str(folder), *SMALL]


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "KEEP": ""}
    return subprocess.run(command(folder), capture_output=True, text=True, timeout=100, check=False, env=env)


def start(folder: Path, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, env={**os.environ, **env})


def everybody_is_up(pids: Path) -> None:
    assert pids.exists() and len(pids.read_text().split()) == 4


def test_the_demo_does_real_work_and_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    # When it runs
    done = run(folder)
    # Then it says that all is well
    assert done.returncode == 0, done.stdout + done.stderr
    # And the work is there
    media = folder / "media"
    assert len(list(media.glob("sizes/*.jpg"))) == 9
    assert [path.read_bytes()[:5] for path in media.glob("reports/*.pdf")] == [b"%PDF-"]
    mails = "".join(path.read_text() for path in (folder / "mail").iterdir())
    assert mails.count("Subject: News from the office") == 5
    assert mails.count("Subject: A reminder") == 1
    # And it was done without any server
    assert (folder / "talo.sqlite3").exists()
    # And views answered without waiting for it; the refused call to the slow service was tried again
    figures = json.loads((folder / "summary.json").read_text())
    assert figures["all"]["visits"] == 7
    assert figures["rate"]["outcome"] == "1 rates, 1 after a retry"
    # And nobody is left
    assert [pid for pid in figures["pids"] if Path(f"/proc/{pid}").exists()] == []


def test_a_demo_that_is_ended_leaves_nothing_running(tmp_path: Path) -> None:
    # Given a demo of which everything is up
    pids = tmp_path / "demo/pids"
    demo = start(tmp_path / "demo", KEEP="1")
    try:
        eventually(lambda: everybody_is_up(pids), 60)
        # When it is told to end
        demo.terminate()
        # Then it ends, and so do all others
        assert demo.wait(60) == 130
    finally:
        demo.kill()
        demo.wait()
    assert [pid for pid in pids.read_text().split() if Path(f"/proc/{pid}").exists()] == []


def test_the_demo_touches_no_folder_that_is_not_its_own(tmp_path: Path) -> None:
    # Given a folder with somebody's file
    (tmp_path / "thesis.txt").write_text("three years of work")
    # When
    done = run(tmp_path)
    # Then
    assert done.returncode == 1
    assert "not a demo's folder" in done.stdout
    assert (tmp_path / "thesis.txt").read_text() == "three years of work"
