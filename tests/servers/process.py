"""What the servers of tests that are one process have in common: start and end, pauses, its port.

Owns the process, signals and clean-up only; the command line, and telling that it answers, is each server's own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.servers.proxy import Proxy
from tests.support import eventually

__all__ = ["ServerProcess", "free_port"]

#: Ports that are tried: another process may take one before the server does.
_TRIES = 20


class ServerProcess(ABC):
    """One process, and the children that belong to it alone, with its data and its ``log`` in ``directory``. As a
    context it runs from beginning to end."""

    directory: Path
    #: 0 until it starts for the first time; it keeps this one.
    port = 0
    #: Whom it runs as; None: whoever runs the tests.
    user: str | None = None
    #: Its environment; None: that of the tests.
    environment: Mapping[str, str] | None = None
    #: The signal that ends it in good order, whoever is connected.
    farewell = signal.SIGTERM
    #: Seconds that its start may take, and an end in good order.
    start_time, stop_time = 20, 10
    #: What its client library raises while nobody answers.
    trouble: type[Exception] = OSError
    #: None while it does not run, and in a copy.
    _process: subprocess.Popen[bytes] | None = None
    #: Whether this is a copy of a server that others use, too, and that somebody else ends.
    _lent = False

    @abstractmethod
    def words(self, port: int) -> list[str]:
        """Its command line."""

    @abstractmethod
    def answers(self, port: int, pid: int) -> bool:
        """Whether who answers at the port is this server, and ready. Errors: ``trouble``."""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def start(self) -> Self:
        """Start it, or start it again on the same port with the data that it kept; returns when it answers."""
        for _ in range(1 if self.port else _TRIES):
            port = self.port or free_port()
            if self._launch(port):
                self.port = port
                return self
        raise RuntimeError(f"{type(self).__name__} does not start: {(self.directory / 'log').read_text()[-2000:]}")

    def _launch(self, port: int) -> bool:
        with (self.directory / "log").open("ab") as log:
            # From now on it is ended with the server, also if it never answers.
            self._process = process = subprocess.Popen(
                self.words(port),
                user=self.user,
                env=self.environment,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def answers_or_is_gone() -> bool:
            if process.poll() is not None:
                return False
            try:
                # Another server may have taken the port a moment earlier, then ours ends.
                assert self.answers(port, process.pid)
            except self.trouble as error:
                raise AssertionError from error
            return True

        if eventually(answers_or_is_gone, timeout=self.start_time):
            return True
        self._process = None
        return False

    @property
    def pid(self) -> int:
        """The process, which must be running."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and not ended since."""
        return self._lent or self._process is not None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_process": None, "_lent": True}

    def stop(self) -> None:
        """End it in good order. Idempotent."""
        self._end(self.farewell)

    def kill(self) -> None:
        """End it as a power cut would. Idempotent."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        assert not self._lent, "others use it, too"
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        if number == signal.SIGKILL:
            _signal(_family(process.pid), signal.SIGKILL)
        else:
            process.send_signal(number)
            _signal(_family(process.pid), signal.SIGCONT)
        try:
            process.wait(self.stop_time)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def pause(self) -> None:
        """Stop it as it is (SIGSTOP): connections stay up and nothing answers."""
        _signal(_family(self.pid), signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        _signal(_family(self.pid), signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def proxy(self) -> Proxy:
        """One in front of it, not started yet."""
        return Proxy("127.0.0.1", self.port)

    def remove(self) -> None:
        """Kill it and delete its data."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def _family(pid: int) -> list[int]:
    """A process, the first, and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [pid, *(int(each) for each in children.read_text().split())] if children.exists() else [pid]


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # it has ended meanwhile


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
