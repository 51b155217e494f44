"""The dashboard in a real browser: each page with data, each action, accessibility, keys, small screens.

Screenshots are kept in ``$TALO_ARTIFACTS`` or the test's own directory.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from talo.app.app import Talo as App
from talo.web import Dashboard
from talo.web.operations.bulk import STEP
from tests.servers.chromium import chromium  # noqa: F401
from tests.support import eventually
from tests.web.support import dashboard_of, dead, ended, shop
from tests.workers import ROOT, Worker, client

APP = "tests.apps.dashed"
#: The machine may be loaded.
PATIENCE = 20_000


class Site:
    """A dashboard in a process of its own, beside a worker, with data in every page."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.broker = f"sqlite:///{tmp}/talo.sqlite3"
        self.app: App = client(self.broker)
        self.app.main = "shop"
        env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "TALO_BROKER_URL": self.broker}
        self.worker = Worker(self.broker, tmp, "-c", "2", "-B", app=APP).start()
        command = [sys.executable, "-m", "talo", "-A", APP, "dashboard", "-p", "0", "--audit", str(tmp / "audit.jsonl")]
        self.process = subprocess.Popen(command, env=env, cwd=tmp, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[-1].rstrip("/")

    def populate(self) -> None:
        for n in range(20):
            self.app.send_task("shop.add", (n, n))
        self.failed = self.app.send_task("shop.report", (1990,)).id
        subprocess.run(
            [sys.executable, "-c", "from tests.apps.dashed import flow; flow().delay()"],
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "TALO_BROKER_URL": self.broker},
            check=True,
            cwd=self.tmp,
        )
        history = self.app.store.history
        assert history is not None

        def all_done() -> None:
            names = [run.name for run in history.runs(_everything(), 100).runs]
            assert {"shop.total", "shop.report"} <= set(names)

        eventually(all_done, timeout=40)
        for n in range(5):
            self.app.send_task("shop.add", (n, n), queue="mail")
        self.app.send_task("shop.add", (1, 1), countdown=3600)
        dead(self.app, 4, queue="letters")
        ended(self.app, 3, state="RETRY", id="again", error="ConnectionError: away", fingerprint="f9", traceback="T")

    def close(self) -> None:
        self.worker.destroy()
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.app.close()


def _everything() -> Any:
    from talo.stores.history import RunQuery

    return RunQuery()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Site]:  # noqa: F811
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        site.populate()
        yield site
    finally:
        site.close()


@pytest.fixture
def page(site: Site, chromium: Browser) -> Iterator[Page]:  # noqa: F811
    context = chromium.new_context(viewport={"width": 1320, "height": 860}, base_url=site.address)
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert [fault for fault in faults if "status of 4" not in fault and "status of 503" not in fault] == []


