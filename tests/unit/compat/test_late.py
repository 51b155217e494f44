"""Whether ``celery`` is or will be Talo is known without a look at what is installed in all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.workers import ROOT

CODE = """
import sys
from talo.compat.late import offer
print(offer(), "importlib.metadata" in sys.modules)
"""


def answered(tmp_path: Path, *places: Path) -> str:
    """What it says in an interpreter that finds modules in these places first."""
    path = os.pathsep.join(str(place) for place in (*places, ROOT / "src"))
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_the_distribution_of_celerys_name_is_talo(tmp_path: Path) -> None:
    assert answered(tmp_path, ROOT / "packages/talo-as-celery") == "True False"


def test_another_package_of_that_name_is_not(tmp_path: Path) -> None:
    # Given one that stands before it
    (tmp_path / "real/celery").mkdir(parents=True)
    (tmp_path / "real/celery/__init__.py").touch()
    assert answered(tmp_path, tmp_path / "real", ROOT / "packages/talo-as-celery") == "False False"
