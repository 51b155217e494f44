"""Running coroutine functions where there is no event loop, and interrupting coroutines.

Each thread that needs one keeps an event loop of its own. ``Interruptible`` lets any exception, not just
``CancelledError``, be raised at the point where a coroutine waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator
from typing import Any

from talo.execution.run import Run, call_async

__all__ = ["Interruptible", "call_blocking", "close_loop", "guard"]


class _Loops(threading.local):
    runner: asyncio.Runner | None = None


_loops = _Loops()


def call_blocking(run: Run) -> None:
    """Run a coroutine task from begin to finish in this thread."""
    if run.plan.around is None:
        _call(run)
    else:
        run.plan.around(run, _call)


def _call(run: Run) -> None:
    if _in_event_loop():
        # An eager call inside somebody's event loop: it cannot be entered twice, so another thread does it.
        thread = threading.Thread(target=lambda: asyncio.run(call_async(run)), name="talo-eager")
        thread.start()
        thread.join()
        return
    runner = _loops.runner
    if runner is None:
        runner = _loops.runner = asyncio.Runner()
    guarded = guard(run, runner.get_loop())
    runner.run(guarded)


def guard(run: Run, loop: asyncio.AbstractEventLoop) -> Interruptible:
    """Return the coroutine of a run that is to go in ``loop``; from now on ``run.guard`` interrupts it."""
    run.guard = guarded = Interruptible(call_async(run), loop)
    return guarded


def close_loop() -> None:
    """Close this thread's event loop, if it has one."""
    if _loops.runner is not None:
        _loops.runner.close()
        _loops.runner = None


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Interruptible(Coroutine[Any, Any, Any]):
    """A coroutine into which ``interrupt`` raises any exception, where it waits: the task that carries it is
    cancelled, and the cancellation exchanged on its way in."""

    def __init__(self, inner: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._instead: BaseException | None = None

    def interrupt(self, exc: BaseException) -> bool:
        """Raise ``exc`` where the coroutine waits, from any thread or signal handler.

        False when it does not wait: it runs, or has not begun, and only an exception in its thread reaches it.
        """
        task = self._task
        if task is None or asyncio.current_task(self._loop) is task:
            return False
        self._instead = exc
        self._loop.call_soon_threadsafe(task.cancel)
        return True

    def send(self, value: Any) -> Any:
        if self._task is None:
            self._task = asyncio.current_task(self._loop)
        return self._inner.send(value)

    def throw(self, exc: Any, *rest: Any) -> Any:
        if isinstance(exc, asyncio.CancelledError) and self._instead is not None:
            exc, self._instead = self._instead, None
            assert self._task is not None
            self._task.uncancel()
            return self._inner.throw(exc)
        return self._inner.throw(exc, *rest)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._inner.__await__())
