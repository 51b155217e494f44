"""Who may come in and do what: the whole route table is walked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from starlette.routing import Mount, Route

from talo.errors import ImproperlyConfigured
from talo.web import Access, Dashboard
from talo.web.access import Oidc, Proxy, allowed
from talo.web.guard import OPEN
from talo.web.operation import Operation
from talo.web.operations import TABLE
from talo.web.user import Role
from tests.web.support import Client, access_of, dead, shop

T = TypeVar("T")


def run(awaitable: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(awaitable)


@pytest.fixture(scope="module")
def access() -> Access:
    return access_of(vera="viewer", otto="operator", anna="admin")


@pytest.fixture
def dashboard(access: Access, tmp_path: Path) -> Dashboard:
    return Dashboard(shop("memory://"), access=access, audit=tmp_path / "audit.jsonl")


def routes(dashboard: Dashboard) -> list[tuple[str, str]]:
    """(method, path) of everything but the static files."""
    found = []
    for route in dashboard.routes:
        if isinstance(route, Mount):
            assert route.path == "/static"
            continue
        assert isinstance(route, Route) and route.methods
        found += [(method, route.path) for method in route.methods]
    return found


BEARER = {"authorization": "Bearer anna-token"}


@pytest.mark.promise("X04")
def test_an_anonymous_request_gets_401_on_every_route(dashboard: Dashboard) -> None:
    async def ask() -> list[tuple[str, str, int]]:
        async with Client(dashboard, peer="203.0.113.7", base="https://tasks.example.com") as client:
            return [
                (method, path, (await client.request(method, path, headers={"accept": accept})).status_code)
                for method, path in [*routes(dashboard), ("GET", "/nothing/here"), ("DELETE", "/api/runs")]
                for accept in ("text/html", "application/json")
            ]

    answers = run(ask())
    # The routes by which one comes in refuse otherwise; nothing but 401 from any other
    assert len(answers) > 110
    assert {path for _, path, status in answers if status != 401} <= set(OPEN)
    assert all(status in (401, 403, 404) for _, path, status in answers if path in OPEN)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer "},
        {"authorization": "Basic YW5uYTphbm5hLXNlY3JldA=="},
        {"cookie": "talo_dashboard=eyJ1c2VyIjoiYW5uYSJ9.forged"},
        {"x-forwarded-user": "anna"},
        {"x-forwarded-for": "127.0.0.1", "host": "127.0.0.1"},
    ],
)
def test_a_forged_name_is_nobody(dashboard: Dashboard, headers: dict[str, str]) -> None:
    async def ask() -> int:
        async with Client(dashboard) as client:
            return (await client.get("/api/overview", headers=headers)).status_code

    assert run(ask()) == 401


@pytest.mark.parametrize("operation", TABLE, ids=lambda operation: operation.name)
def test_each_operation_takes_its_role(dashboard: Dashboard, operation: Operation) -> None:
    # Given users of each role; when they call it (with arguments that make no sense, where it needs any)
    async def ask(name: str) -> int:
        async with Client(dashboard) as client:
            headers = {"authorization": f"Bearer {name}-token", "content-type": "application/json"}
            return (await client.request(operation.method, f"/api{operation.path}", headers=headers)).status_code

    answers = {role: run(ask(name)) for name, role in (("vera", 1), ("otto", 2), ("anna", 3))}
    # Then those below its role are refused, or never got so far as to do anything
    for role, status in answers.items():
        assert (status in (200, 404, 409, 422)) if role >= operation.role else status in (403, 422), answers


def test_a_viewer_changes_nothing_and_the_attempt_is_kept(dashboard: Dashboard) -> None:
    async def ask() -> tuple[int, Any]:
        async with Client(dashboard) as client:
            answer = await client.post(
                "/api/queues/pause", json={"queue": "celery"}, headers={"authorization": "Bearer vera-token"}
            )
            return answer.status_code, (await client.get("/api/audit", headers=BEARER)).json()["entries"]

    status, entries = run(ask())
    assert status == 403
    assert dashboard.app.control.paused() == ([], [])
    assert [(each["user"], each["action"], each["outcome"]) for each in entries] == [("vera", "queue_pause", "refused")]


class TestForgery:
    async def _logged_in(self, client: Client) -> str:
        assert (await client.log_in("anna", "anna-secret")).status_code == 303
        return await client.token()

    @pytest.mark.parametrize(
        ("headers", "with_token"),
        [
            ({"origin": "https://evil.test"}, True),
            ({"origin": "null"}, True),
            ({"sec-fetch-site": "cross-site"}, True),
            ({"sec-fetch-site": "same-site"}, True),
            ({}, False),
        ],
    )
    @pytest.mark.promise("X04")
    def test_a_change_from_another_site_is_refused(
        self, dashboard: Dashboard, headers: dict[str, str], with_token: bool
    ) -> None:
        async def ask() -> list[int]:
            async with Client(dashboard) as client:
                token = await self._logged_in(client)
                fields = {"queue": "celery", **({"csrf": token} if with_token else {})}
                form = await client.post("/api/queues/pause", data=fields, headers=headers)
                body = await client.post("/api/queues/pause", json={"queue": "celery"}, headers=headers)
                out = await client.post("/logout", data={"csrf": token} if with_token else {}, headers=headers)
                return [form.status_code, body.status_code, out.status_code]

        assert run(ask()) == [403, 403, 403]
        assert dashboard.app.control.paused() == ([], [])

    def test_the_form_of_a_page_is_refused_by_a_page(self, dashboard: Dashboard) -> None:
        async def ask() -> tuple[httpx.Response, httpx.Response]:
            async with Client(dashboard) as client:
                await self._logged_in(client)
                headers = {"accept": "text/html", "origin": "http://127.0.0.1:5555"}
                fields = {"queue": "celery", "csrf": "forged"}
                old = await client.post("/api/queues/pause", data=fields, headers=headers)
                client.cookies.clear()
                return old, await client.post("/api/queues/pause", data=fields, headers=headers)

        # When a form is too old, then a page says so
        old, out = run(ask())
        assert (old.status_code, old.headers["content-type"]) == (403, "text/html; charset=utf-8")
        assert "the form is too old" in old.text
        # And when the session is over there is the login, which leads to a page
        assert out.status_code == 401
        assert 'name="next" value="/"' in out.text
        assert dashboard.app.control.paused() == ([], [])

    def test_ours_is_done(self, dashboard: Dashboard) -> None:
        async def ask() -> tuple[int, str | None, int]:
            async with Client(dashboard) as client:
                token = await self._logged_in(client)
                headers = {"origin": "http://127.0.0.1:5555", "sec-fetch-site": "same-origin"}
                fields = {"queue": "celery", "csrf": token, "next": "/queues"}
                form = await client.post("/api/queues/pause", data=fields, headers=headers)
                body = await client.post(
                    "/api/queues/pause", json={"queue": "mail"}, headers={**headers, "x-csrf-token": token}
                )
                return form.status_code, form.headers.get("location"), body.status_code

        assert run(ask()) == (303, "/queues", 200)
        assert dashboard.app.control.paused() == (["celery", "mail"], [])

    @pytest.mark.parametrize(
        "to", ["https://evil.test", "//evil.test", "/\\evil.test", "javascript:alert(1)", "/a\r\nb"]
    )
    def test_the_way_back_leads_nowhere_else(self, dashboard: Dashboard, to: str) -> None:
        async def ask() -> str:
            async with Client(dashboard) as client:
                fields = {"csrf": await self._logged_in(client), "queue": "celery", "next": to}
                return (await client.post("/api/queues/pause", data=fields)).headers["location"]

        assert run(ask()) == "/"


class TestSession:
    def test_it_is_signed_hidden_from_scripts_and_ends(self, dashboard: Dashboard) -> None:
        async def ask() -> tuple[list[str], int, int]:
            async with Client(dashboard, base="https://tasks.example.com") as client:
                answer = await client.log_in("anna", "anna-secret")
                cookie = dict(client.cookies)
                inside = (await client.page("/")).status_code
                await client.post("/logout", data={"csrf": await client.token()})
            async with Client(dashboard, base="https://tasks.example.com", cookies=cookie) as thief:
                return answer.headers.get_list("set-cookie"), inside, (await thief.page("/")).status_code

        [cookie], inside, after = run(ask())
        assert all(flag in cookie for flag in ("HttpOnly", "SameSite=Lax", "Secure", "Path=/"))
        assert (inside, after) == (200, 401)

    def test_it_ends_by_itself(self, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
        async def ask() -> tuple[int, int]:
            async with Client(dashboard) as client:
                await client.log_in("anna", "anna-secret")
                before = (await client.page("/")).status_code
                monkeypatch.setattr("talo.web.session.LASTS", 0.0)
                monkeypatch.setattr("talo.web.session.time.time", lambda: 4e9)
                return before, (await client.page("/")).status_code

        assert run(ask()) == (200, 401)

    def test_a_user_who_is_removed_is_out(self, dashboard: Dashboard) -> None:
        access = access_of(bob="admin")
        dashboard = Dashboard(shop("memory://"), access=access)

        async def ask() -> tuple[int, int]:
            async with Client(dashboard) as client:
                await client.log_in("bob", "bob-secret")
                before = (await client.page("/")).status_code
                del access.users["bob"]
                return before, (await client.page("/")).status_code

        assert run(ask()) == (200, 401)

    def test_guessing_has_to_wait(self, dashboard: Dashboard) -> None:
        async def ask() -> list[int]:
            async with Client(dashboard) as client:
                wrong = [(await client.log_in("anna", f"guess-{n}")).status_code for n in range(6)]
                return [*wrong, (await client.log_in("anna", "anna-secret")).status_code]

        assert run(ask()) == [401] * 5 + [429] * 2


class TestOpen:
    """Without access it is this machine's alone."""

    @pytest.fixture
    def open_dashboard(self) -> Dashboard:
        return Dashboard(shop("memory://"))

    @pytest.mark.parametrize(
        ("peer", "base", "headers", "status"),
        [
            ("127.0.0.1", "http://127.0.0.1:5555", {}, 200),
            ("::1", "http://localhost:5555", {}, 200),
            ("203.0.113.7", "http://127.0.0.1:5555", {}, 403),
            ("127.0.0.1", "http://rebound.evil.test:5555", {}, 403),
            ("127.0.0.1", "http://127.0.0.1.evil.test", {}, 403),
            ("127.0.0.1", "http://127.0.0.1:5555", {"x-forwarded-for": "203.0.113.7"}, 403),
        ],
    )
    def test_it_answers_on_this_machine_only(
        self, open_dashboard: Dashboard, peer: str, base: str, headers: dict[str, str], status: int
    ) -> None:
        async def ask() -> int:
            async with Client(open_dashboard, peer=peer, base=base) as client:
                return (await client.get("/api/overview", headers=headers)).status_code

        assert run(ask()) == status

    def test_json_without_a_cookie_needs_no_token(self, open_dashboard: Dashboard) -> None:
        async def ask() -> list[int]:
            async with Client(open_dashboard) as client:
                body = json.dumps({"queue": "celery"})
                return [
                    (await client.post("/api/queues/pause", content=body, headers=headers)).status_code
                    for headers in (
                        {"content-type": "application/json"},
                        {"content-type": "text/plain"},
                        {"content-type": "application/json", "origin": "https://evil.test"},
                    )
                ]

        assert run(ask()) == [200, 403, 403]


