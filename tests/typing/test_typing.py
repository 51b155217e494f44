"""The public API under mypy --strict and pyright: right code passes, and each wrong line is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
API = HERE / "api.py"


def _expected() -> set[int]:
    return {number for number, line in enumerate(API.read_text().splitlines(), 1) if "# E:" in line}


def _run(*command: str) -> str:
    env = {**os.environ, "MYPYPATH": str(ROOT / "src"), "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=110, check=False).stdout


@pytest.mark.promise("C06")
def test_mypy_strict_refuses_exactly_the_wrong_calls() -> None:
    # Given a file of right and wrong uses, when mypy --strict reads it
    out = _run(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", str(API))

    # Then it complains about the wrong lines and about nothing else
    found = {int(number) for number in re.findall(r"api\.py:(\d+): error", out)}
    assert found == _expected(), out


@pytest.mark.promise("C06")
def test_pyright_refuses_exactly_the_wrong_calls() -> None:
    # Given a file of right and wrong uses
    command = Path(sys.executable).with_name("pyright")

    # When pyright reads it
    out = _run(str(command), "--outputjson", "--pythonpath", sys.executable, str(API))

    # Then it complains about the wrong lines and about nothing else
    report = json.loads(out)
    found = {d["range"]["start"]["line"] + 1 for d in report["generalDiagnostics"] if d["severity"] == "error"}
    assert found == _expected(), out
