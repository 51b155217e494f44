"""The async twins: ``adelay``, ``aapply_async``, ``asend_task``, ``asend_many``, ``aget`` and ``await result``.

Owns nothing but the way from the event loop to the sync verbs: sends go to a thread, results are told by the store's
``watch``. The loop is never held. Sync is the source; a test compares the signatures. Mixed into ``Task``,
``AsyncResult`` and ``Talo``.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from talo.app.result import AsyncResult

__all__ = ["AppTwins", "ResultTwins", "TaskTwins"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def _asyncio() -> Any:
    # Whoever awaits has imported it; a program without an event loop need not pay for it at ``import talo``.
    return importlib.import_module("asyncio")


async def _in_thread(verb: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    result: T = await _asyncio().to_thread(verb, *args, **kwargs)
    return result


class TaskTwins(Generic[P, R]):
    """The twins of a task."""

    if TYPE_CHECKING:
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
        return await _in_thread(self.apply_async, args, kwargs, task_id, producer, link, link_error, shadow, **options)


class AppTwins:
    """The twins of an app."""

    if TYPE_CHECKING:
        send_task: Callable[..., AsyncResult[Any]]
        send_many: Callable[..., list[AsyncResult[Any]]]

    async def asend_task(
        self, name: str, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """``send_task`` without holding the event loop."""
        return await _in_thread(self.send_task, name, args, kwargs, **options)

    async def asend_many(self, calls: Iterable[Any], *, batch: int = 1_000, **options: Any) -> list[AsyncResult[Any]]:
        """``send_many`` without holding the event loop; ``calls`` is read in a thread."""
        return await _in_thread(self.send_many, calls, batch=batch, **options)


class ResultTwins(Generic[R]):
    """The twins of a result."""

    if TYPE_CHECKING:
        id: str
        backend: Any
        _begin_get: Callable[..., bool]
        _take: Callable[..., Any]
        _end_get: Callable[..., R]
        _check_parents: Callable[[], None]
        _timed_out: Callable[[], Exception]

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
        follow = follow_parents and propagate
        asyncio = _asyncio()
        loop = asyncio.get_running_loop()
        came = asyncio.Event()

        def tell(_task_id: str, payload: bytes) -> None:
            self._take(payload)
            loop.call_soon_threadsafe(came.set)

        deadline = None if timeout is None else time.monotonic() + timeout
        watch = await _in_thread(self.backend.watch, [self.id], tell)
        try:
            while not came.is_set():
                left = interval if deadline is None else min(interval, deadline - time.monotonic())
                if left <= 0:
                    raise self._timed_out()
                try:
                    await asyncio.wait_for(came.wait(), left)
                except TimeoutError:
                    if follow:
                        await _in_thread(self._check_parents)
                    if on_interval is not None:
                        on_interval()
        finally:
            await _in_thread(watch.cancel)
        return self._end_get(propagate, callback, on_message)
