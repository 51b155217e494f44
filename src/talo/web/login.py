"""Logging in with a password, and logging out.

Owns the two routes and the bound on guessing. Who may come in is ``access``'s, providers are ``oidc``'s."""

from __future__ import annotations

import secrets
import threading
import time

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from talo.web import audit
from talo.web.access import Access
from talo.web.answering import login_values, page, redirect, refusal, wants_page
from talo.web.guard import form_of
from talo.web.session import Sessions
from talo.web.throttle import Throttle
from talo.web.user import User

__all__ = ["Login", "begin_session"]

#: Longest name and password that are looked at: hashing more helps nobody.
_LONGEST = 1024
#: Passwords that are checked at a time, and seconds to wait for one's turn.
_AT_ONCE, _PATIENCE = 4, 3.0


class Login:
    """The routes of one dashboard."""

    def __init__(self, access: Access, sessions: Sessions, log: audit.Audit) -> None:
        self._access = access
        self._sessions = sessions
        self._audit = log
        # By name and address, so that nobody can lock a user out from elsewhere; and by address, whatever the name.
        self._by_name, self._by_address = Throttle(5), Throttle(50)
        self._hashing = threading.BoundedSemaphore(_AT_ONCE)

    async def show(self, request: Request) -> Response:
        """``GET /login``: the form."""
        if request.state.user is not None:
            return redirect(request, request.query_params.get("next"))
        return page(request, "login.html", 401, title="Log in", **self._values(request, None))

    async def enter(self, request: Request) -> Response:
        """``POST /login``: check name and password."""
        form = form_of(request)
        name, password, to = (form.get(field, [""])[-1] for field in ("name", "password", "next"))
        address = request.client.host if request.client else ""
        who, now = f"{name[:_LONGEST]} {address}", time.monotonic()
        wait = max(self._by_name.wait(who, now), self._by_address.wait(address, now))
        if wait:
            return self._again(request, 429, f"too many tries: wait {wait:.0f} seconds", to)
        try:
            user = await run_in_threadpool(self._checked, name, password)
        except TimeoutError:
            return self._again(request, 429, "too many log in at this moment: try again", to)
        if user is None:
            self._by_name.failed(who, now)
            self._by_address.failed(address, now)
            self._audit.write(entry_of(request, name[:200], "", "password", "login", "refused"))
            return self._again(request, 401, "there is no such user, or the password is another", to)
        self._by_name.succeeded(who)
        begin_session(request, self._sessions, self._audit, user)
        return redirect(request, to)

    async def leave(self, request: Request) -> Response:
        """``POST /logout``: end the session, wherever its cookie was copied to."""
        session = request.state.session
        self._sessions.end(session)
        fresh = self._sessions.new()
        session.id, session.token, session.began = fresh.id, fresh.token, fresh.began
        session.user = session.via = None
        session.changed = True
        return redirect(request, None)

    def _checked(self, name: str, password: str) -> User | None:
        """Who has this password. ``TimeoutError`` while others are being checked: each takes 64 MiB."""
        if len(name) > _LONGEST or len(password) > _LONGEST:
            return None
        if not self._hashing.acquire(timeout=_PATIENCE):
            raise TimeoutError
        try:
            return self._access.by_password(name, password)
        finally:
            self._hashing.release()

    def _again(self, request: Request, status: int, fault: str, to: str) -> Response:
        if not wants_page(request):
            return refusal(request, status, fault)
        values = {**self._values(request, fault), "next": to}
        return page(request, "login.html", status, title="Log in", **values)

    @staticmethod
    def _values(request: Request, fault: str | None) -> dict[str, object]:
        values = login_values(request, fault)
        return {**values, "next": request.query_params.get("next", "")}


def begin_session(request: Request, sessions: Sessions, log: audit.Audit, user: User) -> None:
    """Let a user in, under a new id and token: whoever knew those of before knows nothing."""
    log.write(entry_of(request, user.name, str(user.role), user.via, "login", "done"))
    session = request.state.session
    fresh = sessions.new()
    session.id, session.token, session.began = fresh.id, fresh.token, fresh.began
    session.user, session.via, session.pending = user.name, user.via, {}
    session.changed = True


def entry_of(request: Request, user: str, role: str, via: str, action: str, outcome: str) -> audit.Entry:
    """An entry of the audit log about who comes in."""
    return audit.Entry(
        at=audit.now(),
        id=secrets.token_hex(8),
        user=user,
        role=role,
        via=via,
        address=request.client.host if request.client else "",
        action=action,
        outcome=outcome,
    )
