"""The file that says which process a worker is.

Owns creating it, telling a live one from one that a dead worker left, and removing it. Called by ``cli.worker``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from talo.cli._errors import PidfileTaken
from talo.util.files import private

__all__ = ["alive", "pidfile", "read_pid"]

#: What a process id can be at most (Linux: PID_MAX_LIMIT).
_MAX_PID = 2**22


@contextlib.contextmanager
def pidfile(path: str) -> Iterator[None]:
    """Hold the file while the block runs. ``PidfileTaken`` if it cannot be made or its process lives."""
    _create(Path(path))
    try:
        yield
    finally:
        _remove(Path(path))


def _create(path: Path) -> None:
    holder = read_pid(path)
    if holder is not None and holder != os.getpid() and alive(holder):
        raise PidfileTaken(
            f"pidfile {path}: process {holder} is running; stop it, or give this worker a file of its own"
        )
    try:
        if holder is not None:
            path.unlink(missing_ok=True)
        # Of two workers that start at once, the second one fails here.
        descriptor = private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except FileExistsError as error:
        raise PidfileTaken(f"pidfile {path}: another worker is being started with it") from error
    except OSError as error:
        raise PidfileTaken(f"pidfile {path} cannot be created: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")


def read_pid(path: Path | str) -> int | None:
    """The process it names; None if there is no such file. A file of anything else is not ours to delete."""
    try:
        text = Path(path).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise PidfileTaken(f"pidfile {path} cannot be read; choose another path") from error
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MAX_PID):
        raise PidfileTaken(f"pidfile {path} holds no process id; delete it, or choose another path")
    return int(text)


def alive(pid: int) -> bool:
    """Whether a process of this id runs; one that has ended, and was not waited for by its parent, does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()[0]
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's, or there is no /proc
    return state != "Z"


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        if int(path.read_text(encoding="ascii")) == os.getpid():
            path.unlink()