@pytest.mark.parametrize(
    ("email", "passes"),
    [
        ("me@example.com", True),
        ("ME@Example.COM", True),
        ("you@team.test", True),
        ("me@example.com.attacker.test", False),
        ("me@example.com@attacker.test", False),
        ("xme@example.com", False),
        ("me@example.comx", False),
        ("you@sub.team.test", False),
        ("you@evilteam.test", False),
        ("@team.test", False),
        ("me@example.com ", False),
        ("me@example.com\n", False),
        ("", False),
        ("team.test", False),
    ],
)
@pytest.mark.promise("X04")
def test_addresses_are_compared_whole(email: str, passes: bool) -> None:
    assert allowed(email, ["me@example.com", "@team.test"]) is passes


def test_a_proxy_counts_only_from_where_it_is() -> None:
    proxy = Proxy(header="x-user", trusted=["10.0.0.0/8"], roles={"anna": "admin"})
    dashboard = Dashboard(shop("memory://"), access=Access(proxy=proxy))

    async def ask(peer: str, *headers: tuple[str, str]) -> int:
        async with Client(dashboard, peer=peer, base="http://tasks.example.com") as client:
            return (await client.get("/api/overview", headers=list(headers))).status_code

    assert run(ask("10.1.2.3", ("x-user", "anna"))) == 200
    assert run(ask("203.0.113.7", ("x-user", "anna"))) == 401
    assert run(ask("10.1.2.3", ("x-user", "mallory"))) == 401
    # Two names: one of them is not the proxy's
    assert run(ask("10.1.2.3", ("x-user", "anna"), ("x-user", "mallory"))) == 401


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "lets nobody in"),
        ("[users.a]\npassword = 'plain'", "no scrypt hash"),
        ("[users.a]\nrole = 'king'\npassword = 'plain'", "no scrypt hash"),
        ("[tokens.a]\nhash = 'abc'", "its hash is none"),
        ("[proxy]\nheader = 'x'\ntrusted = []", "trusted is empty"),
        ("[proxy]\nheader = 'x'\ntrusted = ['here']", "proxy.trusted"),
        ("[oidc]\nissuer='https://id'\nclient_id='t'\nallowed=['example.com']", "neither an address nor a domain"),
        ("[oidc]\nissuer='http://id'\nclient_id='t'\nallowed=['@example.com']", "no https:// address"),
        ("[user.a]\n", "unknown field"),
        ("nonsense", "no access file"),
    ],
)
def test_an_access_file_that_cannot_work_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "access.toml"
    path.write_text(text)
    with pytest.raises(ImproperlyConfigured, match=says):
        Access.read(path)


