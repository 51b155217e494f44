"""The dashboard inside applications: FastAPI and Starlette, Flask, Django under WSGI and ASGI."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask
from starlette.middleware.sessions import SessionMiddleware
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from talo.web import Dashboard, Role, User
from talo.web.wsgi import wsgi
from tests.web.support import Client, access_of, shop
from tests.workers import ROOT


def token_of(text: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', text)
    assert found is not None
    return found[1]


@pytest.mark.promise("J07")
def test_in_fastapi_it_lives_below_its_path_and_keeps_to_itself() -> None:
    # Given an application with sessions of its own
    dashboard = Dashboard(shop("memory://"), access=access_of(anna="admin"))
    site = FastAPI()
    site.add_middleware(SessionMiddleware, secret_key="x" * 32)
    site.mount("/talo", dashboard)

    async def ask() -> Any:
        async with Client(site, base="http://tasks.example.com") as client:
            nobody = await client.page("/talo/queues")
            fields = {"name": "anna", "password": "anna-secret", "csrf": token_of(nobody.text), "next": "/talo/queues"}
            entered = await client.post("/talo/login", data=fields)
            queues = await client.page("/talo/queues")
            style = re.search(r'href="(/talo/static/talo.css[^"]*)"', queues.text)
            assert style is not None
            kept = (await client.get(style[1])).headers["cache-control"]
            form = {"csrf": token_of(queues.text), "queue": "celery", "next": "/talo/queues"}
            paused = await client.post("/talo/api/queues/pause", data=form)
            return nobody, entered, queues, kept, paused

    nobody, entered, queues, kept, paused = asyncio.run(ask())
    assert nobody.status_code == 401
    assert (entered.status_code, entered.headers["location"]) == (303, "/talo/queues")
    # Then its cookie is for its own path, and the application's session was not touched
    [cookie] = entered.headers.get_list("set-cookie")
    assert cookie.startswith("talo_dashboard=") and "Path=/talo;" in cookie
    assert queues.status_code == 200 and 'href="/talo/runs"' in queues.text
    assert "immutable" in kept
    assert (paused.status_code, paused.headers["location"]) == (303, "/talo/queues")
    assert dashboard.app.control.paused() == (["celery"], [])


@pytest.mark.promise("J07")
def test_in_flask_the_application_says_who_it_is() -> None:
    dashboard = Dashboard(shop("memory://"))
    site = Flask("site")

    def user(environ: dict[str, Any]) -> User | None:
        name = environ.get("HTTP_X_TEST_USER")
        return User(name=name, role=Role.ADMIN, via="flask") if name else None

    site.wsgi_app = DispatcherMiddleware(site.wsgi_app, {"/talo": wsgi(dashboard, user)})  # type: ignore[method-assign]
    client = site.test_client()
    base: Any = {"base_url": "http://tasks.example.com"}
    assert client.get("/talo/queues", **base).status_code == 403
    headers = {"X-Test-User": "anna", "Accept": "text/html"}
    page = client.get("/talo/queues", headers=headers, **base)
    assert page.status_code == 200
    assert 'data-live="no"' in page.text and 'href="/talo/runs"' in page.text
    assert client.get("/talo/live", headers=headers, **base).status_code == 503
    form = {"csrf": token_of(page.text), "queue": "mail", "next": "/talo/queues"}
    assert client.post("/talo/api/queues/pause", data=form, headers=headers, **base).status_code == 303
    assert client.post("/talo/api/queues/pause", data={"queue": "x"}, headers=headers, **base).status_code == 403
    assert dashboard.app.control.paused() == (["mail"], [])


DJANGO = """
import asyncio, re, sys
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="k" * 50, ALLOWED_HOSTS=["*"], ROOT_URLCONF="__main__", USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware"],
    LOGIN_URL="/enter/",
)
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import AsyncClient, Client
from django.urls import include, path
from talo import Talo
from talo.web import Dashboard
from talo.web.django import urls

app = Talo("shop", broker="memory://", set_as_current=False)
urlpatterns = [path("ops/talo/", include(urls(Dashboard(app))))]
call_command("migrate", verbosity=0)
boss = User.objects.create_superuser("boss"); staff = User.objects.create_user("staff", is_staff=True)
guest = User.objects.create_user("guest")

def client_of(user, kind=Client):
    client = kind(enforce_csrf_checks=True)
    client.force_login(user)
    return client

answer = Client().get("/ops/talo/queues")
assert (answer.status_code, answer["location"]) == (302, "/enter/?next=/ops/talo/queues"), answer
assert client_of(guest).get("/ops/talo/queues").status_code == 403
boss_client = client_of(boss)
page = boss_client.get("/ops/talo/queues", headers={"accept": "text/html"})
assert page.status_code == 200 and b'href="/ops/talo/runs"' in page.content, page.content
assert page["content-security-policy"].startswith("default-src")
token = re.search(rb'name="csrf" value="([^"]+)"', page.content)[1].decode()
form = {"csrf": token, "queue": "mail", "confirm": "mail", "next": "/ops/talo/queues"}
url = "/ops/talo/api/queues/purge"
kind = "application/x-www-form-urlencoded"
from urllib.parse import urlencode
done = boss_client.post(url, urlencode(form), content_type=kind)
assert (done.status_code, done.get("location")) == (303, "/ops/talo/queues"), done.content
forged = boss_client.post(url, urlencode({**form, "csrf": "x"}), content_type=kind)
assert forged.status_code == 403
staff_client = client_of(staff)
staff_page = staff_client.get("/ops/talo/queues", headers={"accept": "text/html"})
token = re.search(rb'name="csrf" value="([^"]+)"', staff_page.content)[1].decode()
refused = staff_client.post(url, urlencode({**form, "csrf": token}), content_type=kind)
assert refused.status_code == 403 and b"takes the role admin" in refused.content

async def asgi():
    client = AsyncClient()
    await client.aforce_login(boss)
    return (await client.get("/ops/talo/api/queues")).status_code

assert asyncio.run(asgi()) == 200
print("all is well")
"""


@pytest.mark.promise("J07")
def test_in_django_it_is_for_staff(tmp_path: Path) -> None:
    script = tmp_path / "site.py"
    script.write_text(DJANGO)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "db.sqlite3")],
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.endswith("all is well\n"), done.stderr
