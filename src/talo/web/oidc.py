"""Logging in at an OAuth/OIDC provider: authorization code with PKCE, state and nonce.

Owns the two routes; the protocol is Authlib's (extra ``oidc``), whom an address lets in is ``access``'s. OpenID Connect
Core 1.0 §3.1; RFC 7636."""

from __future__ import annotations

import logging
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from talo.util.optional import load
from talo.web import audit
from talo.web.access import Access
from talo.web.answering import redirect, refusal
from talo.web.login import begin_session, entry_of
from talo.web.session import Sessions

__all__ = ["Provider"]

log = logging.getLogger(__name__)


class Provider:
    """The routes to and from the provider of one dashboard."""

    def __init__(self, access: Access, sessions: Sessions, keeper: audit.Audit) -> None:
        """``MissingExtra`` if there is a provider and Authlib is not installed."""
        self._access = access
        self._sessions = sessions
        self._audit = keeper
        self._client: Any = None
        self._faults: tuple[type[Exception], ...] = ()
        if access.oidc is None:
            return
        client = load("authlib.integrations.starlette_client", "Authlib", "oidc")
        errors = load("authlib.common.errors", "Authlib", "oidc")
        jose = load("joserfc.errors", "joserfc", "oidc")
        http = load("httpx", "httpx", "oidc")
        self._faults = (errors.AuthlibBaseError, jose.JoseError, http.HTTPError, KeyError, ValueError)
        self._client = client.OAuth().register(
            "talo",
            client_id=access.oidc.client_id,
            client_secret=access.oidc.client_secret or None,
            server_metadata_url=access.oidc.issuer.rstrip("/") + "/.well-known/openid-configuration",
            client_kwargs={"scope": "openid email", "code_challenge_method": "S256", "timeout": 10.0},
        )

    async def leave(self, request: Request) -> Response:
        """``GET /login/oidc``: go to the provider."""
        if self._client is None:
            return refusal(request, 404, "no provider is configured")
        session = request.state.session
        kept: dict[str, Any] = {}
        request.scope["session"] = kept
        back = _back(request)
        try:
            found = await self._client.create_authorization_url(back)
            await self._client.save_authorize_data(request, redirect_uri=back, **found)
        except self._faults:
            log.warning("the provider cannot be asked", exc_info=True)
            return refusal(request, 503, "the provider cannot be reached: try again, or see the dashboard's log")
        session.pending = {**kept, "next": request.query_params.get("next", "")}
        session.changed = True
        return RedirectResponse(found["url"], status_code=303)

    async def come_back(self, request: Request) -> Response:
        """``GET /login/oidc/callback``: the provider sends the browser back with a code."""
        if self._client is None:
            return refusal(request, 404, "no provider is configured")
        session = request.state.session
        pending, session.pending, session.changed = session.pending, {}, True
        to = str(pending.pop("next", ""))
        request.scope["session"] = pending
        try:
            token = await self._client.authorize_access_token(request)
            claims = token["userinfo"]
        except self._faults:
            log.info("a login at the provider failed", exc_info=True)
            return refusal(request, 403, "the provider did not confirm this login: try again")
        # An address counts only if the provider says that it has seen to it.
        email = claims.get("email") if claims.get("email_verified") is True else None
        user = self._access.by_email(email) if isinstance(email, str) else None
        if user is None:
            self._audit.write(entry_of(request, str(claims.get("email", ""))[:200], "", "oidc", "login", "refused"))
            return refusal(request, 403, "this address may not come in here: ask whoever runs this dashboard")
        begin_session(request, self._sessions, self._audit, user)
        return redirect(request, to)


def _back(request: Request) -> str:
    root = request.scope.get("root_path", "")
    return f"{request.url.scheme}://{request.headers.get('host', '')}{root}/login/oidc/callback"
