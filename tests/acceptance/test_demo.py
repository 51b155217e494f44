"""The demo runs as a first-time visitor runs it, only smaller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).resolve().parents[2] / "examples/website/demo.py"
SMALL = ("--photos", "3", "--mails", "5", "--reports", "1", "--rates", "1", "--delay", "1")


def run(folder: Path, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEMO), "--folder", str(folder), *SMALL, *more]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=100, check=False, env={**os.environ, "KEEP": "", **env}
    )


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


def test_the_demo_touches_no_folder_that_is_not_its_own(tmp_path: Path) -> None:
    # Given a folder with somebody's file
    (tmp_path / "thesis.txt").write_text("three years of work")
    # When
    done = run(tmp_path)
    # Then
    assert done.returncode == 1
    assert "not a demo's folder" in done.stdout
    assert (tmp_path / "thesis.txt").read_text() == "three years of work"
