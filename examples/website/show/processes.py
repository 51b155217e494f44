"""The processes of the demo: started with a log each, ended by their ids."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Seconds that a process has to end by itself.
PATIENCE = 15.0


class DemoError(Exception):
    """Something did not work; the text is for the person who watches."""


class Process:
    """One process with its log file."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, env: Mapping[str, str], *, speaks: bool = False
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as sink:
            try:
                self._process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if speaks else sink,
                    stderr=sink,
                    # Ctrl-C is for the demo, which then ends its processes in order.
                    start_new_session=True,
                )
            except OSError as error:
                raise DemoError(f"cannot start {name}: {error}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def first_line(self, timeout: float = 20) -> str:
        """What a process that ``speaks`` says when it is ready."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout)
        line = self._process.stdout.readline().decode().strip() if ready else ""
        if not line:
            raise DemoError(f"{self.name} did not come up\n{self.tail()}")
        return line

    def check(self) -> None:
        """DemoError if it has ended."""
        if (code := self._process.poll()) is not None:
            raise DemoError(f"{self.name} ended with code {code}\n{self.tail()}")

    def tail(self, lines: int = 12) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"the end of {self.log}:", *(f"  {line}" for line in text or ["(it is empty)"])])

    def stop(self) -> float:
        """Ask it to end, insist if it does not; return how long that took."""
        began = time.monotonic()
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        return time.monotonic() - began
