"""The async twins: ``adelay``, ``aapply_async``, ``asend_task``, ``asend_many``, ``aget``, ``areschedule`` and
``await result``.

Owns nothing but the way from the event loop to the sync verbs: sends go to a thread, results are told by the store's
``watch``. The loop is never held, and its own threads, which name lookups and other libraries need, are left alone.
Sync is the source; a test compares the signatures. Mixed into ``Task``, ``AsyncResult`` and ``Talo``; ``in_thread`` and
``sends_ended`` serve ``talo.starlette`` too.
"""

from __future__ import annotations

import contextlib
import contextvars
import datetime as dt
import importlib
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from talo.errors import PublishTimeout

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from talo.app.result import AsyncResult

__all__ = ["AppTwins", "ResultTwins", "TaskTwins", "in_thread", "sends_ended"]

#: Threads that may wait for servers at a time. They are made as they are needed.
THREADS = 32

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def _asyncio() -> Any:
    # Whoever awaits has imported it; a program without an event loop need not pay for it at ``import talo``.
    return importlib.import_module("asyncio")


class _Threads:
    """Threads of this process in which twins wait; a forked one makes its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool: ThreadPoolExecutor | None = None
        #: What was asked for and has not ended, with whom it is for; also what nobody awaits any more.
        self.going: dict[Future[Any], object] = {}
        os.register_at_fork(after_in_child=self._forget)

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The threads. Two loops that make them at once are no harm: what was not kept ends when it has no work."""
        pool = self._pool
        if pool is None:
            futures = importlib.import_module("concurrent.futures")
            pool = self._pool = futures.ThreadPoolExecutor(THREADS, thread_name_prefix=self._name)
        return pool

    def _forget(self) -> None:
        self._pool = None
        self.going = {}

    async def call(self, owner: object, verb: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call ``verb`` in one of them, in a copy of this context; return or raise what it does. Cancelled before it
        has begun it never begins."""
        call = self.pool.submit(contextvars.copy_context().run, verb, *args, **kwargs)
        self.going[call] = owner
        call.add_done_callback(lambda done: self.going.pop(done, None))
        result: T = await _asyncio().wrap_future(call)
        return result


#: Results that cannot be reached must not keep anybody from sending, nor the other way round.
_senders = _Threads("talo-send")
_askers = _Threads("talo-ask")


async def in_thread(verb: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Ask a store in a thread of Talo's: return or raise what ``verb`` does. Cancelled before it has begun it never
    begins."""
    return await _askers.call(None, verb, *args, **kwargs)


async def sends_ended(app: Any) -> None:
    """Wait until every send of ``app`` that a loop has asked for has ended, awaited or not: each does within
    ``publish_timeout``. Sends that are asked for meanwhile are not waited for."""
    asyncio = _asyncio()
    going = [asyncio.wrap_future(call) for call, owner in list(_senders.going.items()) if owner is app]
    if going:
        await asyncio.wait(going)
    for each in going:
        if not each.cancelled():
            each.exception()  # its caller was told, if there still is one


async def _send(app: Any, verb: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Send in a thread. ``PublishTimeout`` as of the verb, and if no thread was free before ``publish_timeout``."""
    return await _senders.call(app, _in_time, app, time.monotonic(), partial(verb, *args, **kwargs))


def _in_time(app: Any, since: float, send: Callable[[], T]) -> T:
    # Behind a broker that does not answer, sends queue up for a thread: who comes too late must not wait once more.
    timeout = app.conf.publish_timeout
    if time.monotonic() - since >= timeout:
        raise PublishTimeout(f"not sent within {timeout:g} s: {THREADS} other calls waited for an answer all the time")
    return send()


class TaskTwins(Generic[P, R]):
    """The twins of a task."""

    if TYPE_CHECKING:
        app: Any
        apply_async: Callable[..., AsyncResult[R]]

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """``delay`` without holding the event loop."""
        return await self.aapply_async(args, kwargs)

    async def aapply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult[R]:
        """``apply_async`` without holding the event loop."""
        return await _send(
            self.app, self.apply_async, args, kwargs, task_id, producer, link, link_error, shadow, **options
        )


class AppTwins:
    """The twins of an app."""

    if TYPE_CHECKING:
        send_task: Callable[..., AsyncResult[Any]]
        send_many: Callable[..., list[AsyncResult[Any]]]

    async def asend_task(
        self, name: str, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """``send_task`` without holding the event loop."""
        return await _send(self, self.send_task, name, args, kwargs, **options)

    async def asend_many(
        self, calls: Iterable[Any], *, batch: int = 1_000, key: str | None = None, **options: Any
    ) -> list[AsyncResult[Any]]:
        """``send_many`` without holding the event loop; ``calls`` is read in a thread."""
        return await _send(self, self.send_many, calls, batch=batch, key=key, **options)


def _end_watch(registering: Future[Any]) -> None:
    if registering.exception() is None:
        registering.result().cancel()


class ResultTwins(Generic[R]):
    """The twins of a result."""

    if TYPE_CHECKING:
        id: str
        backend: Any
        parent: AsyncResult[Any] | None
        _begin_get: Callable[..., bool]
        _take: Callable[..., Any]
        _end_get: Callable[..., R]
        _check_parents: Callable[[], None]
        _timed_out: Callable[[], Exception]
        reschedule: Callable[..., bool]

    def __await__(self) -> Generator[Any, None, R]:
        return self.aget().__await__()

    async def aget(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, R], Any] | None = None,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> R:
        """``get`` without holding the event loop."""
        del no_ack
        if self._begin_get(disable_sync_subtasks):
            return self._end_get(propagate, callback, on_message)
        follow = follow_parents and propagate and self.parent is not None
        asyncio = _asyncio()
        loop = asyncio.get_running_loop()
        came = asyncio.Event()

        def tell(_task_id: str, payload: bytes) -> None:
            self._take(payload)
            # A watch that was registered too late may tell a loop that has been closed meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(came.set)

        deadline = None if timeout is None else time.monotonic() + timeout
        registering = _askers.pool.submit(self._watch_for, tell)
        failure = asyncio.wrap_future(registering)
        failure.add_done_callback(lambda done: came.set() if not done.cancelled() and done.exception() else None)
        try:
            while not came.is_set():
                left = interval if deadline is None else min(interval, deadline - time.monotonic())
                if left <= 0:
                    raise self._timed_out()
                try:
                    await asyncio.wait_for(came.wait(), left)
                except TimeoutError:
                    if follow:
                        await in_thread(self._check_parents)
                    if on_interval is not None:
                        on_interval()
            if failure.done():
                failure.result()
        finally:
            # Both may have to wait for a server, which is no reason to come back later than ``timeout``.
            if not registering.cancel():
                _askers.pool.submit(_end_watch, registering)
        return self._end_get(propagate, callback, on_message)

    async def areschedule(
        self, countdown: float | dt.timedelta | None = None, eta: dt.datetime | str | float | None = None
    ) -> bool:
        """``reschedule`` without holding the event loop."""
        return await in_thread(self.reschedule, countdown, eta)

    def _watch_for(self, tell: Callable[[str, bytes], None]) -> Any:
        # Its backend may have to be opened first, so not even that is looked at in the loop.
        return self.backend.watch([self.id], tell)
