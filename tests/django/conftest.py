"""Shared by the tests of Django: a site with its tables, on SQLite and without any server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.django.postgres import Postgres, postgres  # noqa: F401  fixture
from tests.django.site import Site

#: Run by Django's own runner.
collect_ignore = ["project"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """The project with an empty SQLite database."""
    made = Site(tmp_path)
    made.manage("migrate", "-v0")
    return made