def test_secrets_stay_out_of_sight(access: Access) -> None:
    oidc = Oidc(issuer="https://id.example.com", client_id="talo", allowed=["@example.com"])
    assert "scrypt" not in repr(access)
    assert "id.example.com" not in repr(Access(oidc=oidc))


def test_every_answer_carries_the_headers(dashboard: Dashboard) -> None:
    async def ask() -> list[dict[str, str]]:
        async with Client(dashboard) as client:
            paths = ("/", "/api/overview", "/login", "/static/talo.css", "/nothing")
            return [dict((await client.get(path, headers=BEARER)).headers) for path in paths]

    for headers in run(ask()):
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self'") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("size", [2_000_000])
def test_a_body_is_bounded(dashboard: Dashboard, size: int) -> None:
    async def ask() -> list[int]:
        async def pieces() -> Any:
            for _ in range(size // 100_000):
                yield b"x" * 100_000

        async with Client(dashboard) as client:
            told = await client.post("/api/queues/pause", content=b"x" * size, headers=BEARER)
            untold = await client.post("/api/queues/pause", content=pieces(), headers=BEARER)
            return [told.status_code, untold.status_code]

    assert run(ask()) == [413, 413]


def test_an_action_that_cannot_be_logged_is_not_done(access: Access, tmp_path: Path) -> None:
    dashboard = Dashboard(shop("memory://"), access=access, audit=tmp_path / "missing" / "audit.jsonl")

    async def ask() -> Any:
        async with Client(dashboard) as client:
            return await client.post("/api/queues/pause", json={"queue": "celery"}, headers=BEARER)

    answer = run(ask())
    assert answer.status_code == 503 and "nothing is done" in answer.json()["detail"]
    assert dashboard.app.control.paused() == ([], [])


def test_the_audit_log_tells_who_did_what_and_hides_arguments(dashboard: Dashboard, tmp_path: Path) -> None:
    [task_id] = dead(dashboard.app)

    async def ask() -> int:
        async with Client(dashboard) as client:
            body = {"id": task_id, "args": '["hush", 2]'}
            return (await client.post("/api/dead/edit", json=body, headers=BEARER)).status_code

    assert run(ask()) == 200
    path = tmp_path / "audit.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(each["user"], each["action"], each["outcome"]) for each in lines] == [
        ("anna", "dead_edit", "begun"),
        ("anna", "dead_edit", "done"),
    ]
    assert lines[0]["arguments"] == {"id": task_id, "args": "**"}
    assert "hush" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


