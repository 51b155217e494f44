"""A project that computes on a graphics processor, with stand-ins: a library of the driver's name (``LIBCUDA``) and a
file for its device (``DEVICE``). As CUDA it refuses to work in a process that was forked after its initialisation,
which is at import (``CUDA_AT=import``, a model on module level) or in the first task."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

from talo import Talo

app = Talo("on_gpu")


class Driver:
    """CUDA, as far as a fork can tell."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ["LIBCUDA"])
        self._device = open(os.environ["DEVICE"], "rb")
        self._pid = os.getpid()

    def double(self, number: int) -> int:
        if os.getpid() != self._pid:
            raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
        return 2 * number


driver = functools.cache(Driver)
if os.environ["CUDA_AT"] == "import":
    driver()


@app.task
def double(number: int) -> tuple[int, str]:
    """Compute there; return the command of the process that did it, too."""
    return driver().double(number), Path("/proc/self/cmdline").read_text().replace("\0", " ")
