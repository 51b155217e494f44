"""Takes the pictures of the dashboard that the documentation shows, of an invented shop in memory.

``python tools/pictures.py`` writes them to ``docs/images``. Needs Chromium and the test extras."""

from __future__ import annotations

import math
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import uvicorn  # noqa: E402  after the path
from playwright.sync_api import Browser  # noqa: E402
from tests.servers.chromium import launched  # noqa: E402
from tests.web.support import dead  # noqa: E402

from talo import Talo  # noqa: E402
from talo.control.schedules import ScheduleControl  # noqa: E402
from talo.stores.history import RunRecord  # noqa: E402
from talo.web import Dashboard  # noqa: E402

IMAGES = ROOT / "docs/images"
#: Task -> queue, seconds that it takes, how it fails, how often.
SHOP = {
    "shop.add": ("celery", 0.01, "TimeoutError: it took too long", 0.002),
    "shop.mail": ("mail", 0.15, "SMTPRecipientsRefused: no such mailbox", 0.02),
    "shop.charge": ("celery", 0.4, "ConnectionError: the bank does not answer", 0.06),
    "shop.resize": ("media", 1.2, "OSError: cannot identify image file", 0.01),
    "shop.report": ("reports", 3.0, "ValueError: no figures of 1999 are kept", 0.12),
}
TRACEBACK = """\
Traceback (most recent call last):
  File "shop/reports.py", line 42, in report
    return render(figures(year))
  File "shop/reports.py", line 17, in figures
    raise ValueError(f"no figures of {year} are kept")
ValueError: no figures of 1999 are kept
"""


def _busy(share: float) -> float:
    """Which part of the hour is left: more happens at some times than at others."""
    return 1 - share + 0.045 * math.sin(14 * share) + 0.012 * math.sin(47 * share) - 0.045 * math.sin(14) * share


def shop() -> tuple[Talo, str]:
    """An app with an hour behind it, and the id of a run worth looking at."""
    app = Talo("shop", broker="memory://shop", set_as_current=False)
    for name in SHOP:
        app.task(name=name)(lambda *_args: None)
    chance, now = random.Random(7), time.time()
    runs = []
    for number in range(3000):
        name = chance.choices(list(SHOP), (30, 25, 20, 15, 3))[0]
        queue, takes, error, share = SHOP[name]
        fails = chance.random() < share
        runs.append(
            RunRecord(
                name=name, queue=queue, state="FAILURE" if fails else "SUCCESS", keep=86_400.0, id=f"{number:032x}",
                ended=now - 3540 * _busy((number + chance.random()) / 3001), worker=f"web{number % 3}@shop",
                seconds=takes * chance.lognormvariate(0, 0.6), waited=chance.lognormvariate(-3, 1),
                args=f"({4000 + number},)", kwargs="{}", error=error if fails else None,
                fingerprint=name if fails else None, traceback=TRACEBACK if fails else None,
            )
        )  # fmt: skip
    last = max(n for n, run in enumerate(runs) if run.name == "shop.report")
    retried = runs[last]
    shown = "6f5b9e1f5acd4c615bc20f626492b9cc"
    story = [
        RunRecord(
            name="shop.report", queue="reports", state=state, keep=86_400.0, id=shown, attempt=attempt,
            ended=retried.ended - 12 + 5.0 * attempt, seconds=2.1, waited=0.4, worker=f"web{attempt}@shop",
            sent=retried.ended - 14.6, args="(1999,)", kwargs="{'currency': 'EUR'}", error=SHOP["shop.report"][2],
            fingerprint="shop.report", traceback=TRACEBACK,
        )
        for attempt, state in enumerate(("RETRY", "RETRY", "FAILURE"))
    ]  # fmt: skip
    schedules = ScheduleControl(app)
    schedules.add("nightly-report", "shop.report", "30 2 * * 1-5", args=(2026,))
    schedules.add("stocktaking", "shop.add", 3600.0)
    assert app.store.history is not None
    app.store.history.record([*runs, *story])
    for name, args in (("shop.charge", (4711,)), ("shop.report", (1999,)), ("shop.mail", ("ada@example.com",))):
        dead(app, 3, name=name, args=args, error=SHOP[name][2], queue=SHOP[name][0])
    for name, (queue, *_) in SHOP.items():
        app.send_many([(name, (n,)) for n in range(chance.randrange(2, 9))], queue=queue)
        app.send_many([(name, (n,)) for n in range(chance.randrange(1, 4))], queue=queue, countdown=900)
    for number in range(3):
        app.store.broker.open(f"web{number}", worker=f"web{number}@shop", slots=4, lease=3600)
        app.store.broker.turn([], f"web{number}", [queue for queue, *_ in SHOP.values()], 2)
    return app, shown


def take(browser: Browser, address: str, path: str, name: str, scheme: str = "light") -> None:
    """One picture."""
    context = browser.new_context(viewport={"width": 1320, "height": 860}, color_scheme=scheme, base_url=address)
    page = context.new_page()
    page.goto(path)
    page.wait_for_timeout(1500)
    page.screenshot(path=IMAGES / f"{name}.png")
    context.close()


def main() -> None:
    """Serve the shop and look at it."""
    app, run = shop()
    with tempfile.TemporaryDirectory() as folder:
        dashboard = Dashboard(app, audit=Path(folder) / "audit.jsonl")
        server = uvicorn.Server(uvicorn.Config(dashboard, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with launched() as browser:
            take(browser, address, "/", "dashboard-overview")
            take(browser, address, f"/run?id={run}", "dashboard-run")
            take(browser, address, "/dead", "dashboard-dead-letters", "dark")
        server.should_exit = True
        thread.join(10)


if __name__ == "__main__":
    main()
