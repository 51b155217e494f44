"""Code under the alias runs in a process of its own: it must never be put in place in the process of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workers import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]
ALIAS = "import talo.compat; talo.compat.install_as_celery()\n"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run Python with these arguments in an empty directory; Talo is on its path."""

    def python(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TALO_", "CELERY_"))}
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, text=True, capture_output=True, timeout=60, check=False,
            env={**kept, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}:{tmp_path}", **env},
        )  # fmt: skip

    return python


@pytest.fixture
def under_alias(run: Run) -> Callable[[str], str]:
    """Run code under the alias; return what it printed."""

    def execute(code: str, **env: str) -> str:
        done = run("-c", ALIAS + code, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return execute
