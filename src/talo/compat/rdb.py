"""``celery.contrib.rdb``: a debugger behind a port, for code that runs in a worker.

Owns the door: ``set_trace`` opens it on this machine, says where in the log, and goes on when somebody has come and
continued. Called by the tasks of applications, never by Talo.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pdb
import socket
import sys
from types import FrameType
from typing import Any

__all__ = ["DEFAULT_PORT", "Rdb", "debugger", "set_trace"]

log = logging.getLogger("talo.worker")

DEFAULT_PORT = 6899
#: Processes of one worker may all wait at once; each takes the next free port of so many.
_PORTS = 100


class Rdb(pdb.Pdb):
    """One session: it waits for one visitor when it is made, and ends with what that visitor types last."""

    def __init__(self, host: str | None = None, port: int | None = None) -> None:
        """``host`` and ``port`` else come from ``CELERY_RDB_HOST`` and ``CELERY_RDB_PORT``; port 0: any that is
        free. OSError if none is."""
        host = host or os.environ.get("CELERY_RDB_HOST") or "127.0.0.1"
        port = int(os.environ.get("CELERY_RDB_PORT") or DEFAULT_PORT) if port is None else port
        with _listening(host, port) as door:
            self.address = door.getsockname()[:2]
            log.warning("A debugger waits: telnet %s %s", *self.address, extra={"action": "debugger"})
            self._visitor, _ = door.accept()
        # Two files: one for both ways forgets on each write what it had read ahead.
        self._files = [self._visitor.makefile(way, encoding="utf-8", errors="replace") for way in ("r", "w")]
        super().__init__(stdin=self._files[0], stdout=self._files[1], nosigint=True)
        # Lines come over the wire; a terminal's line editor would read this process's own.
        self.use_rawinput = False
        self.prompt = "(Pdb) "

    def close(self) -> None:
        """Send the visitor away; twice is legal."""
        for file in self._files:
            with contextlib.suppress(OSError):
                file.close()
        self._visitor.close()

    def do_continue(self, arg: str) -> Any:
        """Let the task go on, to its end or the next ``set_trace``."""
        answer = super().do_continue(arg)
        self.close()
        return answer

    do_c = do_cont = do_continue

    def do_quit(self, arg: str) -> Any:
        """Go on as ``continue`` does: quitting would fail the task."""
        self.clear_all_breaks()
        return self.do_continue(arg)

    do_q = do_exit = do_EOF = do_quit


def _listening(host: str, port: int) -> socket.socket:
    """A door at the port, or at the next one that is free."""
    for each in range(port, port + _PORTS):
        try:
            return socket.create_server((host, each), backlog=1)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, f"no port is free from {port} on")


def debugger() -> Rdb:
    """A session with whoever comes next."""
    return Rdb()


def set_trace(frame: FrameType | None = None) -> None:
    """Stop here until somebody has come to the port and said ``continue``."""
    debugger().set_trace(frame or sys._getframe().f_back)
