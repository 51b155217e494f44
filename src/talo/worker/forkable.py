"""Whether this process may still fork: the driver of a graphics processor, once initialised, works in no fork of its
process. It is read from what the kernel says of the process, so no such library is imported or asked.

Called by ``worker.starters``, when everything that the app does at its start has been done."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator

__all__ = ["initialised", "unforkable"]

#: Driver -> its library among the mappings, its device among the open files. Either alone is harmless: packages map
#: the library when they are imported, and those that watch processors open the device without it. A sandbox may show
#: devices under a root of its own.
_DRIVERS = {
    "CUDA": (re.compile(r"/libcuda\.so\b"), re.compile(r"/dev/(nvidia[^/]*|dxg)$")),
    "ROCm": (re.compile(r"/lib(amdhip64|hsa-runtime64)\.so\b"), re.compile(r"/dev/kfd$")),
}


def unforkable() -> str | None:
    """Return the driver that has been initialised in this process; None: it may fork, as far as can be known."""
    try:
        with open("/proc/self/maps", errors="replace") as file:
            return initialised(file.read(), _open_files())
    except OSError:
        return None


def initialised(maps: str, files: Iterable[str]) -> str | None:
    """Return the driver that a process with these mappings (as in ``/proc/PID/maps``) and open files has in use."""
    opened = list(files)
    for name, (library, device) in _DRIVERS.items():
        if library.search(maps) and any(map(device.search, opened)):
            return name
    return None


def _open_files() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):
        # That of the listing itself is closed by now.
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(f"/proc/self/fd/{number}")
