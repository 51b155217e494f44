"""Logging in at a provider: a real exchange with a small provider of our own, and everything that it may get wrong."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from talo.web import Access, Dashboard
from talo.web.access import Oidc
from tests.web.support import Client, shop

KEY = RSAKey.generate_key(2048, {"kid": "k1"})


class Provider(ThreadingHTTPServer):
    """An OpenID provider that says what a test wants. Its codes are PKCE challenges, so they are checked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.issuer = f"http://127.0.0.1:{self.server_port}"
        self.claims: dict[str, Any] = {"email": "me@example.com", "email_verified": True}
        self.nonce: str | None = None
        self.key = KEY


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        issuer = self.server.issuer
        if self.path == "/.well-known/openid-configuration":
            self._answer(
                200,
                {
                    "issuer": issuer,
                    "authorization_endpoint": f"{issuer}/authorize",
                    "token_endpoint": f"{issuer}/token",
                    "jwks_uri": f"{issuer}/keys",
                    "id_token_signing_alg_values_supported": ["RS256"],
                },
            )
        else:
            self._answer(200, {"keys": [KEY.as_dict(private=False)]})

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        form = {name: values[0] for name, values in parse_qs(self.rfile.read(length).decode()).items()}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != form["code"]:
            self._answer(400, {"error": "invalid_grant"})
            return
        now = int(time.time())
        claims = {"iss": self.server.issuer, "aud": "talo", "sub": "1", "iat": now, "exp": now + 60}
        token = jwt.encode(
            {"alg": "RS256", "kid": "k1"},
            {**claims, "nonce": self.server.nonce, **self.server.claims},
            self.server.key,
        )
        self._answer(200, {"access_token": "a", "token_type": "Bearer", "id_token": token})

    def _answer(self, status: int, facts: Any) -> None:
        body = json.dumps(facts).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def log_in(provider: Provider, **tricks: Any) -> tuple[int, int, str]:
    """(status of the way back, of a page then, the role there)."""
    oidc = Oidc(
        issuer=provider.issuer,
        client_id="talo",
        allowed=["me@example.com", "@team.test"],
        roles={"me@example.com": "admin"},
    )
    dashboard = Dashboard(shop("memory://"), access=Access(oidc=oidc))

    async def ask() -> tuple[int, int, str]:
        async with Client(dashboard, base="https://tasks.example.com") as client:
            leave = await client.get("/login/oidc", params={"next": "/queues"})
            assert leave.status_code == 303, leave.text
            asked = {name: values[0] for name, values in parse_qs(urlsplit(leave.headers["location"]).query).items()}
            assert asked["redirect_uri"] == "https://tasks.example.com/login/oidc/callback"
            assert asked["code_challenge_method"] == "S256"
            provider.nonce = tricks.get("nonce", asked["nonce"])
            state = tricks.get("state", asked["state"])
            code = tricks.get("code", asked["code_challenge"])
            if tricks.get("other_browser"):
                client.cookies.clear()
            back = await client.get("/login/oidc/callback", params={"state": state, "code": code})
            page = await client.page("/queues")
            again = await client.get("/login/oidc/callback", params={"state": state, "code": code})
            assert again.status_code == 403, "a code is taken once"
            role = next((role for role in ("admin", "viewer") if f"({role})" in page.text), "")
            return back.status_code, page.status_code, role

    return asyncio.run(ask())


def test_a_verified_address_comes_in_with_its_role(provider: Provider) -> None:
    assert log_in(provider) == (303, 200, "admin")
    provider.claims["email"] = "You@Team.test"
    assert log_in(provider) == (303, 200, "viewer")


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "me@example.com.attacker.test"},
        {"email": "me@example.com", "email_verified": False},
        {"email": "me@example.com", "email_verified": "false"},
        {"email": "you@sub.team.test"},
        {"email": None},
        {"email": ["me@example.com"]},
        {"iss": "https://attacker.test"},
        {"aud": "other"},
        {"exp": 1},
    ],
    ids=str,
)
def test_others_stay_outside(provider: Provider, claims: dict[str, Any]) -> None:
    provider.claims |= claims
    assert log_in(provider)[:2] == (403, 401)


@pytest.mark.parametrize(
    "trick",
    [{"state": "x"}, {"nonce": "x"}, {"code": "x"}, {"other_browser": True}],
    ids=lambda trick: next(iter(trick)),
)
def test_an_exchange_that_is_not_ours_is_refused(provider: Provider, trick: dict[str, Any]) -> None:
    assert log_in(provider, **trick)[:2] == (403, 401)


def test_a_token_signed_by_another_is_refused(provider: Provider) -> None:
    provider.key = RSAKey.generate_key(2048, {"kid": "k1"})
    assert log_in(provider)[:2] == (403, 401)


def test_a_provider_that_is_away_is_told() -> None:
    oidc = Oidc(issuer="http://127.0.0.1:9", client_id="talo", allowed=["@team.test"])
    dashboard = Dashboard(shop("memory://"), access=Access(oidc=oidc))

    async def ask() -> int:
        async with Client(dashboard) as client:
            return (await client.get("/login/oidc")).status_code

    assert asyncio.run(ask()) == 503
