"""``manage.py talo worker --autoreload``: a worker that is started anew when the project's code changes.

Owns the watching process: it looks at the files of the modules that the project imports, ends the worker in good order
and starts the next one. It runs no task itself. For development; called by the management command.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from django.utils.autoreload import iter_all_python_module_files

from talo.django import worker_app

__all__ = ["run_and_reload"]

#: Seconds between two looks at the files.
LOOK = 0.5
#: Seconds that running tasks get before they are handed back: who edits does not wait for a long one.
PATIENCE = 5.0
Stamps = dict[Path, int]
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def run_and_reload() -> int:
    """Run this very command line without ``--autoreload``, again after each change; return the worker's exit code."""
    worker_app.app.import_default_modules()
    watcher = Watcher([sys.executable, *(word for word in sys.orig_argv[1:] if word != "--autoreload")])
    return watcher.run()


class Watcher:
    """One worker at a time. A signal is passed on to it; its end by a signal ends the watcher too."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._told: list[int] = []

    def run(self) -> int:
        """Watch until a signal has ended the worker."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, self._note)
        stamps = _stamps()
        while True:
            worker = self._start()
            changed, stamps = self._watch(worker, stamps)
            if changed is None:
                return worker.returncode
            print(f"{changed} changed: the worker is started anew", flush=True)  # noqa: T201
            self._end(worker)
            if self._told:
                return worker.returncode

    def _note(self, number: int, _frame: FrameType | None) -> None:
        # A closed terminal is an end here, not the wish for a restart that HUP is to a worker.
        self._told.append(signal.SIGTERM if number == signal.SIGHUP else number)

    def _start(self) -> subprocess.Popen[bytes]:
        # A group of its own: a signal from the terminal comes here, and from here once to the worker.
        return subprocess.Popen(self._command, process_group=0)

    def _watch(self, worker: subprocess.Popen[bytes], before: Stamps) -> tuple[Path | None, Stamps]:
        """Wait for a change since ``before``, and return the file and the stamps now; None for the file when a signal
        has ended the worker. A worker that ended by itself (the code may not even be importable) is started again by
        the next change."""
        passed_on = 0
        while True:
            while passed_on < len(self._told):
                if worker.poll() is None:
                    worker.send_signal(self._told[passed_on])
                passed_on += 1
            self._wait(worker)
            if self._told and worker.poll() is not None:
                return None, before
            now = _stamps()
            if now != before and not self._told:
                return next(path for path in (*now, *before) if now.get(path) != before.get(path)), now

    @staticmethod
    def _wait(worker: subprocess.Popen[bytes]) -> None:
        if worker.poll() is None:
            try:
                worker.wait(LOOK)
            except subprocess.TimeoutExpired:
                return
        else:
            select.select([], [], [], LOOK)

    @staticmethod
    def _end(worker: subprocess.Popen[bytes]) -> None:
        """TERM lets tasks end, QUIT hands them back; nothing outlives this."""
        for number, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGQUIT, PATIENCE)):
            if worker.poll() is None:
                worker.send_signal(number)
                try:
                    worker.wait(patience)
                except subprocess.TimeoutExpired:
                    continue
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


def _stamps() -> Stamps:
    """When each file beside the project's own modules was changed last; new ones count."""
    modules = [path for path in iter_all_python_module_files() if not any(part in str(path) for part in _INSTALLED)]
    stamps: Stamps = {}
    for folder in {path.parent for path in modules}:
        for path in folder.glob("*.py"):
            try:
                stamps[path] = path.stat().st_mtime_ns
            except OSError:
                continue  # being replaced by an editor at this moment, or gone
    return stamps
