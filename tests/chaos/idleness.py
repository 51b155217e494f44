"""Whether a slot stands still while work is ready, by a clock that goes as the machine does.

A second of a busy machine is less than one of an idle one: it starts fewer processes in it. So time is counted in
beats: a pause and a little computing, a tenth of a second together where nobody else computes, and longer wherever a
process takes longer to start."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType

from talo.app.app import Talo
from tests.support import for_seconds

__all__ = ["Idleness", "beats"]

#: Seconds of a beat: asleep, and at work by the clock of the thread's processor.
_ASLEEP, _AT_WORK = 0.08, 0.02


def beats(seconds: float) -> int:
    """How many beats that is on a machine that does nothing else."""
    return round(seconds / (_ASLEEP + _AT_WORK))


def _beat() -> None:
    for_seconds(_ASLEEP)
    end = time.thread_time() + _AT_WORK
    while time.thread_time() < end:
        pass


class Idleness:
    """Watches one slot, whose tasks write into a trace: ``longest`` is the number of beats in a row in which work was
    ready and nothing was written. Work is ready that is in the queue or that some process of the worker has fetched;
    what a broker hides from everybody (SQS, when it has given a message to somebody who is dead) is not."""

    def __init__(self, app: Talo, trace: Path) -> None:
        self._app = app
        self._trace = trace
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.longest = 0

    def __enter__(self) -> Idleness:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _watch(self) -> None:
        try:
            idle = written = 0
            while not self._over.is_set():
                _beat()
                before, written = written, self._trace.stat().st_size if self._trace.exists() else 0
                idle = idle + 1 if written == before and self._work_is_ready() else 0
                self.longest = max(self.longest, idle)
        except BaseException as error:
            self._error = error  # raised again, in the thread of the test

    def _work_is_ready(self) -> bool:
        broker = self._app.store.broker
        return any(queue.ready for queue in broker.stats(["celery"])) or any(owner.held for owner in broker.owners())
