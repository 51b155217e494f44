"""Signals to the whole process group: the supervisor answers them for the processes that it started.

Owns that agent and children pass over them, and that what their tasks start does not. That a signal is ignored would be
inherited by every program that a task starts (POSIX, ``exec``), and ``terminate()`` could not end it; a handler is not
inherited, and a process that is forked lays it down. Called by ``child`` and ``agent``."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

__all__ = ["leave_to_supervisor"]

_GROUP = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


class _Masks(threading.local):
    before: set[int]


_masks = _Masks()


def leave_to_supervisor() -> None:
    """Pass over these signals from now on. Called in the main thread, once in a process."""
    for number in _GROUP:
        signal.signal(number, _pass_over)
        # What a task waits for in C goes on as if nothing had happened.
        signal.siginterrupt(number, False)
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_heed)


def _pass_over(_signum: int, _frame: Any) -> None:
    pass


def _hold() -> None:
    """One that comes while the new process is about to heed it waits."""
    _masks.before = {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP)}


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _heed() -> None:
    """A task has started this process: signals are meant for it, as anywhere."""
    signal.set_wakeup_fd(-1)
    for number in _GROUP:
        if signal.getsignal(number) is _pass_over:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _let_go()
