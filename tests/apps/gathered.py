"""An app of coroutines that wait for one another in one process, and plain functions beside them."""

from __future__ import annotations

import asyncio
import time

from talo import Talo
from tests.apps import traced

app = Talo("gathered")


class Gate:
    """Where coroutines of one event loop wait until somebody opens it."""

    def __init__(self) -> None:
        self.waiting = 0
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def wait(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.waiting += 1
        await self._event.wait()
        self.waiting -= 1

    def open(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._event.set)


gate = Gate()


@app.task(bind=True)
async def waits(self: object) -> None:
    """Ends when the gate is opened."""
    traced.trace("start", self.request.id)  # type: ignore[attr-defined]
    await gate.wait()


@app.task
def opens() -> int:
    """A plain function: opens the gate, and returns how many waited for it."""
    waiting = gate.waiting
    gate.open()
    return waiting


@app.task
def waiting() -> int:
    """A plain function: how many wait."""
    return gate.waiting


@app.task
async def sleeps(seconds: float) -> None:
    await asyncio.sleep(seconds)


@app.task
def works(seconds: float) -> None:
    """A plain function, in a thread beside the loop."""
    time.sleep(seconds)
