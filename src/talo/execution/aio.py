"""Running coroutine functions where there is no event loop, and interrupting coroutines.

Each thread that needs one keeps an event loop of its own. ``Interruptible`` lets any exception, not just
``CancelledError``, be raised at the point where a coroutine waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator
from typing import Any

from talo.execution.run import Run, call_async

__all__ = ["Interruptible", "call_blocking", "close_loop"]


class _Loops(threading.local):
    runner: asyncio.Runner | None = None


_loops = _Loops()


def call_blocking(run: Run) -> None:
    """Run a coroutine task from begin to finish in this thread."""
    if _in_event_loop():
        # An eager call inside somebody's event loop: it cannot be entered twice, so another thread does it.
        thread = threading.Thread(target=lambda: asyncio.run(call_async(run)), name="talo-eager")
        thread.start()
        thread.join()
        return
    runner = _loops.runner
    if runner is None:
        runner = _loops.runner = asyncio.Runner()
    runner.run(call_async(run))


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
    """A coroutine into which ``interrupt`` raises any exception, where it waits: the carrying task is cancelled and
    the cancellation exchanged."""

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self._inner = inner
        self._instead: BaseException | None = None

    def interrupt(self, task: asyncio.Task[Any], exc: BaseException) -> None:
        """Raise ``exc`` in the coroutine at its next step. Call in the event loop's thread."""
        self._instead = exc
        task.cancel()

    def send(self, value: Any) -> Any:
        return self._inner.send(value)

    def throw(self, exc: Any, *rest: Any) -> Any:
        if isinstance(exc, asyncio.CancelledError) and self._instead is not None:
            exc, self._instead = self._instead, None
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            return self._inner.throw(exc)
        return self._inner.throw(exc, *rest)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()
