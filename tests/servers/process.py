"""What the servers of tests that are one process have in common: its end, its pauses, its port.

Owns signals and clean-up only; starting it, and telling that it answers, is each server's own.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from pathlib import Path

__all__ = ["ServerProcess", "free_port"]


class ServerProcess:
    """One process with its data in ``directory``; None while it does not run."""

    directory: Path
    _process: subprocess.Popen[bytes] | None = None
    #: Seconds that an end in good order may take.
    patience = 10

    def stop(self) -> None:
        """End it in good order. Idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would. Idempotent."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(self.patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def pause(self) -> None:
        """Stop it as it is (SIGSTOP): connections stay up and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """Kill it and delete its data."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
