"""A place for tasks on each of the six stores, reached by processes of their own: workers, dashboards, commands.

``STORES`` are the parameters of the fixture ``place``; a module that uses it imports it::

    from tests.places import STORES, a_place  # noqa: F401  fixture
    @pytest.mark.parametrize("place", STORES, indirect=True)

What a broker does not keep by itself (results, locks, dead letters) stands in a file beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talo.app.app import Talo
from tests.contract.test_django import DjangoPlace
from tests.workers import ROOT, Worker, client

__all__ = ["STORES", "Place", "a_place"]

#: E, J, R, P, M and S.
STORES = ("sqlite", "django", "redis_url", "postgres_url", "rabbit_url", "sqs_endpoint")
APP = "tests.apps.traced"


class Place:
    """A store of one kind, with another beside it for what it does not keep. ``url`` is its name in this process,
    ``broker`` in others."""

    def __init__(
        self,
        broker: str,
        tmp: Path,
        results: str | None = None,
        *,
        url: str | None = None,
        options: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.broker = broker
        self.url = url or broker
        self.results = results
        self.tmp = tmp
        self._settings = {"broker_transport_options": options} if options else {}
        self.env = {"TALO_BROKER_URL": broker, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
        self.env |= {"TALO_RESULT_BACKEND": results} if results else {}
        self.env |= {"TALO_BROKER_TRANSPORT_OPTIONS": json.dumps(options)} if options else {}
        self.env |= env or {}

    def client(self, **settings: Any) -> Talo:
        """An app that sends there."""
        return client(self.url, self.results, **self._settings, **settings)

    def worker(self, *words: str, app: str = APP, env: dict[str, str] | None = None, **options: Any) -> Worker:
        """A worker of it."""
        more = {**self.env, **(env or {})}
        return Worker(self.broker, self.tmp, *words, results=self.results, app=app, env=more, **options)

    def start(self, *words: str, app: str = APP) -> subprocess.Popen[str]:
        """One of Talo's commands, which tells of itself on a pipe."""
        command = [sys.executable, "-m", "talo", "-A", app, *words]
        return subprocess.Popen(
            command, env={**os.environ, **self.env}, cwd=self.tmp, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip


@pytest.fixture(name="place")
def a_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty store of a kind."""
    beside = f"sqlite:///{tmp_path}/results.sqlite3"
    if request.param == "sqlite":
        yield Place(f"sqlite:///{tmp_path}/talo.sqlite3", tmp_path)
    elif request.param == "django":
        # Django's apps are not loaded in this process, and nothing of them is asked for.
        quiet = "ignore:Accessing the database during app init:RuntimeWarning"
        request.node.add_marker(pytest.mark.filterwarnings(quiet))
        file = str(tmp_path / "django.sqlite3")
        made = DjangoPlace(ENGINE="django.db.backends.sqlite3", NAME=file)
        env = {"DJANGO_SETTINGS_MODULE": "tests.apps.on_django", "DATABASE": file}
        yield Place("django://default", tmp_path, url=made.url, env=env)
        made.close()
    elif request.param == "sqs_endpoint":
        where = {
            "region": "us-east-1",
            "endpoint_url": request.getfixturevalue("sqs_endpoint"),
            "ledger": str(tmp_path / "ledger"),
            "queue_name_prefix": f"p{time.time_ns()}-",
        }
        yield Place("sqs://key:secret@", tmp_path, beside, options=where)
    else:
        url = str(request.getfixturevalue(request.param))
        yield Place(url, tmp_path, beside if request.param == "rabbit_url" else None)
