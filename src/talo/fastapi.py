"""Talo in a FastAPI application: ``lifespan``, the dependency ``TaloDep``, and ``status_router``.

Owns what is FastAPI's own (dependencies, OpenAPI); what is told of a task, and how, is ``talo.starlette``'s.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Annotated, Any

from talo.app.app import Talo
from talo.errors import ImproperlyConfigured
from talo.util.optional import load

load("fastapi", "FastAPI", "fastapi")

from fastapi import APIRouter, Depends, Response  # noqa: E402  after the look whether there is a FastAPI
from starlette.requests import HTTPConnection  # noqa: E402

from talo.starlette import (  # noqa: E402
    STATE_KEY,
    Lifespan,
    TaskFault,
    TaskStatus,
    lifespan,
    progress_response,
    status_response,
)

__all__ = ["Lifespan", "TaloDep", "TaskFault", "TaskStatus", "lifespan", "status_router", "talo_of"]


def talo_of(connection: HTTPConnection) -> Talo:
    """The app that ``lifespan`` has put into the state of every request. ``ImproperlyConfigured`` if it did not run."""
    found = getattr(connection.state, STATE_KEY, None)
    if not isinstance(found, Talo):
        raise ImproperlyConfigured(
            "TaloDep finds no app: create the application with FastAPI(lifespan=talo.fastapi.lifespan(app)), "
            "and in tests enter it, as in with TestClient(api)"
        )
    return found


#: Annotate a parameter with it: ``async def order(talo: TaloDep): await talo.asend_task(...)``. HTTP and WebSocket.
TaloDep = Annotated[Talo, Depends(talo_of)]


def status_router(
    app: Talo,
    *,
    prefix: str = "",
    dependencies: Sequence[Any] = (),
    tags: Sequence[str | enum.Enum] = ("tasks",),
) -> APIRouter:
    """A router with ``GET {prefix}/{task_id}`` and ``GET {prefix}/{task_id}/events``, described in the OpenAPI schema.

    Whoever reaches it and knows an id sees the result: hand your authentication in as ``dependencies``.
    """
    router = APIRouter(prefix=prefix, dependencies=list(dependencies), tags=list(tags))

    async def status(task_id: str) -> Response:
        """The state of a task, with its result, progress or error."""
        return await status_response(app, task_id)

    async def events(task_id: str) -> Response:
        """The same as server-sent events, one for each change, until the task has ended."""
        return await progress_response(app, task_id)

    refusals: dict[int | str, dict[str, Any]] = {
        404: {"description": "No id of a task"},
        501: {"description": "No results are kept"},
        503: {"description": "The results cannot be reached"},
    }
    router.add_api_route("/{task_id}", status, response_model=TaskStatus, responses=refusals, name="task_status")
    router.add_api_route(
        "/{task_id}/events",
        events,
        response_class=Response,
        responses={**refusals, 200: {"content": {"text/event-stream": {}}, "description": "Events named status"}},
        name="task_events",
    )
    return router
