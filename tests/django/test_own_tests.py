"""The project's own tests, which use Talo's helpers for TestCase, pass: on SQLite and on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.django.postgres import Postgres
from tests.django.site import Site


@pytest.mark.promise("J02", "J06")
def test_sends_transactions_and_test_helpers_on_sqlite(tmp_path: Path) -> None:
    done = Site(tmp_path).manage("test", "orders", "--parallel", "1")
    assert "OK" in done.stderr.splitlines()[-3:] or "\nOK" in done.stderr


@pytest.mark.promise("J02", "J06")
def test_sends_transactions_and_test_helpers_on_postgresql(tmp_path: Path, postgres: Postgres) -> None:
    databases = {"default": postgres.database(), "other": postgres.database()}
    done = Site(tmp_path, databases=databases).manage("test", "orders")
    assert "\nOK" in done.stderr
