"""The project's own tests, which use Talo's helpers for TestCase, pass: on SQLite and on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.django.postgres import Postgres
from tests.django.site import Site


@pytest.mark.promise("J02", "J06")
def test_sends_transactions_and_test_helpers_on_sqlite(tmp_path: Path) -> None:
    done = Site(tmp_path).manage("test", "orders")
    assert "\nOK" in done.stderr


@pytest.mark.promise("J02", "J06")
def test_sends_transactions_and_test_helpers_on_postgresql(tmp_path: Path, postgres: Postgres) -> None:
    databases = {"default": postgres.database(), "other": postgres.database()}
    done = Site(tmp_path, databases=databases).manage("test", "orders")
    assert "\nOK" in done.stderr


WITH_PYTEST = """
import pytest
from django.test import TestCase
from django.test.utils import setup_databases, teardown_databases
from django.db import connections
from orders.models import Note, Order
from orders.tasks import note

@pytest.fixture(scope="session", autouse=True)
def databases():
    made = setup_databases(0, False)
    yield
    teardown_databases(made, 0)

@pytest.mark.usefixtures("talo_worker")
class NoteTest(TestCase):
    def test_the_worker_sees_rows_that_were_never_committed(self):
        order = Order.objects.create(what="x")
        assert note.delay(order.pk).get(timeout=10) is True
        assert Note.objects.count() == 1

def test_the_rows_are_gone_and_the_connection_is_this_threads_again():
    assert Order.objects.count() == 0
    connections["default"].validate_thread_sharing()
    assert not connections["default"].allow_thread_sharing
"""


def test_the_fixtures_for_pytest_work_inside_a_test_transaction(tmp_path: Path, postgres: Postgres) -> None:
    site = Site(tmp_path, databases={"default": postgres.database()})
    (tmp_path / "test_notes.py").write_text(WITH_PYTEST)
    (tmp_path / "conftest.py").write_text("import django; django.setup()\n")
    done = site.run("-m", "pytest", "-q", "-p", "talo.testing.pytest_plugin", "-p", "no:cacheprovider")
    assert "2 passed" in done.stdout
