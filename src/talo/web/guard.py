"""The door: who is it, may the request come in, and what every answer carries.

Owns the checks that hold for every route: size, host, login, forgery; and the security headers. Outermost layer of
``dashboard``; what one operation takes is checked in ``api`` and ``pages``."""

from __future__ import annotations

import hmac
import ipaddress
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from talo.web.access import Access
from talo.web.answering import refusal
from talo.web.session import COOKIE, Session, Sessions
from talo.web.user import Role, User

__all__ = ["OPEN", "Guard", "form_of", "is_local"]

#: The only routes that answer somebody unknown with anything but 401.
OPEN = ("/login", "/login/oidc", "/login/oidc/callback")
OPEN_BELOW = "/static/"
#: Bytes of a request's body.
MOST_BODY = 1024 * 1024
_FORM = "application/x-www-form-urlencoded"
#: Everything comes from here; nothing is framed, embedded or sent elsewhere.
_POLICY = (
    "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self'; "
    "img-src 'self' data:"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Lets through who may come in; ``scope["state"]`` then holds ``user``, ``session`` and ``body``."""

    def __init__(self, app: ASGIApp, access: Access, sessions: Sessions) -> None:
        self._app = app
        self._access = access
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        session = self._session(request)
        state = scope.setdefault("state", {})
        state["session"] = session
        sending = self._with_headers(request, session, send)
        body = await _body(receive, request.headers)
        if body is None:
            await refusal(request, 413, f"a request may have {MOST_BODY} bytes")(scope, receive, sending)
            return
        state["body"] = body
        state["user"] = user = self._user(request, session)
        answer = self._refused(request, session, user)
        if answer is not None:
            await refusal(request, *answer)(scope, receive, sending)
            return
        await self._app(scope, _again(body, receive), sending)

    # -- who is it

    def _session(self, request: Request) -> Session:
        cookies: SimpleCookie = SimpleCookie()
        for value in request.headers.getlist("cookie"):
            cookies.load(value[:8192])
        found = cookies.get(COOKIE)
        session = self._sessions.read(found.value if found is not None else None)
        if session is None:
            session = self._sessions.new()
            session.changed = True
        return session

    def _user(self, request: Request, session: Session) -> User | None:
        handed: Any = request.scope.get("talo.user")
        if isinstance(handed, User):
            return handed  # the application that we are mounted in has looked
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._access.by_token(token.strip())
        if self._access.open:
            return User(name="anyone here", role=Role.ADMIN, via="open")
        peer = request.client.host if request.client else None
        if self._access.proxy is not None:
            values = request.headers.getlist(self._access.proxy.header)
            found = self._access.by_proxy(peer, values[0] if len(values) == 1 else None)
            if found is not None:
                return found
        if session.user is not None and session.via in ("password", "oidc"):
            return self._access.known(session.user, session.via)
        return None

    # -- may it come in

    def _refused(self, request: Request, session: Session, user: User | None) -> tuple[int, str] | None:
        """(status, text) of a refusal, or None."""
        path = _inner_path(request)
        if user is not None and user.via == "open" and not is_local(request):
            return 403, (
                "this dashboard has no authentication, so it answers only on this machine under a local name: "
                "see talo dashboard --auth"
            )
        if user is None and path not in OPEN and not path.startswith(OPEN_BELOW):
            return 401, "log in first"
        if request.method not in ("GET", "HEAD") and (fault := _forged(request, session)):
            return 403, fault
        return None

    # -- what every answer carries

    def _with_headers(self, request: Request, session: Session, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                if session.changed:
                    headers.append("set-cookie", self._cookie(request, session))
            await send(message)

        return sending

    def _cookie(self, request: Request, session: Session) -> str:
        path = request.scope.get("root_path") or "/"
        secure = "; Secure" if request.url.scheme == "https" else ""
        return f"{COOKIE}={self._sessions.write(session)}; Path={path}; HttpOnly; SameSite=Lax{secure}"


def _forged(request: Request, session: Session) -> str | None:
    """Why this change may not be the user's own wish; None: it is."""
    headers = request.headers
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return "this request came from another site"
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        return "this request came from another origin"
    user: User | None = request.state.user
    if user is not None and user.via == "token":
        return None  # a browser never adds that by itself
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" and COOKIE not in headers.get("cookie", ""):
        return None  # no form makes that, and a script of another origin has to ask first, which is not answered
    given = headers.get("x-csrf-token") or (form_of(request).get("csrf", [""])[-1] if kind == _FORM else "")
    if not hmac.compare_digest(given.encode(), session.token.encode()):
        return "the form is too old: reload the page and try again"
    return None


def form_of(request: Request) -> dict[str, list[str]]:
    """The fields of a form. Empty for what is none."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return {}
    text = request.state.body.decode("utf-8", "replace")
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=2000)
    except ValueError:
        return {}


def is_local(request: Request) -> bool:
    """Whether a request comes from this machine, under a name that only this machine has, and through no proxy.

    The name counts because of DNS rebinding: a page from elsewhere may have made its own name lead here.
    """
    if any(name in request.headers for name in ("x-forwarded-for", "x-forwarded-host", "forwarded", "x-real-ip")):
        return False
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    return _is_loopback(request.client.host if request.client else "") and (host == "localhost" or _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _inner_path(request: Request) -> str:
    """The path below the place where the dashboard is mounted."""
    root = request.scope.get("root_path", "")
    path: str = request.scope["path"]
    return path[len(root) :] if root and path.startswith(root) else path


async def _body(receive: Receive, headers: Headers) -> bytes | None:
    """The whole body; None if it is too long."""
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MOST_BODY:
        return None
    parts: list[bytes] = []
    size = 0
    more = length != "0" or "transfer-encoding" in headers
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BODY:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Hand the body out once, then what else comes (the end of the connection)."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
