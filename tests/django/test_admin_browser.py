"""The admin's pages in a real browser, as somebody of the staff uses them; in the language that is asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from talo.app.app import Talo
from talo.control.schedules import ScheduleControl
from tests.django.site import Site
from tests.django.test_admin import SETTINGS
from tests.servers.chromium import chromium  # noqa: F401
from tests.support import eventually
from tests.web.support import dead

#: The machine may be loaded.
PATIENCE = 30_000
SERVE = """
import socketserver, wsgiref.simple_server as simple
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application
from talo.control.schedules import ScheduleControl
from talo.django.worker_app import app
User.objects.create_superuser("root", "", "x")
ScheduleControl(app).add("tidy", "orders.tasks.add", 3600, args=[1, 1])
class Server(socketserver.ThreadingMixIn, simple.WSGIServer): daemon_threads = True
class Quiet(simple.WSGIRequestHandler):
    def log_message(self, *_): pass
server = simple.make_server("127.0.0.1", 0, StaticFilesHandler(get_wsgi_application()), Server, Quiet)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Admin:
    """A project's own server, and what its store holds."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder, settings=SETTINGS)
        self.site.migrate()
        code = f"import django; django.setup()\n{SERVE}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=folder, env=self.site.env, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.address = f"http://127.0.0.1:{self.process.stdout.readline().strip()}/admin"
        self.app = Talo("shop", broker=self.site.broker, set_as_current=False)
        self.queue = self.app.conf.task_default_queue
        dead(self.app, 3, queue=self.queue)

    def waiting(self) -> list[tuple[str, str, str]]:
        """(task, arguments, keyword arguments) of what waits."""
        found = self.app.store.broker.peek(self.queue, 100)
        return [(str(each.task), each.headers["argsrepr"], each.headers["kwargsrepr"]) for each in found]

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.app.close()


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    made = Admin(tmp_path_factory.mktemp("admin"))
    yield made
    made.close()


@pytest.fixture
def page(admin: Admin, chromium: Browser) -> Iterator[Page]:  # noqa: F811
    """Somebody who has logged in to the admin, in English."""
    context = chromium.new_context(locale="en-GB")
    yield _logged_in(admin, context.new_page())
    context.close()


def _logged_in(admin: Admin, page: Page) -> Page:
    page.set_default_timeout(PATIENCE)
    page.goto(f"{admin.address}/")
    page.fill("#id_username", "root")
    page.fill("#id_password", "x")
    page.click("input[type=submit]")
    return page


def _act(page: Page, label: str, *keys: str) -> None:
    for key in keys:
        page.check(f'input[name=key][value="{key}"]')
    page.select_option("select[name=action]", label=label)
    page.get_by_role("button", name="Go").click()


def _says(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.locator("ul.messagelist")).to_contain_text(text, timeout=PATIENCE)


@pytest.mark.promise("J07")
def test_dead_letters_are_replayed_edited_and_deleted(admin: Admin, page: Page) -> None:
    page.goto(f"{admin.address}/talo_django/deadletter/")
    keys = [each.get_attribute("value") or "" for each in page.locator("input[name=key]").all()]
    assert len(keys) == 3
    # One is replayed as it is, one with other arguments, one is dropped
    _act(page, "Replay", keys[0])
    _says(page, "1 dead letter replayed")
    page.locator("tr", has=page.locator(f'input[value="{keys[1]}"]')).get_by_role("link", name="Edit").click()
    assert page.input_value("#id_args") != ""
    page.fill("#id_args", "[1")
    page.get_by_role("button", name="Edit and replay").click()
    expect(page.locator(".errorlist")).to_be_visible(timeout=PATIENCE)
    page.fill("#id_args", "[40, 2]")
    page.get_by_role("button", name="Edit and replay").click()
    _says(page, "Replayed as")
    _act(page, "Delete", keys[2])
    _says(page, "1 dead letter deleted")
    expect(page.locator("#result_list")).to_contain_text("There is nothing here.")
    assert admin.app.store.broker.dead() == []
    arguments = [args for _, args, _ in admin.waiting()]
    assert len(arguments) == 2 and "(40, 2)" in arguments


@pytest.mark.promise("J07")
def test_a_schedule_is_added_edited_run_paused_and_removed(admin: Admin, page: Page) -> None:
    schedules = ScheduleControl(admin.app)
    page.goto(f"{admin.address}/talo_django/periodictask/")
    page.get_by_role("link", name="Add periodic task").click()
    page.fill("#id_name", "reports/daily?")
    page.fill("#id_task", "orders.tasks.add")
    page.fill("#id_schedule", "nonsense")
    page.get_by_role("button", name="Add periodic task").click()
    expect(page.locator(".errornote")).to_be_visible(timeout=PATIENCE)
    page.fill("#id_schedule", "0 3 * * *")
    page.fill("#id_args", "[20, 22]")
    page.get_by_role("button", name="Add periodic task").click()
    _says(page, re.compile(r"reports/daily\? is added", re.I))
    row = page.locator("tr", has=page.locator('input[value="reports/daily?"]'))
    row.get_by_role("link", name="Edit").click()
    assert page.input_value("#id_schedule") == "0 3 * * *"
    page.fill("#id_schedule", "30 4 * * *")
    page.fill("#id_timezone", "Europe/Berlin")
    page.get_by_role("button", name="Edit").click()
    _says(page, re.compile(r"reports/daily\? is changed", re.I))
    assert schedules.get("reports/daily?").definition.schedule == {"cron": "30 4 * * *", "tz": "Europe/Berlin"}
    _act(page, "Run now", "reports/daily?")
    _says(page, "1 periodic task changed")
    assert ("orders.tasks.add", "(20, 22)", "{}") in [(name, args.replace("[", "(").replace("]", ")"), more)
                                                     for name, args, more in admin.waiting()]  # fmt: skip
    _act(page, "Pause", "reports/daily?", "tidy")
    _says(page, "2 periodic tasks changed")
    assert [each.enabled for each in schedules.list()] == [False, False]
    _act(page, "Remove", "reports/daily?")
    _says(page, "1 periodic task changed")
    assert [each.name for each in schedules.list()] == ["tidy"]


@pytest.mark.promise("J07")
def test_a_task_is_run_with_arguments_limited_and_paused_and_a_worker_told(admin: Admin, page: Page) -> None:
    page.goto(f"{admin.address}/talo_django/tasktype/")
    row = page.locator("tr", has=page.locator('input[value="orders.tasks.add"]'))
    row.get_by_role("link", name="Run now").click()
    page.fill("#id_args", "[1, 2, 3]")
    page.get_by_role("button", name="Run now").click()
    # What the task does not take is told before anything is sent
    expect(page.locator(".errornote")).to_contain_text("argument", timeout=PATIENCE)
    page.fill("#id_args", "[7]")
    page.fill("#id_kwargs", '{"y": 8}')
    page.get_by_role("button", name="Run now").click()
    _says(page, "Sent as")
    assert any(name == "orders.tasks.add" and "8" in kwargs for name, _, kwargs in admin.waiting())
    _act(page, "Pause", "orders.tasks.add")
    _says(page, "1 task changed")
    assert list(admin.app.control.paused()[1]) == ["orders.tasks.add"]
    _act(page, "Resume", "orders.tasks.add")
    # Without a worker a limit reaches nobody, and that is said; with one it does
    row.get_by_role("link", name="Limit the rate").click()
    page.fill("#id_rate", "10/m")
    page.get_by_role("button", name="Limit the rate").click()
    expect(page.locator(".errornote")).to_contain_text("No worker answers", timeout=PATIENCE)
    with admin.site.worker("-Q", "nothing") as worker:
        page.get_by_role("button", name="Limit the rate").click()
        _says(page, "1 worker told")
        page.goto(f"{admin.address}/talo_django/workerpage/")
        _act(page, "Stop, after what runs", worker.node)
        _says(page, "1 worker told")
        assert worker.wait(60) == 0


def test_queues_are_paused_resumed_and_purged(admin: Admin, page: Page) -> None:
    admin.app.send_task("orders.tasks.add", (1, 1), queue="letters")
    page.goto(f"{admin.address}/talo_django/queuepage/")
    _act(page, "Pause", "letters")
    _says(page, "1 queue changed")
    assert list(admin.app.control.paused()[0]) == ["letters"]
    _act(page, "Resume", "letters")
    _act(page, "Purge: delete all that waits", "letters")
    _says(page, "1 message deleted")
    eventually(lambda: _is_empty(admin.app.store.broker.stats(["letters"])))


def _is_empty(found: list[Any]) -> None:
    assert not any(each.ready for each in found)


@pytest.mark.parametrize(
    ("locale", "title", "action", "empty"),
    [
        ("de-DE", "Unzustellbare Nachrichten", "Bearbeiten und erneut ausführen", "Periodische Aufgaben"),
        ("pt-BR", "Mensagens mortas", "Editar e reexecutar", "Tarefas periódicas"),
    ],
)
def test_pages_speak_the_language_of_the_browser(
    admin: Admin,
    chromium: Browser,  # noqa: F811
    tmp_path: Path,
    locale: str,
    title: str,
    action: str,
    empty: str,
) -> None:
    dead(admin.app, 1, queue=admin.queue)
    context = chromium.new_context(locale=locale)
    page = _logged_in(admin, context.new_page())
    expect(page.locator("body")).to_contain_text(empty, timeout=PATIENCE)
    page.goto(f"{admin.address}/talo_django/deadletter/")
    expect(page.locator("h1", has_text=title)).to_be_visible(timeout=PATIENCE)
    page.screenshot(path=Path(os.environ.get("TALO_ARTIFACTS", tmp_path)) / f"admin-{locale}.png", full_page=True)
    page.get_by_role("link", name=action).first.click()
    expect(page.get_by_role("button", name=action)).to_be_visible(timeout=PATIENCE)
    context.close()
