"""The tests that Django brings along for ``django.tasks`` pass with Talo in the place of its own backends.

They are fetched from the package index with the Django that they belong to, and nothing of them is kept. Django 6 needs
Python 3.12: another interpreter than the tests' own is named by ``TALO_PYTHON313``, or found on ``PATH``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.workers import ROOT

OLDEST = (3, 12)
#: Why a test cannot pass on Talo, and the tests.
FAILING = {
    "shows that a backend without results, or without delays, says so: Talo has both": [
        "tasks.test_immediate_backend.ImmediateBackendTestCase.test_cannot_get_result",
        "tasks.test_immediate_backend.ImmediateBackendTestCase.test_cannot_pass_run_after",
        "tasks.test_immediate_backend.ImmediateBackendTestCase.test_cannot_refresh_result",
    ],
    "changes the object in the list in which DummyBackend keeps its results": [
        "tasks.test_dummy_backend.DummyBackendTestCase.test_refresh_result",
        "tasks.test_dummy_backend.DummyBackendTestCase.test_refresh_result_async",
    ],
    "an interrupt ends the caller, in whose process the task runs: a task of Talo's that raises it has failed": [
        "tasks.test_immediate_backend.ImmediateBackendTestCase.test_throws_keyboard_interrupt",
    ],
}


def newer_python() -> str:
    """An interpreter that Django 6 runs on."""
    if sys.version_info >= OLDEST:
        return sys.executable
    for name in (os.environ.get("TALO_PYTHON313"), "python3.14", "python3.13", "python3.12"):
        if name and (found := shutil.which(name)):
            return found
    pytest.skip("Django 6 needs Python 3.12: name one in TALO_PYTHON313")


def pip(python: Path, *words: str) -> None:
    """pip in another environment; skips without a package index."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), *words, "--quiet", "--no-input"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"the package index does not answer: {done.stderr.strip().splitlines()[-1:]}")


def django_and_its_tests(folder: Path) -> tuple[Path, Path]:
    """(interpreter, folder of the tests): the newest Django, and what it was published with."""
    subprocess.run([newer_python(), "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=120)
    python = folder / "venv/bin/python"
    pip(python, "install", "Django>=6", "msgspec", "click", "rich")
    version = subprocess.check_output([python, "-m", "django", "--version"], text=True).strip()
    pip(python, "download", "--no-deps", "--no-binary", "django", "--dest", str(folder), f"django=={version}")
    [packed] = folder.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    return python, folder / packed.name.removesuffix(".tar.gz") / "tests"


@pytest.mark.soak
@pytest.mark.promise("J08")
def test_django_s_own_tests_of_its_tasks_pass(tmp_path: Path) -> None:
    # Given Django's tests, as published
    python, tests = django_and_its_tests(tmp_path)
    report = tmp_path / "report.json"

    # When they run with Talo as their backends
    done = subprocess.run(
        [python, "-m", "django", "test", "tasks", "--settings", "tests.django.on_talo.settings"],
        cwd=tests, capture_output=True, text=True, timeout=300, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}:{tests}", "TALO_REPORT": str(report)},
    )  # fmt: skip

    # Then they pass, all but those that are about something else
    assert report.exists(), done.stderr
    told = json.loads(report.read_text())
    assert told["failed"] == sorted(name for names in FAILING.values() for name in names), done.stderr
    assert told["ran"] > 70
