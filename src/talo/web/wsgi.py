"""The dashboard under WSGI: for Flask, and for Django without ASGI.

Owns carrying one request over to the ASGI application and its answer back, each in an event loop of its own. There is
no live stream; pages ask every few seconds. ``talo.web.django`` uses it too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.types import Message

from talo.web.dashboard import Dashboard
from talo.web.guard import MOST_BODY
from talo.web.user import User

__all__ = ["Answer", "answer_once", "scope_of", "wsgi"]

StartResponse = Callable[..., Any]
Wsgi = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Answer(msgspec.Struct):
    """A whole answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def wsgi(dashboard: Dashboard, user: Callable[[dict[str, Any]], User | None] | None = None) -> Wsgi:
    """Return the dashboard as a WSGI application.

    ``user`` tells from the environment of a request who it is, where the application that it is mounted in knows; None
    leaves that to the dashboard's own access.
    """

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or "0"
        # What is longer than the door lets in is not read: it is refused by its length.
        body = environ["wsgi.input"].read(min(int(length), MOST_BODY + 1)) if length.isdigit() else b""
        answer = answer_once(dashboard, scope_of(environ), body, user(environ) if user is not None else None)
        phrase = HTTPStatus(answer.status).phrase
        start_response(f"{answer.status} {phrase}", answer.headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else answer.body]

    return application


def answer_once(dashboard: Dashboard, scope: dict[str, Any], body: bytes, user: User | None = None) -> Answer:
    """Carry one request out and return its whole answer."""
    if user is not None:
        scope["talo.user"] = user
    scope["talo.live"] = False
    return asyncio.run(_answer(dashboard, scope, body))


async def _answer(dashboard: Dashboard, scope: dict[str, Any], body: bytes) -> Answer:
    answer = Answer(500, [], b"")
    parts: list[bytes] = []
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await dashboard(scope, receive, send)
    answer.body = b"".join(parts)
    return answer


def scope_of(environ: dict[str, Any]) -> dict[str, Any]:
    """The ASGI scope of a WSGI environment (PEP 3333)."""
    root = environ.get("SCRIPT_NAME", "").encode("latin-1").decode("utf-8", "replace")
    path = root + environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
    headers = [
        (name[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers.append((name.replace("_", "-").lower().encode(), environ[name].encode("latin-1")))
    address = environ.get("REMOTE_ADDR")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "root_path": root,
        "headers": headers,
        "client": (address, 0) if address else None,
        "server": (environ.get("SERVER_NAME", ""), int(environ.get("SERVER_PORT") or 0)),
        "state": {},
    }