HOSTILE = '"><script>alert(1)</script>{{7*7}}<img src=x onerror=alert(1)>\u202e' + "x" * 3000


def test_hostile_names_are_escaped_in_every_page(dashboard: Dashboard) -> None:
    # Given names, ids, arguments, errors and queues of somebody who means harm
    app = dashboard.app
    app.send_task(HOSTILE, (HOSTILE,), queue=HOSTILE[:200], task_id=HOSTILE[:200])
    app.send_task(HOSTILE, (HOSTILE,), queue=HOSTILE[:200], countdown=100)
    dead(app, name=HOSTILE, args=(HOSTILE,))
    from tests.web.support import ended

    ended(
        app, 2, name=HOSTILE, id=HOSTILE, worker=HOSTILE, queue=HOSTILE, error=HOSTILE, traceback=HOSTILE,
        state="FAILURE", fingerprint=HOSTILE, args=HOSTILE, kwargs=HOSTILE, root=HOSTILE, parent=HOSTILE,
        group=HOSTILE,
    )  # fmt: skip
    dashboard.desk.schedules.add(HOSTILE[:300], HOSTILE, 30.0, args=[HOSTILE])
    app.control.pause(HOSTILE[:200], tasks=[HOSTILE])
    params = {
        "/run": {"id": HOSTILE}, "/explain": {"id": HOSTILE[:200]}, "/queue": {"queue": HOSTILE[:200]},
        "/schedule": {"name": HOSTILE[:300]}, "/workflow": {"id": HOSTILE}, "/runs/bulk": {"action": "forget"},
        "/runs": {"name": HOSTILE},
    }  # fmt: skip

    async def ask() -> dict[str, str]:
        async with Client(dashboard, headers={**BEARER, "accept": "text/html"}) as client:
            letter = (await client.get("/api/dead")).json()["letters"][0]["id"]
            params["/dead/letter"] = {"id": letter}
            found = {}
            for _, path in routes(dashboard):
                if not path.startswith(("/api", "/live", "/log")):
                    answer = await client.get(path, params=params.get(path))
                    assert answer.status_code == 200, (path, answer.status_code)
                    found[path] = answer.text
            for state in ("waiting", "delayed", "FAILURE"):
                found[state] = (await client.get("/runs", params={"state": state})).text
            return found

    pages = run(ask())
    assert len(pages) >= 20
    for path, text in pages.items():
        assert "<script>alert" not in text and "<img src=x" not in text and "49<img" not in text, path
    assert all("&lt;script&gt;" in pages[path] for path in ("/run", "/dead", "/schedules", "/queues", "waiting"))


def test_roles_are_ordered() -> None:
    assert Role.VIEWER < Role.OPERATOR < Role.ADMIN
