"""The traced app on a system that starts no process while there is a file (``LIMIT``)."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tests.apps.traced import app

__all__ = ["app"]

_fork = os.fork


def _fork_if_there_is_room() -> int:
    if Path(os.environ["LIMIT"]).exists():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return _fork()


os.fork = _fork_if_there_is_room
