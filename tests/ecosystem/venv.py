"""An environment in which ``celery`` is Talo's distribution and the real one is not installed, with Celery's plug-ins.

What the tests have installed already is linked into it; Talo's distribution is built from this repository, and plug-ins
come from the package index, unmodified. Without an index the tests skip locally and fail in CI.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.workers import ROOT, Worker

#: How the tests' own environment finds Talo.
OURS = ("talo-", "_editable_impl_talo")
#: What must not be seen where Talo is celery: the real ones, too.
HIDDEN = (*OURS, "celery-", "kombu", "billiard", "vine")
PLUGINS = (
    "celery-batches",
    "celery-once",
    "celery-progress",
    "celery-redbeat",
    "celery-singleton",
    "tenacity",
    "opentelemetry-instrumentation",
    "opentelemetry-instrumentation-celery",
    "wrapt",
)


class Environment:
    """A virtual environment."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.python = self.bin / "python"
        self.site = folder / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"

    def env(self, **more: str) -> dict[str, str]:
        """Variables for a process in it."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("TALO_", "CELERY_", "PYTHON"))
        }
        return {**kept, "PATH": f"{self.bin}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **more}

    def run(
        self, *command: str, cwd: Path | None = None, timeout: float = 60, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of it to its end."""
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]], env=self.env(**env), cwd=cwd, timeout=timeout, text=True,
            capture_output=True, check=False,
        )  # fmt: skip

    def script(self, code: str, *, cwd: Path, **env: str) -> str:
        """Run code of Python's; return what it printed."""
        done = self.run("python", "-c", code, cwd=cwd, **{"PYTHONPATH": f"{cwd}:{ROOT}", **env})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


class CeleryCommand(Worker):
    """A long-lived ``celery`` command of an environment."""

    def __init__(self, where: Environment, folder: Path, *arguments: str, name: str = "w", **env: str) -> None:
        super().__init__("", folder, name=name)
        self._command = [str(where.bin / "celery"), *arguments]
        self._env = {**where.env(), "PYTHONPATH": f"{folder}:{ROOT}", **env}


def worker(where: Environment, folder: Path, *arguments: str, app: str = "project", **env: str) -> CeleryCommand:
    """A worker of ``app`` in ``folder``."""
    return CeleryCommand(where, folder, "-A", app, "worker", "-n", "w@test", "-l", "INFO", "-c", "1", *arguments, **env)


def build(folder: Path, *, distributions: bool = True) -> Environment:
    """Make the environment; without ``distributions`` nothing in it is called celery."""
    made = _linked(folder, HIDDEN)
    (made.site / "celery").unlink()  # no beginning of other names
    (made.site / "talo_source.pth").write_text(f"{ROOT / 'src'}\n")
    if distributions:
        _install(made, str(ROOT / "packages/talo-as-celery"))
        _install(made, "--ignore-installed", *PLUGINS)
    return made


def build_celery(folder: Path) -> Environment:
    """Make one in which celery is the real one, and Talo is not; the plug-ins are the same."""
    made = _linked(folder, OURS)
    _install(made, "--ignore-installed", *PLUGINS)
    return made


def _linked(folder: Path, hidden: tuple[str, ...]) -> Environment:
    """An environment with all that the tests have, but for what is ``hidden`` (beginnings of names)."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    made = Environment(folder)
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not entry.name.startswith((*hidden, "__pycache__")) and entry.name != "opentelemetry":
            (made.site / entry.name).symlink_to(entry)
    _merged(Path(sysconfig.get_paths()["purelib"]) / "opentelemetry", made.site / "opentelemetry")
    return made


def _install(made: Environment, *what: str) -> None:
    """Skip without a package index, or fail in CI."""
    command = [sys.executable, "-m", "pip", "--python", str(made.python), "install", "--no-deps", "--quiet", *what]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        reason = f"the plug-ins cannot be installed: {done.stderr.strip().splitlines()[-1:]}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def _merged(source: Path, target: Path) -> None:
    """Link what is inside of a namespace package, which others add to."""
    target.mkdir()
    for entry in source.iterdir():
        (target / entry.name).symlink_to(entry)
