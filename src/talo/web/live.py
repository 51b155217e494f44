"""The live stream: the numbers of ``pulse`` by server-sent events.

Owns the one task that looks while somebody listens, and the bound on listeners. Served at ``/live``; a page that hears
a change asks for itself again. WHATWG HTML §9.2 is the form of a stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from talo.errors import TaloError
from talo.web.answering import refusal
from talo.web.desk import Desk
from talo.web.operation import Nothing
from talo.web.operations.overview import pulse

__all__ = ["Live"]

#: Seconds between two looks.
EVERY = 2.0
#: Streams at a time; who comes later asks now and then.
LISTENERS = 64
#: Seconds after which a stream ends. The browser comes again, and is asked again who it is.
LASTS = 600.0
#: Seconds after which something is sent even if nothing has changed, so that proxies keep the line.
QUIET = 15.0


class Live:
    """The stream of one dashboard. Lives in one event loop."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._listeners: set[asyncio.Queue[bytes]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._last = b""

    async def stream(self, request: Request) -> Response:
        """``GET /live``."""
        if not request.scope.get("talo.live", True) or len(self._listeners) >= LISTENERS:
            return refusal(request, 503, "no more streams: ask now and then instead")
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._events(), media_type="text/event-stream", headers=headers)

    async def _events(self) -> AsyncIterator[bytes]:
        listener: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._listeners.add(listener)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        ends = time.monotonic() + LASTS
        try:
            yield b"retry: 3000\n\n" + (self._last or b"")
            while (left := ends - time.monotonic()) > 0:
                try:
                    yield await asyncio.wait_for(listener.get(), min(QUIET, left))
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self._listeners.discard(listener)

    async def _look(self) -> None:
        """Look as long as somebody listens."""
        seen: Any = None
        while self._listeners:
            try:
                facts = await run_in_threadpool(pulse.run, self._desk, Nothing())
            except TaloError:
                facts = {"away": True}
            told = {name: value for name, value in facts.items() if name not in ("now", "oldest")}
            # While something waits or runs, times change even if numbers do not.
            if told != seen or facts.get("ready") or facts.get("leased"):
                seen = told
                self._last = b"event: pulse\ndata: " + msgspec.json.encode(facts) + b"\n\n"
                for listener in self._listeners:
                    if listener.full():
                        listener.get_nowait()
                    listener.put_nowait(self._last)
            await asyncio.sleep(EVERY)

    async def stop(self) -> None:
        """End the task. Idempotent."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
