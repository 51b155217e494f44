"""Files that nobody but their owner reads.

Owns the mode of what Talo creates: logs, pid files, databases, locks. What exists keeps its own. Called wherever a
file is made."""

from __future__ import annotations

import os

__all__ = ["PRIVATE", "make", "private"]

#: For its owner only, whatever the umask: a log shows arguments, a database keeps them.
PRIVATE = 0o600


def private(path: str | os.PathLike[str], flags: int) -> int:
    """An opener for ``open``: what it creates is private."""
    return os.open(path, flags | os.O_CLOEXEC, PRIVATE)


def make(path: str | os.PathLike[str]) -> None:
    """Make a private file; ``FileExistsError`` if there is one.

    Where it matters that a file which exists is not even opened: to close it would drop the locks that this process
    has on it."""
    os.close(private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