@contextmanager
def served(dashboard: Dashboard) -> Iterator[str]:
    """The address of a dashboard of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(dashboard, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE / 1000)


def died(site: Site, number: int, queue: str) -> None:
    """Runs that failed in this queue, each with its dead letter."""
    ids = dead(site.app, number, queue=queue)
    [like] = ended(site.app, id=ids[0], queue=queue, state="FAILURE", dead="failed")
    assert site.app.store.history is not None
    site.app.store.history.record([msgspec.structs.replace(like, id=id) for id in ids[1:]])


def artefact(name: str, site: Site) -> Path:
    folder = Path(os.environ.get("TALO_ARTIFACTS") or site.tmp) / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.png"


def check_accessible(page: Page) -> None:
    """axe-core finds nothing serious."""
    found = Axe().run(page).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == []


#: Page -> what has to be on it.
SHOWN = {
    "/": "Ended, per minute",
    "/runs": "shop.add",
    "/runs?state=FAILURE": "no figures of 1990",
    "/runs?state=waiting": "mail",
    "/tasks": "shop.report",
    "/queues": "mail",
    "/queue?queue=mail": "shop.add",
    "/workers": "w@test",
    "/schedules": "at 02:30 on weekdays",
    "/schedule?name=nightly-report": "Next runs",
    "/workflows": "shop.add",
    "/failures": "ValueError: no figures of 1990 are kept",
    "/dead": "shop.add",
    "/configuration": "beat_schedule",
    "/audit": "Audit log",
    "/runs/bulk?action=forget": "records would be deleted",
    "/help": "Search",
}


@pytest.mark.parametrize("path", SHOWN)
def test_a_page_shows_its_data_and_is_accessible(site: Site, page: Page, path: str) -> None:
    page.goto(path)
    expect(page.locator("main")).to_contain_text(SHOWN[path])
    page.screenshot(path=artefact(re.sub(r"\W+", "-", path).strip("-") or "overview", site))
    check_accessible(page)


def test_a_run_tells_its_story(site: Site, page: Page) -> None:
    page.goto(f"/run?id={site.failed}")
    expect(page.get_by_role("heading", name="shop.report")).to_be_visible()
    expect(page.locator("main")).to_contain_text("Traceback (most recent call last)")
    # What takes longer is loaded into its place
    expect(page.locator("[data-load]")).to_contain_text("it has ended: FAILURE")
    check_accessible(page)
    page.screenshot(path=artefact("run", site))


def test_a_workflow_is_drawn(site: Site, page: Page) -> None:
    page.goto("/workflows")
    page.locator("table a").first.click()
    expect(page.locator("svg.graph rect")).to_have_count(5)
    expect(page.locator("svg.graph path")).to_have_count(6)
    check_accessible(page)
    page.screenshot(path=artefact("workflow", site))


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_every_section_in_both_colours_and_on_a_small_screen(site: Site, chromium: Browser, scheme: Any) -> None:  # noqa: F811
    context = chromium.new_context(viewport={"width": 390, "height": 800}, base_url=site.address, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    for path in ("/", "/runs", "/tasks", "/queues", "/workers", "/schedules", "/dead", f"/run?id={site.failed}"):
        page.goto(path)
        page.wait_for_load_state("load")
        # Nothing sticks out sideways: wide tables scroll in their own place
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, path
        check_accessible(page)
    page.goto("/")
    page.screenshot(path=artefact(f"small-{scheme}", site))
    context.close()


def test_a_search_that_takes_long_goes_on_by_itself(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a long history, and a dashboard that may look at some of it only for one page
    monkeypatch.setattr("talo.web.operations.runs.PATIENCE", 0.0)
    monkeypatch.setattr("talo.stores.sql.history._LOOKS", 50)
    monkeypatch.setattr("talo.stores.sql.history._STEP", 50)
    app = shop(f"sqlite:///{tmp_path}/talo.sqlite3")
    ended(app, 400, kwargs="{'order': 'other'}")
    ended(app, id="wanted", ended=time.time() - 1800, kwargs="{'order': 'first'}")
    with served(dashboard_of(app)) as address:
        # When the oldest is looked for, Then it appears
        page.goto(f"{address}/runs?argument='first'")
        expect(page.get_by_role("link", name="wanted")).to_be_visible()
        # And it ends where nothing is found
        page.goto(f"{address}/runs?argument='second'")
        expect(page.locator("#live-runs")).to_contain_text("Nothing found")
        expect(page.locator("#live-runs")).not_to_contain_text("Nothing found yet")
        expect(page.locator(".pager")).to_have_count(0)
        page.goto("about:blank")
    app.close()


def test_an_error_leaves_the_sections_where_they_are(page: Page) -> None:
    # When a page cannot be shown, then the others can still be reached
    page.goto("/runs?limit=0")
    expect(page.locator("main")).to_contain_text("limit")
    page.get_by_role("link", name="Queues").click()
    expect(page.locator("h1")).to_have_text("Queues")
    # And where there is no page at all, what is said stands in the middle, not where the sections would be
    page.goto("/nowhere")
    box = page.locator("main").bounding_box()
    assert box is not None
    assert box["width"] > 600
    assert abs(box["x"] + box["width"] / 2 - 1320 / 2) < 40


def test_the_theme_is_toggled_and_kept(page: Page) -> None:
    page.goto("/")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("[data-toggle-theme]").click()
    after = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert before != after
    page.goto("/queues")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == after


def test_it_is_used_by_keys(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("q")
    expect(page.get_by_role("heading", name="Queues")).to_be_visible()
    page.locator("summary", has_text="Pause").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("details.ask[open]")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("details.ask[open]")).to_have_count(0)
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("[data-search]")).to_be_focused()


def test_what_happens_elsewhere_appears_by_itself(site: Site, page: Page) -> None:
    page.goto("/queues")
    expect(page.locator(".pulse")).to_have_attribute("data-state", "live")
    site.app.send_task("shop.add", (1, 2), queue="news")
    expect(page.locator("#live-queues")).to_contain_text("news")


class TestActions:
    """Each does what it says."""

    def test_a_queue_is_paused_and_resumed(self, site: Site, page: Page) -> None:
        page.goto("/queues")
        page.get_by_label("Pause mail", exact=True).click()
        page.locator("details.ask[open] button").click()
        expect(page.get_by_role("status").filter(has_text="Queue mail is paused")).to_be_visible()
        assert site.app.control.paused()[0] == ["mail"]
        page.get_by_role("button", name="Resume mail").click()
        expect(page.locator(".notice")).to_contain_text("resumed")
        assert site.app.control.paused()[0] == []

    def test_a_queue_is_purged_when_its_name_is_repeated(self, site: Site, page: Page) -> None:
        for _ in range(3):
            site.app.send_task("shop.add", queue="rubbish")
        page.goto("/queues")
        for name, says in (("rubish", "repeat its name"), ("rubbish", "3 tasks of queue rubbish deleted")):
            page.get_by_label("Purge rubbish", exact=True).click()
            page.locator("details.ask[open] input[name=confirm]").fill(name)
            page.locator("details.ask[open] button").click()
            expect(page.locator(".notice")).to_contain_text(says)
        assert [each.ready for each in site.app.store.broker.stats(["rubbish"])] == [0]

    def test_a_task_type_is_paused_and_limited(self, site: Site, page: Page) -> None:
        page.goto("/tasks")
        page.get_by_label("Pause shop.nap").click()
        page.locator("details.ask[open] button").click()
        expect(page.locator(".notice")).to_contain_text("shop.nap is paused")
        assert site.app.control.paused()[1] == ["shop.nap"]
        page.get_by_role("button", name="Resume shop.nap").click()
        expect(page.locator(".notice")).to_contain_text("resumed")
        page.get_by_label("Limit shop.nap").click()
        page.locator("details.ask[open] input[name=rate]").fill("10/m")
        page.locator("details.ask[open] button").click()
        expect(page.locator(".notice")).to_contain_text("10/m at most on 1 worker.")

    def test_dead_letters_are_chosen_replayed_edited_and_dropped(self, site: Site, page: Page) -> None:
        broker = site.app.store.broker
        old = {letter.id for letter in broker.dead(queue="letters")}
        assert len(old) == 4
        page.goto("/dead?queue=letters")
        boxes = page.locator("tbody input[type=checkbox]")
        boxes.nth(0).check()
        expect(page.locator("[data-count]")).to_have_text("1 chosen")
        page.get_by_role("button", name="Replay chosen").click()
        expect(page.locator(".notice")).to_contain_text("1 dead letter replayed")
        assert len(broker.dead(queue="letters")) == 3
        page.goto("/dead?queue=letters")
        page.locator("tbody a.id").first.click()
        page.locator("textarea[name=args]").fill("[40, 2]")
        page.locator("input[name=queue]").fill("edited")
        check_accessible(page)
        page.get_by_role("button", name="Replay edited").click()
        expect(page.locator(".notice")).to_contain_text("Replayed as")
        [message] = broker.peek("edited", 10)
        assert message.headers["argsrepr"] == "(40, 2)"
        page.goto("/dead?queue=letters")
        page.locator("summary", has_text="Drop all").click()
        expect(page.locator("details.ask[open]")).to_contain_text("Delete 2 dead letters for good (of this filter)")
        page.get_by_role("button", name="Drop 2").click()
        expect(page.locator(".notice")).to_contain_text("2 dead letters dropped")
        assert broker.dead(queue="letters") == []

    def test_a_schedule_is_added_edited_run_and_removed(self, site: Site, page: Page) -> None:
        page.goto("/schedules")
        page.locator("summary", has_text="Add").click()
        form = page.locator("details.ask[open]")
        for name, value in (("name", "weekly"), ("task", "shop.add"), ("schedule", "0 9 * * 1"), ("args", "[1, 2]")):
            form.locator(f"input[name={name}]").fill(value)
        form.locator("button").click()
        expect(page.locator("#live-schedules")).to_contain_text("at 09:00 on Monday")
        page.get_by_role("link", name="weekly").click()
        page.locator("input[name=schedule]").fill("every 2h")
        page.locator("input[name=queue]").fill("reports")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("main")).to_contain_text("every 2 hours")
        page.get_by_role("button", name="Run now").click()
        expect(page.locator(".notice")).to_contain_text("weekly is sent as")
        assert [message.task for message in site.app.store.broker.peek("reports", 5)] == ["shop.add"]
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("h1")).to_contain_text("paused")
        page.locator("summary", has_text="Remove").click()
        page.get_by_role("button", name="Remove").click()
        expect(page.locator(".notice")).to_contain_text("weekly is removed")
        expect(page.locator("#live-schedules")).not_to_contain_text("weekly")

    def test_a_bulk_action_tells_its_number_before(self, site: Site, page: Page) -> None:
        ended(site.app, 7, queue="bygone", id="bygone", state="REJECTED")
        page.goto("/runs?queue=bygone")
        page.get_by_role("link", name="Forget…").click()
        expect(page.locator("[data-number]")).to_have_text("7")
        page.get_by_role("button", name="Forget 7").click()
        expect(page.locator(".notice")).to_contain_text("7 records deleted")
        expect(page.locator("main")).to_contain_text("Nothing found")

    def test_a_bulk_action_in_many_steps_tells_how_far_it_is(self, site: Site, page: Page) -> None:
        # Given more dead letters than are replayed in one step
        died(site, STEP + 30, "many")
        page.goto("/runs?queue=many&state=FAILURE")
        page.get_by_role("link", name="Replay dead letters…").click()
        expect(page.locator("[data-number]")).to_have_text(f"At most {STEP + 30}")
        check_accessible(page)
        page.screenshot(path=artefact("bulk", site))
        # When they are counted, and replayed
        page.get_by_role("link", name="Count them").click()
        expect(page.locator("[data-number]")).to_have_text(f"{STEP + 30}")
        page.get_by_role("button", name=f"Replay {STEP + 30}").click()
        # Then it goes on by itself to the last
        expect(page.get_by_role("status").filter(has_text="replayed")).to_have_text(
            f"{STEP + 30} dead letters replayed.", timeout=60_000
        )
        page.screenshot(path=artefact("bulk-done", site))
        assert site.app.store.broker.dead(queue="many") == []

    def test_a_bulk_action_goes_on_by_its_button_where_there_are_no_scripts(
        self,
        site: Site,
        chromium: Browser,  # noqa: F811
    ) -> None:
        # Given the same, and a browser that runs no scripts
        died(site, STEP + 10, "plain")
        context = chromium.new_context(java_script_enabled=False, base_url=site.address)
        page = context.new_page()
        # When it is begun, then it tells how far it came, and goes on when asked
        page.goto("/runs/bulk?action=replay&queue=plain&state=FAILURE")
        page.get_by_role("button", name="Replay all").click()
        expect(page.locator(".notice")).to_contain_text("so far")
        expect(page.locator("[data-number]")).to_have_text(f"{STEP}")
        page.get_by_role("button", name="Go on").click()
        expect(page.locator(".notice")).to_have_text(f"{STEP + 10} dead letters replayed.")
        context.close()

    def test_a_task_that_runs_is_stopped(self, site: Site, page: Page) -> None:
        task_id = site.app.send_task("shop.nap", (600,)).id
        page.goto("/workers")
        expect(page.locator("main")).to_contain_text("shop.nap")
        page.goto(f"/run?id={task_id}")
        page.locator("summary", has_text="Stop").click()
        page.get_by_role("button", name="Stop it").click()
        expect(page.locator(".notice")).to_contain_text("stopped")
        eventually(lambda: _is(site.app.AsyncResult(task_id).state, "REVOKED"), timeout=30)

    def test_only_what_has_not_ended_can_be_steered(self, site: Site, page: Page) -> None:
        ended(site.app, id="over")
        ended(site.app, id="goes-on", state="RETRY")
        page.goto("/run?id=goes-on")
        expect(page.locator("summary", has_text="Stop")).to_be_visible()
        page.goto("/run?id=over")
        expect(page.get_by_role("link", name="Explain", exact=True)).to_be_visible()
        expect(page.locator("summary", has_text="Stop")).to_have_count(0)

    def test_a_worker_grows_is_quieted_consumes_and_stops(self, site: Site, page: Page) -> None:
        page.goto("/workers")
        page.get_by_role("button", name="+ 1").click()
        expect(page.locator(".notice")).to_contain_text("gets 1 process more")
        expect(page.locator(".slot")).to_have_count(3)
        page.goto("/workers")
        page.locator("summary", has_text="Consume").click()
        page.locator("details.ask[open] input[name=queue]").fill("news")
        page.locator("details.ask[open] button").click()
        expect(page.locator(".notice")).to_contain_text("consumes news")
        eventually(lambda: _is([each.ready for each in site.app.store.broker.stats(["news"])], [0]), timeout=20)
        page.goto("/workers")
        page.locator("summary", has_text="Quiet").click()
        page.locator("details.ask[open] button").click()
        expect(page.locator(".notice")).to_contain_text("fetches nothing more")
        page.goto("/workers")
        page.locator("summary", has_text="Stop").click()
        page.locator("details.ask[open] button").click()
        expect(page.locator(".notice")).to_contain_text("told to stop")
        assert site.worker.wait(40) == 0


def _is(found: Any, expected: Any) -> None:
    assert found == expected
