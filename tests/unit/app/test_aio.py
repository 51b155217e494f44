"""The async twins: the same verbs, and a loop that is never held."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest

from talo import AsyncResult, Talo, Task
from talo.errors import AccessRefused, TimeoutError
from tests.unit.app.conftest import FarSide

TWINS: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (Task.delay, Task.adelay),
    (Task.apply_async, Task.aapply_async),
    (Talo.send_task, Talo.asend_task),
    (Talo.send_many, Talo.asend_many),
    (AsyncResult.get, AsyncResult.aget),
    (AsyncResult.reschedule, AsyncResult.areschedule),
]


@pytest.mark.parametrize(("sync", "twin"), TWINS)
def test_a_twin_takes_what_its_sync_verb_takes(sync: Callable[..., Any], twin: Callable[..., Any]) -> None:
    assert inspect.iscoroutinefunction(twin)
    assert twin.__name__ == f"a{sync.__name__}"
    assert inspect.signature(twin).parameters == inspect.signature(sync).parameters


def test_sends_and_results_without_holding_the_loop(app: Talo, far: FarSide) -> None:
    # Given a task
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    async def use() -> list[Any]:
        # When it is sent by every twin, and ended by somebody else
        handles = [await add.adelay(1, 2), await add.aapply_async((3, 4), countdown=0), await app.asend_task("any")]
        handles += await app.asend_many([(add, (5, 6))])
        for number, handle in enumerate(handles):
            threading.Timer(0.02, far.end, (handle.id, number)).start()
        return [await handle for handle in handles]

    # Then awaiting gives the values
    assert asyncio.run(use()) == [0, 1, 2, 3]


def test_many_waiters_share_the_loop(app: Talo, far: FarSide) -> None:
    # Given many coroutines that wait
    async def use() -> int:
        ids = [f"id{n}" for n in range(100)]
        waiting = [asyncio.ensure_future(app.AsyncResult(i).aget(timeout=30)) for i in ids]
        await asyncio.to_thread(lambda: [far.end(i, n) for n, i in enumerate(ids)])
        return sum(await asyncio.gather(*waiting))

    # Then each gets its own
    assert asyncio.run(use()) == sum(range(100))


def test_a_wait_times_out_fails_and_is_cancelled_like_the_sync_one(app: Talo, far: FarSide) -> None:
    # Given nothing, a failure, and a wait that nobody wants any more
    far.end("bad", ValueError("x"), state="FAILURE")

    async def use() -> None:
        with pytest.raises(TimeoutError):
            await app.AsyncResult("nothing").aget(timeout=0.05)
        with pytest.raises(ValueError, match="x"):
            await app.AsyncResult("bad")
        assert isinstance(await app.AsyncResult("bad").aget(propagate=False), ValueError)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(app.AsyncResult("nothing").aget(), 0.05)

    asyncio.run(use())


def test_an_eager_result_can_be_awaited(app: Talo) -> None:
    # Given a coroutine task that was run here
    @app.task
    async def fetch(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    result = fetch.apply((1,))

    async def use() -> int:
        return await result

    # Then awaiting its result gives the value
    assert asyncio.run(use()) == 2


def test_a_watch_that_comes_too_late_troubles_nobody(app: Talo, far: FarSide, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a store in which the registration of a watch hangs until its waiter, loop included, has gone
    backend, gate, entered = app.backend, threading.Event(), threading.Event()
    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)

    class Hanging:
        def watch(self, ids: Any, tell: Any) -> Any:
            entered.set()
            gate.wait(30)
            return backend.watch(ids, tell)

    async def wait() -> None:
        with pytest.raises(TimeoutError):
            await app.AsyncResult("late", backend=Hanging()).aget(timeout=0.2)

    asyncio.run(wait())
    assert entered.is_set()

    # When it gets through and the result is there
    far.end("late", 1)
    gate.set()

    # Then others are told as ever
    far.end("other", 2)
    assert asyncio.run(app.AsyncResult("other").aget(timeout=30)) == 2
    assert raised == []


def test_a_registration_that_fails_fails_the_wait(app: Talo) -> None:
    class Refusing:
        def watch(self, ids: Any, tell: Any) -> Any:
            raise AccessRefused("wrong password")

    async def wait() -> None:
        with pytest.raises(AccessRefused, match="wrong password"):
            await app.AsyncResult("any", backend=Refusing()).aget(timeout=30)

    asyncio.run(wait())
