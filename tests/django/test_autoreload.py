"""``manage.py talo worker --autoreload``: edited code runs soon, and the end is clean."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.django.site import PROJECT, Site, SiteWorker
from tests.support import eventually
from tests.workers import client, group_alive


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A copy of the project that may be edited."""
    project = tmp_path / "copy"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    return Site(tmp_path, project=project)


def edit(site: Site, old: str, new: str) -> None:
    path = site.project / "orders/tasks.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    # A file system's clock may be coarse, and Python trusts whole seconds.
    later = path.stat().st_mtime + 2
    os.utime(path, (later, later))


def ready(worker: SiteWorker, times: int) -> None:
    def is_ready() -> None:
        assert worker.output().count(" ready.") == times, worker.output()

    eventually(is_ready, timeout=60)


def workers_of(watcher: SiteWorker) -> list[int]:
    return watcher.descendants()


def test_edited_code_runs_and_nothing_is_left(site: Site) -> None:
    watcher: Any = site.worker("-P", "solo", "--autoreload")
    with client(site.broker) as app, watcher:
        # Given a running task of the first version
        assert app.send_task("orders.tasks.add", (1, 2)).get(timeout=30) == 3
        # When the code is edited
        edit(site, "return x + y", "return x * 100 + y")
        ready(watcher, 2)
        # Then the new one runs
        assert app.send_task("orders.tasks.add", (1, 2)).get(timeout=30) == 102
        # When it cannot be imported, it waits for the correction
        edit(site, "return x * 100 + y", "return x * 100 +")
        eventually(lambda: _assert(not workers_of(watcher)), timeout=60)
        edit(site, "return x * 100 +", "return x * 1000 + y")
        ready(watcher, 3)
        assert app.send_task("orders.tasks.add", (1, 2)).get(timeout=30) == 1002
        # When it is told to end, then its worker ends in good order, and it says so
        [worker] = workers_of(watcher)
        watcher.signal(signal.SIGTERM)
        assert watcher.wait() == 0
        assert not group_alive(worker)


def _assert(fact: bool) -> None:
    assert fact
