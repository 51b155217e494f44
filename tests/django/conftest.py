"""Shared by the tests of Django: a site with its tables, on SQLite and without any server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.kit import SOAK
from tests.django.postgres import Postgres, postgres  # noqa: F401  fixture
from tests.django.site import Site

#: Run by Django's own runner.
collect_ignore = ["project"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """At the promised size these are long runs, and marked so."""
    here = Path(__file__).parent
    for item in items:
        if SOAK and item.path.is_relative_to(here):
            item.add_marker(pytest.mark.soak)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """The project with an empty SQLite database."""
    made = Site(tmp_path)
    made.migrate()
    return made
