"""Real workers in tests: processes of the command, watched through their trace, stopped by pid.

``Worker`` is a context manager. Nothing outlives its test: the whole process group that it started is gone at the end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from talo.app.app import Talo
from tests.nursery import PATH, ROOT, Process, start
from tests.support import eventually

__all__ = ["ROOT", "Trace", "Worker", "client", "group_alive"]


class Trace:
    """The file into which traced tasks write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[list[str]] = []
        self._numbers: Counter[str] = Counter()
        self._read = 0

    def lines(self) -> list[list[str]]:
        """Every complete line, split into words."""
        self._read_on()
        return list(self._lines)

    def number(self, word: str) -> int:
        """How many lines begin with this word. Takes no longer the more there are."""
        self._read_on()
        return self._numbers[word]

    def _read_on(self) -> None:
        """Only what is new is read: tests ask again and again."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            lines = [line.split() for line in whole.decode().split("\n")[:-1]]
            self._lines += lines
            self._numbers.update(line[0] for line in lines)

    def count(self, word: str) -> Counter[str]:
        """How often each task id had this word."""
        return Counter(line[1] for line in self.lines() if line[0] == word)

    def times(self, word: str) -> dict[str, float]:
        """When each task id had this word last."""
        return {line[1]: float(line[3]) for line in self.lines() if line[0] == word}


class Worker:
    """A worker of ``tests.apps.traced``, or of another app, in a process group of its own."""

    #: Modules that its process may have imported when it begins, beside the command.
    knows: tuple[str, ...] = ()

    def __init__(
        self,
        broker: str,
        tmp: Path,
        *arguments: str,
        results: str | None = None,
        app: str = "tests.apps.traced",
        env: dict[str, str] | None = None,
        name: str = "w",
        loglevel: str = "INFO",
    ) -> None:
        self.trace = Trace(tmp / "trace")
        self.node = f"{name}@test"
        self.log = tmp / f"{name}.log"
        self._command = [
            sys.executable, "-m", "talo", "-A", app, "worker", "-n", self.node, "-l", loglevel, *arguments,
        ]  # fmt: skip
        self._env = {
            **os.environ,
            "TALO_BROKER_URL": broker,
            "TRACE": str(self.trace.path),
            "PYTHONPATH": PATH,
            **({"TALO_RESULT_BACKEND": results} if results else {}),
            **(env or {}),
        }
        self._tmp = tmp
        self.process: Process | None = None

    def start(self, ready: bool = True) -> Worker:
        """Start it (again, once it has ended); with ``ready`` wait until it says so."""
        assert self.process is None or self.process.poll() is not None, "the one before still runs and would be left"
        self.process = start(self._command, self._env, self._tmp, self.log, session=True, knows=self.knows)
        if ready:
            try:
                self.wait_ready()
            except BaseException:
                self.destroy()
                raise
        return self

    def wait_ready(self) -> None:
        def is_ready() -> None:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"the worker ended with {self.process.returncode}:\n{self.output()}")
            assert " ready." in self.output(), self.output()

        eventually(is_ready, timeout=60)

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def descendants(self) -> list[int]:
        """Pids of its agent and children."""
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
            return [int(pid) for pid in text.split()]
        return []

    def agent(self) -> int:
        """The agent is forked first."""
        return min(self.descendants(), key=_started)

    def children(self) -> list[int]:
        return sorted(self.descendants(), key=_started)[1:]

    def processor_times(self) -> dict[int, float]:
        """Seconds of a processor that each of its processes has taken, by pid."""
        second = os.sysconf("SC_CLK_TCK")
        return {pid: sum(map(int, _stat(pid)[11:13])) / second for pid in (self.pid, *self.descendants())}

    @property
    def ended(self) -> bool:
        """Whether it ran and does not any more."""
        return self.process is not None and self.process.poll() is not None

    def signal(self, number: int, *, group: bool = False) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(self.process.pid, number)
            else:
                os.kill(self.process.pid, number)

    def wait(self, timeout: float = 30) -> int:
        """Wait for its end and return the exit code."""
        assert self.process is not None
        return self.process.wait(timeout)

    def stop(self, timeout: float = 30) -> int:
        """TERM, and wait."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def destroy(self) -> None:
        """End whatever is left of it."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        deadline = time.monotonic() + 5
        while group_alive(self.process.pid) and time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def __enter__(self) -> Worker:
        return self if self.process is not None else self.start()

    def __exit__(self, *exc: object) -> None:
        self.destroy()


def _started(pid: int) -> tuple[int, int]:
    try:
        return (int(_stat(pid)[19]), pid)
    except OSError:
        return (2**63, pid)


def _stat(pid: int) -> list[str]:
    """What the kernel says of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def group_alive(pgid: int) -> bool:
    """Whether any process of this group is left (zombies do not count)."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[2]) == pgid and fields[0] != "Z":
                    return True
    return False


def client(broker: str, results: str | None = None, **settings: Any) -> Talo:
    """An app that sends to the same place and knows no task by itself."""
    return Talo("client", broker=broker, **({"backend": results} if results else {}), set_as_current=False, **settings)
