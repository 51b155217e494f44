"""Tasks that take their messages in a way of their own (``Task.Strategy``), celery-batches for one.

Owns the counter between such a strategy and a child: the message goes to the strategy's handler and stays leased until
the strategy acknowledges or rejects it; functions that the strategy gives to "the pool" run in a thread of the child.
What is not settled when the child ends goes back to its queue. Called by the intake through ``Celery.strategy``.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from talo import signals
from talo.compat.message import Message
from talo.errors import OperationalError
from talo.stores.base import Death, Delivery, Settlement, Verdict

__all__ = ["DEFAULT", "BasePool", "Consumer", "Counter", "Timer", "hybrid_to_proto2", "proto1_to_proto2", "taker"]

log = logging.getLogger("celery.worker.strategy")

#: What a task names that has no way of its own.
DEFAULT = "celery.worker.strategy:default"


def hybrid_to_proto2(message: Any, body: Any) -> tuple[Any, Any, bool, bool]:
    """(body, headers, decoded, utc) of a message whose arguments stand in its body under names."""
    headers = {**message.headers, **{key: value for key, value in body.items() if key not in ("args", "kwargs")}}
    embed = {name: body.get(name) for name in ("callbacks", "errbacks", "chord", "chain")}
    return (body.get("args", []), body.get("kwargs", {}), embed), headers, True, body.get("utc", True)


def proto1_to_proto2(message: Any, body: Any) -> tuple[Any, Any, bool, bool]:
    """The same for a message of protocol 1."""
    return hybrid_to_proto2(message, body)


class BasePool:
    """Where a strategy's functions run: a thread of the child, one after the other."""

    limit = 1
    is_green = False

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._busy = 0

    @property
    def busy(self) -> bool:
        """Whether something runs or waits to run."""
        return self._busy > 0

    def apply_async(
        self,
        target: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        accept_callback: Any = None,
        callback: Any = None,
        error_callback: Any = None,
        **_options: Any,
    ) -> None:
        """Call ``target`` there; ``accept_callback(pid, time)`` before, ``callback(value)`` after."""

        def work() -> None:
            if accept_callback is not None:
                accept_callback(os.getpid(), time.time())
            try:
                value = target(*args, **(kwargs or {}))
            except Exception as exc:
                log.exception("A function of a strategy failed")
                if error_callback is not None:
                    error_callback(exc)
                return
            if callback is not None:
                callback(value)

        self._busy += 1
        self._work.put(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="talo-strategy", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            finally:
                self._busy -= 1

    def join(self, deadline: float) -> None:
        """Wait until everything has run, ``deadline`` seconds at most."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join(deadline)


class _Entry:
    """A timer of a strategy's."""

    def __init__(self, fun: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.fun, self.args, self.kwargs = fun, args, kwargs
        self.cancelled = False
        self._over = threading.Event()

    def cancel(self) -> None:
        """Do not call it any more."""
        self.cancelled = True
        self._over.set()

    def run(self, first: float, again: float | None) -> None:
        """Call it after ``first`` seconds, and then every ``again``."""
        pause = first
        while not self._over.wait(pause):
            try:
                self.fun(*self.args, **self.kwargs)
            except Exception:
                log.exception("A timer failed")
            if again is None:
                return
            pause = again


class Timer:
    """Calls functions later, each from a thread of its own."""

    def call_repeatedly(self, secs: float, fun: Any, args: Any = (), kwargs: Any = None, priority: int = 0) -> Any:
        """Call ``fun`` every ``secs`` seconds; ``cancel`` what is returned."""
        del priority
        return self._begin(_Entry(fun, args, kwargs or {}), secs, secs)

    def call_after(self, secs: float, fun: Any, args: Any = (), kwargs: Any = None, priority: int = 0) -> Any:
        """Call ``fun`` once after ``secs`` seconds."""
        del priority
        return self._begin(_Entry(fun, args, kwargs or {}), secs, None)

    def call_at(self, eta: float, fun: Any, args: Any = (), kwargs: Any = None, priority: int = 0) -> Any:
        """Call ``fun`` once at a moment (epoch seconds)."""
        return self.call_after(max(0.0, eta - time.time()), fun, args, kwargs, priority)

    @staticmethod
    def _begin(entry: _Entry, first: float, again: float | None) -> _Entry:
        threading.Thread(target=entry.run, args=(first, again), name="talo-timer", daemon=True).start()
        return entry

    def cancel(self, tref: Any) -> None:
        """Do not call it any more."""
        tref.cancel()


class Consumer:
    """The worker as a strategy sees it."""

    def __init__(self, app: Any = None, hostname: str = "") -> None:
        self.app = app
        self.hostname = hostname
        self.pool = BasePool()
        self.timer = Timer()
        self.event_dispatcher: Any = None
        self.connection_errors = (OperationalError,)
        self.channel_errors = (OperationalError,)
        self.controller: Any = None
        self.steps: list[Any] = []


#: Seconds that a child waits at its end for what it has given to a strategy's pool.
_PATIENCE = 30.0


def taker(app: Any, task: Any, strategy: Any) -> Callable[[Delivery, Callable[[Settlement], Any]], None]:
    """Return what hands the messages of a task to its strategy."""
    return Counter(app, task, strategy).take


class Counter:
    """Hands the messages of one task that come to one child to the task's strategy."""

    def __init__(self, app: Any, task: Any, strategy: Any) -> None:
        self._consumer = Consumer(app, app.env.hostname)
        self._handler = strategy(task, app, self._consumer)
        signals.worker_process_shutdown.connect(self._close, weak=False)

    def take(self, delivery: Delivery, settle: Callable[[Settlement], Any]) -> None:
        """Give a message to the strategy; it stays leased until the strategy settles it."""
        raw = delivery.message
        assert raw is not None

        def ack(*_args: Any, **_kwargs: Any) -> None:
            settle(Settlement(lease=delivery.lease))

        def reject(_log: Any = None, _errors: Any = None, requeue: bool = False, **_kwargs: Any) -> None:
            if requeue:
                settle(Settlement(lease=delivery.lease, verdict=Verdict.AGAIN))
                return
            death = Death(reason="rejected", text="rejected by its strategy", task_id=raw.id, task=raw.task)
            settle(Settlement(lease=delivery.lease, verdict=Verdict.DEAD, death=death))

        message = Message.of(delivery, raw, None, None)
        message.talo = raw  # type: ignore[attr-defined]
        self._handler(message, None, ack, reject, set())

    def _close(self, **_kwargs: Any) -> None:
        # What it acknowledges now stands in the child's ring, from which the agent settles it.
        self._consumer.pool.join(_PATIENCE)
