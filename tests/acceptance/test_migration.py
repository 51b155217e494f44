"""``examples/migrate_from_celery``: a project moves from Celery to Talo and back while it runs, both on one Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.redis import RedisServer, database_of
from tests.support import eventually
from tests.workers import ROOT, Worker

EXAMPLE = ROOT / "examples/migrate_from_celery"
CELERY, TALO = ["-m", "celery"], ["-m", "talo.compat", "celery"]
LETTER, ALL = "shop.tasks.letter", "shop.tasks.*"


def environment(url: str, moved: str = "") -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TALO_", "CELERY_"))}
    path = f"{ROOT / 'src'}:{EXAMPLE}"
    return {**kept, "SHOP_REDIS": url, "SHOP_MOVED": moved, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


class ShopWorker(Worker):
    """A worker of the shop, of either kind."""

    def __init__(self, kind: list[str], name: str, url: str, folder: Path, moved: str = "") -> None:
        super().__init__("", folder, name=name)
        self._command = [
            sys.executable, *kind, "-A", "shop", "worker", "-n", f"{name}@shop", "-c", "1", "-l", "INFO",
        ]  # fmt: skip
        self._env = environment(url, moved)


def ask(kind: list[str], url: str, code: str, moved: str = "", cwd: Path = EXAMPLE) -> Any:
    """Run code of a sender of either kind; return the JSON that it printed."""
    code = f"import json, sys; from shop.tasks import letter, summary, total; from celery import chain, chord\n{code}"
    if kind is TALO:
        code = f"import talo.compat; talo.compat.install_as_celery()\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment(url, moved), text=True, capture_output=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def url(redis_url: str) -> str:
    return redis_url


ONE = "print(json.dumps([total.delay([1, 2]).get(timeout=30)['by'], letter.delay({'sum': 1, 'by': 'me'}).get(timeout=30)['by']]))"  # noqa: E501
CHORD = (
    "header = [letter.s({'sum': n, 'by': 'me'}, fails=n % 2) for n in range(5)]\n"
    "print(json.dumps(chord(header, summary.s()).apply_async().get(timeout=60)))"
)
LATE = "print(json.dumps(letter.apply_async(({'sum': 5, 'by': 'me'},), countdown=3).id))"
CHAIN = (
    "r = [chain(total.s([n, 1]), letter.s(fails=n % 2)).apply_async() for n in range(6)]\n"
    "print(json.dumps([x.get(timeout=60) for x in r]))"
)


@pytest.mark.one_server  # Celery reads no URL of a cluster
def test_a_project_moves_to_talo_task_by_task_and_back(redis_server: RedisServer, url: str, tmp_path: Path) -> None:
    # Given the project on Celery alone,
    with ShopWorker(CELERY, "celery", url, tmp_path) as celery:
        assert ask(CELERY, url, ONE) == ["celery@shop", "celery@shop"]
        celery.stop()
    # when Talo is put beside it and one task moves,
    with ShopWorker(CELERY, "celery2", url, tmp_path, LETTER) as celery:
        with ShopWorker(TALO, "talo", url, tmp_path, LETTER) as talo:
            for sender in (CELERY, TALO):
                # then each runs where it belongs, whoever sends it,
                assert ask(sender, url, ONE, LETTER) == ["celery2@shop", "talo@shop"]
                # and chains cross over, retries in the middle of it, and come back with their results.
                ends = ask(sender, url, CHAIN, LETTER)
                assert [(e["text"], e["after"], e["by"]) for e in ends] == [
                    (f"You owe us {n + 1}.", "celery2@shop", "talo@shop") for n in range(6)
                ]
                # So do chords: their members end there, their body here.
                whole = ask(sender, url, CHORD, LETTER)
                assert whole == {"letters": 5, "by": "celery2@shop", "after": ["talo@shop"]}
            talo.stop()
        celery.stop()
    # When the rest moves,
    with ShopWorker(TALO, "talo2", url, tmp_path, ALL) as talo:
        assert ask(TALO, url, ONE, ALL) == ["talo2@shop", "talo2@shop"]
        # and everything goes back again, a delayed task still waiting,
        late = ask(TALO, url, LATE, ALL)
        with ShopWorker(CELERY, "celery3", url, tmp_path) as celery:
            assert ask(CELERY, url, ONE) == ["celery3@shop", "celery3@shop"]
            # then Talo's worker may be stopped as soon as its queue is empty,
            eventually(lambda: _empty(url), timeout=60, interval=0.3)
            assert talo.stop() == 0
            read = f"print(json.dumps(letter.AsyncResult({late!r}).get(timeout=5)['by']))"
            assert ask(CELERY, url, read) == "talo2@shop"
            celery.stop()
    # and nothing is left behind by either.
    held = redis_server.command("EXISTS", "celery", "talo.celery", "unacked", "unacked_index", db=database_of(url))
    assert held == b":0\r\n"


def _empty(url: str) -> None:
    code = (
        "from shop.celery import app\n"
        "print(json.dumps(sum(q.ready + q.delayed + q.leased for q in app.store.broker.stats(['talo.celery']))))"
    )
    assert ask(TALO, url, code) == 0


def test_the_check_reads_the_example_and_the_routes_are_celerys(tmp_path: Path) -> None:
    env = environment("redis://localhost:1/0", "shop.tasks.letter")
    told = subprocess.run(
        [sys.executable, "-m", "talo", "migrate", "check", "shop.celery", "--json"], cwd=EXAMPLE, env=env, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    report = json.loads(told.stdout)
    assert told.returncode == 0 and not report["problems"] and not report["imports"]
    # acks_late is set for all, so only what happens when a process dies differs.
    assert {task["name"]: len(task["changes"]) for task in report["tasks"]} == dict.fromkeys(
        ("shop.tasks.letter", "shop.tasks.summary", "shop.tasks.total"), 1
    )
    routes = subprocess.run(
        [sys.executable, "-m", "talo.compat", "celery", "-A", "shop", "migrate", "routes"], cwd=EXAMPLE, env=env,
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert json.loads(routes.stdout) == {"shop.tasks.letter": {"queue": "talo.celery"}}, routes.stderr


def test_the_app_afterwards_has_talos_defaults(tmp_path: Path) -> None:
    code = "from after import app; print(app.conf.task_reject_on_worker_lost, app.router.route('shop.tasks.letter', {}, (), {}).queues)"  # noqa: E501
    env = environment("redis://localhost:1/0", ALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=EXAMPLE, env=env, text=True, capture_output=True, check=False
    )
    assert done.stdout.strip() == "True ('celery',)", done.stderr
