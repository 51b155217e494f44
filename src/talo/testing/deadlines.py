"""Time limits in the thread of a test's worker: seconds that really pass, whatever its clock says.

Owns the timers of one run. What is raised arrives where a coroutine waits, or at the next bytecode. At its hard limit a
task of a worker loses its process; here it cannot, and is ended by an exception that counts as that. Called by
``LocalWorker``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from talo.errors import SoftTimeLimitExceeded
from talo.execution.limits import Killed, limits_of
from talo.execution.run import Run
from talo.worker.pools.thread import raise_in_thread

__all__ = ["with_limits"]


def with_limits(run: Run, call: Callable[[Run], None]) -> bool:
    """``call`` the run, and interrupt it when a limit of its own has passed. False if that was the hard one, and the
    run has come to no end."""
    hard, soft = limits_of(run.plan.limits, run.call.timelimit)
    run.hard = hard
    if not hard and not soft:
        call(run)
        return True
    deadlines = _Deadlines(run)
    try:
        deadlines.set(soft, SoftTimeLimitExceeded)
        deadlines.set(hard, Killed)
        call(run)
        deadlines.lift()
    except BaseException as exc:  # noqa: BLE001  a limit that passed just before or after the run
        deadlines.lift()
        run.disturb(exc)
    return not isinstance(run.exc, Killed)


class _Deadlines:
    """The limits of the run that is called in this thread."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._thread = threading.get_ident()
        self._timers: list[threading.Timer] = []
        #: Held by who interrupts, so that nothing is hit once the run is over.
        self._lock = threading.Lock()
        self._over = False

    def set(self, seconds: float | None, kind: type[BaseException]) -> None:
        """Raise ``kind`` in the run after so many seconds; None: never."""
        if seconds:
            timer = threading.Timer(seconds, self._interrupt, (kind,))
            timer.name = "talo-test-limit"
            timer.daemon = True
            timer.start()
            self._timers.append(timer)

    def lift(self) -> None:
        """The run is over."""
        with self._lock:
            self._over = True
        for timer in self._timers:
            timer.cancel()
            timer.join()

    def _interrupt(self, kind: type[BaseException]) -> None:
        with self._lock:
            guard = self._run.guard
            if not self._over and (guard is None or not guard.interrupt(kind())):
                raise_in_thread(self._thread, kind)
