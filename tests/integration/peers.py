"""The real Celery as a peer: a client in a process of its own, and a worker.

Neither is ever loaded into the process of the tests: Talo and Celery meet only in the broker.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.workers import ROOT, Worker

#: Where another release of Celery is (``pip install --target FOLDER celery==5.6.*``), to meet that one instead.
PACKAGES = [folder] if (folder := os.environ.get("CELERY_PACKAGES")) else []


def celery_env(url: str, results: str | None = None) -> dict[str, str]:
    """The environment that sends Celery to this broker, and its results to the same place or another one."""
    return {
        "CELERY_BROKER_URL": url,
        "CELERY_RESULT_BACKEND": results or url,
        "PYTHONPATH": os.pathsep.join([*PACKAGES, str(ROOT / "src"), str(ROOT)]),
    }


class CeleryError(Exception):
    """What an expression raised in the client's process."""


class CeleryClient:
    """A process that uses the real Celery. Calling it evaluates an expression among the names of ``celery_app``."""

    def __init__(self, url: str, results: str | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.apps.celery_app"],
            env={**os.environ, **celery_env(url, results)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )

    def __call__(self, code: str, **names: Any) -> Any:
        """Return the value of ``code``; ``names`` are put into it as literals: ``{name}``."""
        assert self._process.stdin is not None and self._process.stdout is not None
        text = code.format(**{key: repr(value) for key, value in names.items()}) if names else code
        pickle.dump(text, self._process.stdin)
        self._process.stdin.flush()
        fine, value = pickle.load(self._process.stdout)
        if not fine:
            raise CeleryError(f"{value}  [in {text}]")
        return value

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


class CeleryWorker(Worker):
    """A worker of the real Celery with one child."""

    def __init__(
        self,
        url: str,
        tmp: Path,
        *arguments: str,
        env: dict[str, str] | None = None,
        app: str = "tests.apps.celery_app",
    ) -> None:
        super().__init__(url, tmp, name="celery", env={**celery_env(url), **(env or {})})
        self._command = [
            sys.executable, "-m", "celery", "-A", app, "worker", "-n", "celery@test",
            "-l", "INFO", "-c", "1", "-P", "prefork", *arguments,
        ]  # fmt: skip
