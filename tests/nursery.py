"""Processes of the command, forked from one that has imported it: starting Python and Talo is most of what a worker of
a test would cost. And other programs, forked from one that has imported what they name.

A process begins where the interpreter is about to run ``python -m talo``, or whatever the command is: with its
environment, folder, path, session and standard streams. What differs is that modules are there already. That the
command starts from nothing, too, is for the tests of the command line, of the pages and of examples.
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
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["PATH", "ROOT", "Forked", "Process", "run", "start"]

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
    """The process that others are forked from, which ``knows`` further modules; one of a kind for each process of
    tests, from the first that is asked for."""

    def __init__(self, knows: Sequence[str]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery_process", str(theirs.fileno()), *knows],
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
def _nursery(knows: tuple[str, ...]) -> _Nursery:
    return _Nursery(knows)


def start(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    out: Path,
    *,
    session: bool = False,
    knows: tuple[str, ...] = (),
) -> Process:
    """Start a command; what it prints goes to the end of a file. ``session``: in one of its own. ``knows``: modules
    that it may have imported when it begins.

    It is forked if it is ``python -m talo``, or any program of Python's that may know something; with the interpreter
    that this process has, and as it was told.
    """
    with open(out, "ab") as to:
        return _started(command, env, cwd, to, to, session, knows)


def run(
    command: Sequence[str], env: Mapping[str, str], cwd: Path, *, timeout: float, knows: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as ``start`` does. Errors: ``subprocess.TimeoutExpired``, and it is killed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = _started(command, env, cwd, out, errors, False, knows)
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        said = [each.read().decode() for each in (out, errors) if each.seek(0) == 0]
    return subprocess.CompletedProcess(command, code, *said)


def _started(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    out: IO[bytes],
    errors: IO[bytes],
    session: bool,
    knows: tuple[str, ...],
) -> Process:
    with open(os.devnull) as nothing:
        if (list(command[:3]) == _TALO or (knows and command[0] == sys.executable)) and _is_like_this(env):
            nursery = _nursery(knows)
            streams = (nothing.fileno(), out.fileno(), errors.fileno())
            asked = {"command": list(command), "env": dict(env), "cwd": str(cwd), "session": session}
            return Forked(nursery, nursery.ask(streams, **asked))
        return subprocess.Popen(
            command, env=env, cwd=cwd, stdin=nothing, stdout=out, stderr=errors, start_new_session=session
        )  # fmt: skip


def _is_like_this(env: Mapping[str, str]) -> bool:
    """Whether an interpreter would begin there as the nursery's did, but for folders that it looks into at last."""
    path = env.get("PYTHONPATH", "")
    told = {**_of_interpreter(env), "PYTHONPATH": PATH}
    begins = path == PATH or path.startswith(PATH + os.pathsep)
    return begins and told == {**_of_interpreter(os.environ), "PYTHONPATH": PATH}


def _of_interpreter(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith("PYTHON")}
