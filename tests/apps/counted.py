"""The traced app, every process of which tells on SIGRTMIN how many objects live in it and how much memory it has, in
the file ``CENSUS``."""

from __future__ import annotations

import gc
import os
import signal
from typing import Any

from talo import signals
from talo.util.process import resident_kib
from tests.apps.traced import app

__all__ = ["app"]


@signals.worker_init.connect
def _listen(**_: Any) -> None:
    """In the supervisor, before it forks the others."""
    signal.signal(signal.SIGRTMIN, _tell)


def _tell(_signum: int, _frame: Any) -> None:
    gc.collect()
    line = f"{os.getpid()} {len(gc.get_objects())} {resident_kib()}\n"
    fd = os.open(os.environ["CENSUS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, line.encode())
    os.close(fd)
