"""Web servers in tests: the examples' own, as real processes on ports that the kernel chooses."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.support import eventually
from tests.workers import ROOT, Worker

EXAMPLES = ROOT / "examples"
_LISTENING = re.compile(r"running on (http://127\.0\.0\.1:\d+)", re.I)


def environment(folder: Path, broker: str) -> dict[str, str]:
    """For a process that finds the modules of ``folder`` and keeps its tasks at ``broker``."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("TALO_", "CELERY_", "FLASK_"))}
    paths = os.pathsep.join([str(ROOT / "src"), str(folder)])
    return {**ours, "TALO_BROKER_URL": broker, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"}


class Server:
    """A web server, ``python -m <arguments>``; ``url`` is where it listens."""

    def __init__(self, folder: Path, broker: str, tmp: Path, *arguments: str) -> None:
        self._command = [sys.executable, "-m", *arguments]
        self._env = environment(folder, broker)
        self._tmp = tmp
        self._log = tmp / "server.log"
        self.url = ""

    def __enter__(self) -> Server:
        with open(self._log, "wb") as out:
            self._process = subprocess.Popen(
                self._command, cwd=self._tmp, env=self._env, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

        def listens() -> str:
            text = self._log.read_text(errors="replace")
            if self._process.poll() is not None:
                raise RuntimeError(f"{self._command} ended with {self._process.returncode}:\n{text}")
            found = _LISTENING.search(text)
            assert found, text
            return found[1]

        try:
            self.url = eventually(listens, timeout=60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)


class FlaskWorker(Worker):
    """A worker by ``flask --app <app> talo worker``."""

    def __init__(self, folder: Path, broker: str, tmp: Path, app: str, *arguments: str) -> None:
        super().__init__(broker, tmp, env=environment(folder, broker), name="flask")
        self._command = [
            sys.executable, "-m", "flask", "--app", app, "talo", "worker", "-n", self.node, "-l", "INFO", *arguments,
        ]  # fmt: skip
