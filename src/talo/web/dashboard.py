"""``Dashboard``: the ASGI application, from the table to the door.

Owns putting the parts together and the routes; each part is a module of its own. Made by ``talo dashboard`` or mounted
by an application."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from talo.web.access import Access
from talo.web.answering import as_json, page, refusal
from talo.web.api import endpoint
from talo.web.audit import Audit
from talo.web.desk import Desk
from talo.web.guard import Guard
from talo.web.live import Live
from talo.web.login import Login
from talo.web.oidc import Provider
from talo.web.openapi import describe
from talo.web.operation import Operation
from talo.web.operations import TABLE
from talo.web.operations.overview import pulse
from talo.web.pages import PAGES, page_endpoint
from talo.web.session import Sessions
from talo.web.templating import STATIC

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["Dashboard"]


class Dashboard:
    """An ASGI application that shows and steers one app.

    Without ``access`` nobody has to log in, and it answers only to requests of this very machine.
    """

    def __init__(
        self,
        app: Talo,
        *,
        access: Access | None = None,
        audit: str | os.PathLike[str] | None = None,
        secret: str | None = None,
    ) -> None:
        """``access``: who may come in, ``Access.read(path)``. ``audit``: the file of the audit log. ``secret``: signs
        the cookies; without one logins end with the process."""
        self.app = app
        self.access = access or Access()
        self.audit = Audit(audit)
        self.desk = Desk(app, self.audit)
        self._sessions = Sessions(secret)
        self._live = Live(self.desk)
        self.routes = self._routes()
        inner = Starlette(
            routes=self.routes,
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _told, Exception: _broke},
        )
        self._door = Guard(inner, self.access, self._sessions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. The scope is copied: whoever we are mounted in keeps its own session."""
        scope = {**scope, "talo.access": self.access, "state": dict(scope.get("state", {}))}
        await self._door(scope, receive, send)

    def __repr__(self) -> str:
        return f"<Dashboard of {self.app.main or 'default'}: {self.access!r}>"

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What it can show and do."""
        return (*TABLE, pulse)

    def _routes(self) -> list[BaseRoute]:
        login = Login(self.access, self._sessions, self.audit)
        provider = Provider(self.access, self._sessions, self.audit)
        routes: list[BaseRoute] = [
            Route(f"/api{each.path}", endpoint(each, self.desk), methods=[each.method], name=each.name)
            for each in self.operations
        ]
        routes += [Route(each.path, page_endpoint(each, self.desk), methods=["GET"]) for each in PAGES]
        return [
            *routes,
            Route("/api/openapi.json", self._description, methods=["GET"]),
            Route("/live", self._live.stream, methods=["GET"]),
            Route("/login", login.show, methods=["GET"]),
            Route("/login", login.enter, methods=["POST"]),
            Route("/login/oidc", provider.leave, methods=["GET"]),
            Route("/login/oidc/callback", provider.come_back, methods=["GET"]),
            Route("/logout", login.leave, methods=["POST"]),
            Route("/help", _help, methods=["GET"]),
            Mount("/static", _Static(directory=STATIC)),
        ]

    async def _description(self, _request: Request) -> Response:
        return as_json(describe(self.operations))

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._live.stop()


class _Static(StaticFiles):
    """Files whose addresses change with what is in them: they may be kept for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == 200:
            response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


async def _help(request: Request) -> Response:
    return page(request, "help.html", title="Keys", pages=[each for each in PAGES if each.nav], section="/help")


async def _told(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    texts = {404: "there is no such page", 405: "that is not how this page is asked"}
    return refusal(request, status, texts.get(status, str(error)))


async def _broke(request: Request, _error: Exception) -> Response:
    return refusal(request, 500, "the dashboard's log tells what")
