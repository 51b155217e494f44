"""Processes of the command, forked from one that has imported it: starting Python and Talo is most of what a worker of
a test would cost.

A process begins where the interpreter is about to run ``python -m talo``: with its environment, folder, path, session
and standard streams. What differs is that modules are there already. That the command starts from nothing, too, is for
the tests of the command line, of the pages and of examples.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["PATH", "ROOT", "Forked", "Process", "start"]

ROOT = Path(__file__).parent.parent
#: Where processes of tests find Talo and the tests.
PATH = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
_TALO = [sys.executable, "-m", "talo"]


class Forked:
    """A process of the nursery's, with as much of ``subprocess.Popen`` as tests use."""

    def __init__(self, nursery: _Nursery, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery
        self._end = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """The exit code, None while it runs. The process is a zombie until somebody asks, as others are."""
        if self.returncode is None:
            self.returncode = self._nursery.ask(ended=self.pid)
            if self.returncode is not None:
                os.close(self._end)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code; ``subprocess.TimeoutExpired`` after so many seconds."""
        if self.poll() is None:
            ends = select.poll()
            ends.register(self._end, select.POLLIN)
            ends.poll(None if timeout is None else timeout * 1000)
        if self.poll() is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = Forked | subprocess.Popen[bytes]


class _Nursery:
    """The process that others are forked from; one for each process of tests, from the first that is asked for."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery_process", str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": PATH},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._lock = threading.Lock()
        atexit.register(self._close)

    def ask(self, descriptors: Sequence[int] = (), **request: Any) -> Any:
        """Its answer."""
        with self._lock:
            socket.send_fds(self._channel, [json.dumps(request).encode()], descriptors)
            answer = self._channel.recv(1 << 10)
        assert answer, "the nursery is gone"
        return json.loads(answer)

    def _close(self) -> None:
        self._channel.close()
        self._process.wait()


@functools.cache
def _nursery() -> _Nursery:
    return _Nursery()


def start(command: Sequence[str], env: Mapping[str, str], cwd: Path, out: Path, *, session: bool = False) -> Process:
    """Start a command; what it prints goes to the end of a file. ``session``: in one of its own.

    It is forked if it is ``python -m talo`` with the interpreter that this process has, and as it was told.
    """
    with open(out, "ab") as to, open(os.devnull) as nothing:
        if list(command[:3]) == _TALO and _of_interpreter(env) == {**_of_interpreter(os.environ), "PYTHONPATH": PATH}:
            nursery = _nursery()
            streams = (nothing.fileno(), to.fileno(), to.fileno())
            asked = {"command": list(command), "env": dict(env), "cwd": str(cwd), "session": session}
            return Forked(nursery, nursery.ask(streams, **asked))
        return subprocess.Popen(
            command, env=env, cwd=cwd, stdin=nothing, stdout=to, stderr=to, start_new_session=session
        )  # fmt: skip


def _of_interpreter(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith("PYTHON")}
