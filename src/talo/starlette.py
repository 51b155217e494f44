"""Talo in a Starlette application: ``lifespan``, and ``status_app``, which answers for tasks over HTTP.

Owns what a client is told of a task (``TaskStatus``) and how it is told: once as JSON, or as a stream of server-sent
events. Nothing here holds the event loop: the store is asked in Talo's own threads. ``talo.fastapi`` stands on this.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import msgspec

from talo import states
from talo.app.aio import in_thread, sends_ended
from talo.app.app import Talo
from talo.errors import NotSupported, OperationalError
from talo.stores.base import Store
from talo.util.optional import load
from talo.wire.repr import saferepr

load("starlette", "Starlette", "starlette")

from starlette.applications import Starlette  # noqa: E402  after the look whether there is a Starlette
from starlette.requests import Request  # noqa: E402
from starlette.responses import Response, StreamingResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402

__all__ = ["Lifespan", "TaskFault", "TaskStatus", "lifespan", "progress_response", "status_app", "status_response"]

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]

#: Under it ``lifespan`` puts the app into the state of every request.
STATE_KEY = "talo"
#: Longest id that is looked for; Celery's and Talo's own have 36.
_LONGEST_ID = 255
#: Seconds between two looks at a task: the first, how it grows while nothing happens, and the most.
_FIRST_LOOK, _SLOWER, _LAST_LOOK = 0.1, 1.5, 2.0
#: A comment after so many quiet seconds keeps proxies from closing the stream.
_KEEP_ALIVE = 15.0
_NO_STORE = {"Cache-Control": "no-store"}
#: What goes through nginx is not to be collected there.
_STREAM = {**_NO_STORE, "X-Accel-Buffering": "no"}
#: Data of these states are Talo's own, not progress.
_NOT_PROGRESS = states.ALL_STATES | {states.REJECTED, states.IGNORED}


@dataclass(frozen=True, slots=True)
class TaskFault:
    """Why a task failed; tracebacks stay on the server."""

    type: str
    message: str


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """What a client may know of a task. An id that nobody knows is PENDING, like a task that has not begun."""

    id: str
    state: str
    #: Whether it has ended.
    ready: bool
    #: What it returned; what JSON cannot say comes as text.
    result: Any = None
    #: What it said last with ``update_state`` under a state of its own (``PROGRESS``).
    progress: Any = None
    error: TaskFault | None = None
    done_at: dt.datetime | None = None


def lifespan(app: Talo, also: Lifespan | None = None) -> Lifespan:
    """A lifespan that readies ``app`` at the start and closes its connections at the end, after the sends that are
    still on their way; ``also`` is one of your own, entered within it.

    Settings that cannot be used stop the start; a broker that is away does not. Requests find the app as
    ``request.state.talo``.
    """

    @contextlib.asynccontextmanager
    async def life(server: Any) -> AsyncIterator[Mapping[str, Any]]:
        await in_thread(_opened, app)
        try:
            async with contextlib.AsyncExitStack() as stack:
                more = await stack.enter_async_context(also(server)) if also is not None else None
                yield {**(more or {}), STATE_KEY: app}
        finally:
            # A send that comes after its connections were closed would open new ones, which nobody closes.
            await sends_ended(app)
            await in_thread(app.release_stores)

    return life


def _opened(app: Talo) -> tuple[Store, Store | None]:
    """The app's stores. What cannot be used of settings, URLs and extras is found now, and not with the first request;
    nothing is connected to yet."""
    app.finalize()
    return app.store, app.result_store


def status_app(app: Talo) -> Starlette:
    """An application to be mounted: ``GET /{task_id}`` tells the status of a task, ``GET /{task_id}/events`` follows it
    to its end.

    Whoever reaches it and knows an id sees the result, so mount it behind your authentication.
    """

    async def status(request: Request) -> Response:
        return await status_response(app, request.path_params["task_id"])

    async def events(request: Request) -> Response:
        return await progress_response(app, request.path_params["task_id"])

    return Starlette(routes=[Route("/{task_id}/events", events), Route("/{task_id}", status)])


async def status_response(app: Talo, task_id: str) -> Response:
    """The status as JSON: 200; 404 for what is no id, 503 if the results cannot be reached, 501 if none are kept."""
    status = await _status_or_refusal(app, task_id)
    return status if isinstance(status, Response) else Response(_json(status), 200, _NO_STORE, "application/json")


async def progress_response(app: Talo, task_id: str) -> Response:
    """A stream of server-sent events ``status``, one for each change, until the task has ended; refusals as of
    ``status_response``."""
    status = await _status_or_refusal(app, task_id)
    if isinstance(status, Response):
        return status
    return StreamingResponse(_stream(app, status), 200, _STREAM, "text/event-stream")


async def _status_or_refusal(app: Talo, task_id: str) -> TaskStatus | Response:
    if len(task_id) > _LONGEST_ID or not task_id.isprintable():
        return _refusal(404, "this is no id of a task")
    try:
        return await in_thread(_look, app, task_id)
    except OperationalError:
        return _refusal(503, "the results cannot be reached at the moment", {"Retry-After": "5"})
    except NotSupported:
        return _refusal(501, "no results are kept here: result_backend is disabled")


def _look(app: Talo, task_id: str) -> TaskStatus:
    found = app.AsyncResult(task_id)
    meta = found._get_task_meta()
    state, value = meta["status"], meta["result"]
    ready = state in states.READY_STATES
    done_at = found.date_done if ready else None  # what has ended is not read twice
    if state == states.SUCCESS:
        return TaskStatus(task_id, state, ready, result=value, done_at=done_at)
    if ready:
        fault = TaskFault(type(value).__name__, str(value)) if isinstance(value, BaseException) else None
        return TaskStatus(task_id, state, ready, error=fault, done_at=done_at)
    return TaskStatus(task_id, state, ready, progress=None if state in _NOT_PROGRESS else value)


async def _stream(app: Talo, status: TaskStatus) -> AsyncIterator[bytes]:
    """What a client sees of a task, from ``status`` on. Ends with the task, or when the client has gone."""
    told, pause, quiet = _json(status), _FIRST_LOOK, 0.0
    yield _event(told)
    while not status.ready:
        await asyncio.sleep(pause)
        quiet += pause
        # While the store is away the client is kept waiting: its task goes on.
        with contextlib.suppress(OperationalError):
            status = await in_thread(_look, app, status.id)
        seen = _json(status)
        if seen != told:
            told, pause, quiet = seen, _FIRST_LOOK, 0.0
            yield _event(told)
            continue
        pause = min(pause * _SLOWER, _LAST_LOOK)
        if quiet >= _KEEP_ALIVE:
            quiet = 0.0
            yield b": still here\n\n"


def _event(data: bytes) -> bytes:
    return b"event: status\ndata: " + data + b"\n\n"


def _json(status: TaskStatus) -> bytes:
    try:
        return msgspec.json.encode(status, enc_hook=saferepr)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # Keys that are no text, numbers that JSON's readers do not know, circles: shown as Python shows them.
        shown = dataclasses.replace(status, result=_text(status.result), progress=_text(status.progress))
        return msgspec.json.encode(shown)


def _text(value: Any) -> str | None:
    return None if value is None else saferepr(value)


def _refusal(code: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode({"error": why}), code, {**_NO_STORE, **(headers or {})}, "application/json")
