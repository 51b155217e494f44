"""Celery's user guide, page by page: every page has its counterpart here, and an example of each of its topics, written
for Celery, runs under that name on SQLite and on Redis.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.redis import empty_database
from tests.workers import ROOT, Worker

PAGE = ROOT / "docs/reference/celery-guide.md"
#: The pages of the guide, in its order.
PAGES = [
    "Application", "Tasks", "Calling", "Canvas", "Workers", "Daemonizing", "Periodic tasks", "Routing", "Monitoring",
    "Security", "Optimizing", "Debugging", "Concurrency", "Signals", "Testing", "Extending", "Configuration",
    "Documenting tasks with Sphinx",
]  # fmt: skip
#: (page, topic) -> an expression among the names of ``tests.apps.guide``, and its value.
EXAMPLES: dict[tuple[str, str], tuple[str, Any]] = {
    ("Application", "main name"): ("[app.main, add.name]", ["guide", "guide.add"]),
    ("Application", "abstract tasks"): ("who.delay().get(timeout=30)", ["guide.who", True, True]),
    ("Application", "the current app"): ("shared.app.main", "guide"),
    ("Tasks", "retry"): ("flaky.delay().get(timeout=30)", 2),
    ("Tasks", "autoretry"): ("down.delay().get(timeout=30)", "OSError: down"),
    ("Tasks", "ignore, and a state of one's own"): (
        "last_state(by_hand.delay(), 'CUSTOM')",
        "CUSTOM",
    ),
    ("Tasks", "shared tasks"): ("shared.delay().get(timeout=30)", "shared"),
    ("Tasks", "arguments are checked"): ("add.delay(1)", "TypeError: add() missing a required argument: 'y'"),
    ("Calling", "apply_async"): ("add.apply_async((2,), {'y': 2}).get(timeout=30)", 4),
    ("Calling", "by name"): ("app.send_task('guide.add', (2, 2)).get(timeout=30)", 4),
    ("Calling", "link"): ("add.apply_async((2, 2), link=add.s(16)).get(timeout=30)", 4),
    ("Calling", "errors"): ("chain(down.s()).on_error(on_error.s()).apply_async().get(timeout=30)", "OSError: down"),
    ("Calling", "countdown"): ("add.apply_async((1, 2), countdown=0.2).get(timeout=30)", 3),
    ("Calling", "expiry"): (
        "add.apply_async((1, 2), expires=dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)).get(timeout=30)",
        "TaskRevokedError: expired",
    ),
    ("Calling", "compression"): ("add.apply_async((2, 3), compression='zlib').get(timeout=30)", 5),
    ("Canvas", "partials"): ("add.s(2).delay(3).get(timeout=30)", 5),
    ("Canvas", "immutable"): ("chain(add.s(1, 1), add.si(5, 5))().get(timeout=30)", 10),
    ("Canvas", "chains"): ("(add.s(2, 2) | add.s(4) | add.s(8))().get(timeout=30)", 16),
    ("Canvas", "groups"): ("group(add.s(i, i) for i in range(4))().get(timeout=30)", [0, 2, 4, 6]),
    ("Canvas", "chords"): ("chord((add.s(i, i) for i in range(4)), xsum.s())().get(timeout=30)", 12),
    ("Canvas", "group into chord"): ("(group(add.s(1, 1), add.s(2, 2)) | xsum.s())().get(timeout=30)", 6),
    ("Canvas", "map"): ("xsum.map([[1, 2], [3]]).delay().get(timeout=30)", [3, 3]),
    ("Canvas", "starmap"): ("add.starmap([(1, 2), (3, 4)]).delay().get(timeout=30)", [3, 7]),
    ("Canvas", "chunks"): ("add.chunks(zip(range(4), range(4)), 2)().get(timeout=30)", [[0, 2], [4, 6]]),
    ("Canvas", "parents"): ("add.s(1, 1).apply_async().parent", None),
    ("Workers", "ping"): ("app.control.ping(timeout=10, limit=1)", [{"w@test": {"ok": "pong"}}]),
    ("Workers", "queues"): (
        "sorted(q['name'] for q in app.control.inspect(timeout=10, limit=1).active_queues()['w@test'])",
        ["celery", "images"],
    ),
    ("Workers", "revoking"): (
        "[r for r in [add.apply_async((1, 1), countdown=2)] if r.revoke() or True][0].get(timeout=30)",
        "TaskRevokedError: revoked",
    ),
    ("Workers", "time limits"): ("slow.delay().get(timeout=30)", "cleaned up"),
    ("Workers", "rate limits"): (
        "app.control.rate_limit('guide.quiet', '200/m', reply=True, timeout=10, limit=1)",
        [{"w@test": {"ok": "new rate limit set successfully"}}],
    ),
    ("Periodic tasks", "crontab"): ("app.conf.beat_schedule['tick']['schedule'].minute == set(range(0, 60, 5))", True),
    ("Periodic tasks", "time zone"): ("str(app.timezone)", "Europe/Helsinki"),
    ("Periodic tasks", "by hand"): ("app.add_periodic_task(10.0, add.s(1, 2), name='ten')", "ten"),
    ("Routing", "automatic"): ("app.amqp.queues['images'].name", "images"),
    ("Routing", "queue of a task"): ("image.delay().get(timeout=30)", "drawn"),
    ("Monitoring", "registered"): (
        "'guide.add' in app.control.inspect(timeout=10, limit=1).registered()['w@test']",
        True,
    ),
    ("Monitoring", "state of events"): ("list(app.events.State().alive_workers())", []),
    ("Security", "what is not accepted"): ("app.conf.accept_content", ["json"]),
    ("Optimizing", "results nobody reads"): ("quiet.delay().get(timeout=30)", None),
    ("Debugging", "remote debugger"): ("__import__('celery.contrib.rdb').contrib.rdb.DEFAULT_PORT", 6899),
    ("Concurrency", "pool"): (
        "app.control.inspect(timeout=10, limit=1).stats()['w@test']['pool']['max-concurrency']",
        2,
    ),
    ("Concurrency", "abortable tasks"): ("abort_it()", "aborted"),
    ("Signals", "of the sender"): ("'guide.add' in published", True),
    ("Signals", "of the worker"): ("'guide.flaky SUCCESS' in ended.read_text()", True),
    ("Testing", "apply"): ("add.apply((4, 4)).get()", 8),
    ("Testing", "call"): ("add(4, 4)", 8),
    ("Extending", "bootsteps"): ("(ended.parent / 'door').read_text()", "open"),
    ("Extending", "commands"): (
        "app.control.broadcast('multiply', arguments={'n': 4}, reply=True, timeout=10, limit=1)",
        [{"w@test": {"ok": 8}}],
    ),
    ("Configuration", "old names"): ("app.conf.result_expires", 3600.0),
    ("Documenting tasks with Sphinx", "docstring"): ("add.__doc__", "Add."),
}


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """The values of all examples."""
    folder = tmp_path_factory.mktemp("guide")
    if request.param == "redis":
        with empty_database(request.getfixturevalue("redis_server")) as url:
            yield _answers(url, folder)
    else:
        yield _answers(f"sqlite:///{folder}/q.sqlite3", folder)


def _answers(url: str, folder: Path) -> list[Any]:
    env = {"GUIDE_URL": url, "GUIDE_FOLDER": str(folder), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    worker = Worker(url, folder, env=env)
    words = ["celery", "-A", "tests.apps.guide", "worker", "-n", "w@test", "-l", "INFO", "-c", "2"]
    worker._command = [sys.executable, "-m", "talo.compat", *words, "-Q", "celery,images"]
    with worker:
        done = subprocess.run(
            [sys.executable, "-m", "talo.compat", "tests/apps/guide.py"], cwd=ROOT, env={**os.environ, **env},
            input=json.dumps([code for code, _ in EXAMPLES.values()]), text=True, capture_output=True, timeout=200,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + worker.output()
        return list(json.loads(done.stdout))


@pytest.mark.promise("K12")
@pytest.mark.parametrize("place", range(len(EXAMPLES)), ids=[f"{page}: {topic}" for page, topic in EXAMPLES])
def test_an_example_of_each_page_does_what_the_guide_says(answers: list[Any], place: int) -> None:
    assert answers[place] == list(EXAMPLES.values())[place][1]


@pytest.mark.promise("K12")
def test_every_page_of_the_guide_has_its_counterpart() -> None:
    # Given the map of the pages (test_docs.py follows its links)
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| (.+?) \| (.+?) \|$", PAGE.read_text(), flags=re.M)

    # Then no page is missing; each leads somewhere, or says why not; and each has an example but the one about daemons
    assert [name for name, _, _ in rows] == PAGES
    assert all("](" in here or here.startswith("none: ") for _, _, here in rows)
    assert set(PAGES) - {page for page, _ in EXAMPLES} == {"Daemonizing"}


def test_the_pages_that_take_the_places_are_run() -> None:
    # Given the pages of its own that the map leads to
    links = set(re.findall(r"\(\.\./howto/([\w-]+\.md)", PAGE.read_text()))

    # Then those that were written for the guide have blocks that test_docs.py runs
    for name in ("application", "calling", "concurrency", "debugging", "extending", "optimizing", "security"):
        assert f"{name}.md" in links
        assert "<!-- run -->" in Path(ROOT / f"docs/howto/{name}.md").read_text()
