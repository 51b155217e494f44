"""The test project, as its developers use it: ``manage.py``, snippets of code, workers; in a directory of one test."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg

from tests import nursery
from tests.workers import ROOT, Worker

__all__ = ["PROJECT", "Site", "SiteWorker"]

PROJECT = Path(__file__).parent / "project"
#: What programs of Django import that does not ask for settings.
DJANGO = (
    "django.core.management.commands.check",
    "django.core.management.commands.migrate",
    "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base",
    "django.db.models",
    "django.test.client",
)
#: The file that ``migrate`` has made of nothing, by what it depends on.
_migrated: dict[tuple[str, ...], bytes] = {}


class Site:
    """One deployment of the project: databases, settings and broker of its own."""

    def __init__(
        self,
        directory: Path,
        *,
        broker: str | None = None,
        databases: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        project: Path = PROJECT,
        module: str | None = "shop.settings",
    ) -> None:
        self.directory = directory
        self.broker = broker or f"sqlite:///{directory}/talo.sqlite3"
        self.project = project
        self._databases = databases
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("TALO", "CELERY", "DJANGO"))}
        self.env = {
            **clean,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), str(project)]),
            "TALO_BROKER_URL": self.broker,
            "SHOP_DATABASES": json.dumps(databases),
            "SHOP_SETTINGS": json.dumps(settings or {}),
            **({"DJANGO_SETTINGS_MODULE": module} if module else {}),
        }

    def run(self, *words: str, check: bool = True, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        """Run a Python command line; ``check`` fails with all that it said."""
        done = nursery.run([sys.executable, *words], self.env, self.directory, timeout=timeout, knows=DJANGO)
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def manage(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``manage.py words``."""
        return self.run(str(self.project / "manage.py"), *words, check=check)

    def migrate(self) -> None:
        """``manage.py migrate``; where a file comes of it, that of another site like this one is copied."""
        file = self.directory / "shop.sqlite3"
        fresh = self._databases is None and not file.exists()
        kind = (str(self.project), self.env["SHOP_SETTINGS"], self.env.get("TALO_BROKER_URL", "").partition(":")[0])
        if fresh and kind in _migrated:
            file.write_bytes(_migrated[kind])
            return
        self.manage("migrate", "-v0")
        if fresh:
            _migrated[kind] = file.read_bytes()

    def talo(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``talo words``."""
        return self.run("-m", "talo", *words, check=check)

    def python(self, code: str) -> Any:
        """Run code with Django set up; what it prints last, read as JSON."""
        before = "import json, django; django.setup()\n"
        said = self.run("-c", before + code).stdout.strip().splitlines()
        return json.loads(said[-1]) if said else None

    def query(self, statement: str) -> list[Any]:
        """The rows of one statement on the default database, without Django's time to start."""
        database = (self._databases or {}).get("default")
        if database is None:
            with contextlib.closing(sqlite3.connect(self.directory / "shop.sqlite3", timeout=20)) as connection:
                return connection.execute(statement).fetchall()
        where = {
            "host": database["HOST"],
            "port": database["PORT"],
            "user": database["USER"],
            "password": database["PASSWORD"],
        }
        with psycopg.connect(dbname=database["NAME"], autocommit=True, **where) as server:
            return server.execute(statement).fetchall()

    def worker(self, *arguments: str, name: str = "w", managed: bool = True) -> SiteWorker:
        """A worker that is not started yet: ``manage.py talo worker``, or ``talo worker``."""
        return SiteWorker(self, *arguments, name=name, managed=managed)


class SiteWorker(Worker):
    """A worker of the project."""

    knows = DJANGO

    def __init__(self, site: Site, *arguments: str, name: str, managed: bool) -> None:
        super().__init__(site.broker, site.directory, name=name)
        way = [str(site.project / "manage.py"), "talo"] if managed else ["-m", "talo"]
        self._command = [sys.executable, *way, "worker", "-n", self.node, "-l", "INFO", *arguments]
        self._env = site.env
