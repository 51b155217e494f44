"""Small facts about this process: its memory, how many tasks it has run, what its exit status means, what was done to
it before a project was imported."""

from __future__ import annotations

import os
import resource
import signal

__all__ = [
    "Stopwatch",
    "describe_status",
    "note_preparation",
    "peak_kib",
    "preparations",
    "resident_kib",
    "root_warning",
]

_preparations: list[str] = []
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


def resident_kib(pid: int | None = None) -> int:
    """Return the resident memory of a process in KiB; 0 when it is gone."""
    try:
        with open(f"/proc/{pid or 'self'}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_KIB
    except OSError:
        return 0


def peak_kib(usage: resource.struct_rusage) -> int:
    """Return the peak resident memory of a process that has ended, in KiB."""
    return int(usage.ru_maxrss)


def note_preparation(path: str) -> None:
    """The function of this dotted path was called so that projects can be imported in this process; another one that
    imports the same project calls it first."""
    if path not in _preparations:
        _preparations.append(path)


def preparations() -> list[str]:
    """Return what was noted, in order."""
    return list(_preparations)


def root_warning(role: str) -> str | None:
    """What to tell who starts this process as root, with the mend; None for any other user."""
    if os.geteuid() != 0:
        return None
    return f"You are running the {role} as root: give it a user of its own (User= in systemd, USER in an image)"


def describe_status(status: int) -> str:
    """Return a wait status in words: ``SIGKILL``, ``exit code 1``."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return signal.Signals(number).name
        except ValueError:
            return f"signal {number}"
    return f"exit code {os.waitstatus_to_exitcode(status)}"


class Stopwatch:
    """Counts down a number of tasks; None counts for ever."""

    __slots__ = ("_limit",)

    def __init__(self, limit: int | None) -> None:
        self._limit = limit

    def over(self, done: int) -> bool:
        """Whether the number is reached."""
        return self._limit is not None and done >= self._limit
