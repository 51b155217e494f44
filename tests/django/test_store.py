"""``django://``: tasks in the project's own database are part of its transactions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.django.postgres import Postgres
from tests.django.site import Site
from tests.support import eventually


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """The project with nothing but its database."""
    databases: dict[str, Any] | None = None
    if request.param != "sqlite":
        server: Postgres = request.getfixturevalue("postgres")
        databases = {"default": server.database()}
    site = Site(tmp_path, databases=databases, broker="django://default")
    site.migrate()
    return site


WITHIN = """
from django.db import transaction
from orders.models import Order
from orders.tasks import add, note, total
from talo import chord
from talo.django.worker_app import app
from talo.errors import EncodeError, UnsentTask

class Back(Exception): pass
ids = {}
waiting = lambda: app.store.broker.stats([app.conf.task_default_queue])[0].ready

try:
    with transaction.atomic():
        note.delay(Order.objects.create(what="lost").pk)
        chord([add.s(1, 1), add.s(2, 2)])(total.s())
        ids["seen inside"] = waiting()
        raise Back
except Back:
    ids["after the rollback"] = waiting()

with transaction.atomic():
    order = Order.objects.create(what="kept")
    ids["note"] = note.delay(order.pk).id
    try:
        with transaction.atomic():
            note.delay(order.pk)
            raise Back
    except Back:
        pass
    ids["chord"] = chord([add.s(1, 1), add.s(2, 2)])(total.s()).id
    try:
        app.AsyncResult(ids["note"]).get(timeout=5)
    except UnsentTask as error:
        ids["waited"] = str(error)
ids["after the commit"] = waiting()
print(json.dumps(ids))
"""
RESULTS = """
from talo.django.worker_app import app
print(json.dumps([app.AsyncResult(each).get(timeout=60) for each in {ids!r}]))
"""


@pytest.mark.promise("J01", "J02")
def test_a_send_is_part_of_the_transaction_on_the_same_database(place: Site) -> None:
    # When messages and a workflow are sent in a transaction that is rolled back, and in one that commits
    told = place.python(WITHIN)
    # Then the transaction sees its own sends, and nobody anything of what was rolled back
    assert (told["seen inside"], told["after the rollback"], told["after the commit"]) == (3, 0, 3)
    # And to wait inside for what is not sent yet is an error at once
    assert "it waits for the commit" in told["waited"]
    # And a worker on that database runs what was committed, once, with its row there
    with place.worker("-c", "2") as worker:
        assert place.python(RESULTS.format(ids=[told["note"], told["chord"]])) == [True, 6]
        assert worker.stop() == 0
    assert place.query("SELECT count(*), count(DISTINCT id) FROM orders_note")[0][0] == 1


KILLED = """
import os, signal
from django.db import transaction
from orders.models import Order
from orders.tasks import note
with transaction.atomic():
    note.delay(Order.objects.create(what="x").pk)
    {inside}
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.promise("J01")
@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_a_sender_that_is_killed_has_sent_what_it_committed(place: Site) -> None:
    for inside in ("os.kill(os.getpid(), signal.SIGKILL)", "pass"):
        with pytest.raises(AssertionError, match=r": -9\n"):
            place.python(KILLED.format(inside=inside))
    assert place.query("SELECT count(*) FROM orders_order")[0][0] == 1
    with place.worker("-c", "1") as worker:
        eventually(lambda: _notes(place, 1), timeout=60, interval=0.1)
        assert worker.stop() == 0
    _notes(place, 1)


def _notes(place: Site, number: int) -> None:
    assert place.query("SELECT count(*) FROM orders_note")[0][0] == number


TROUBLE = """
from django.db import transaction
from orders.models import Order
from orders.tasks import add, note
from talo.django.transactions import unbound
from talo.django.worker_app import app
from talo.errors import TaloError
told = []
with transaction.atomic():
    try:
        # What fails at the database in the middle of a send
        app.store.broker.push_raw(None, b"")
    except TaloError as error:
        told.append(type(error).__name__)
    Order.objects.create(what="x")
told.append(Order.objects.count())
with transaction.atomic():
    with unbound():
        add.delay(1, 2)
    transaction.set_rollback(True)
told.append(app.store.broker.stats([app.conf.task_default_queue])[0].ready)
print(json.dumps(told))
"""


def test_a_send_that_fails_leaves_the_transaction_whole_and_unbound_sends_go_out(place: Site) -> None:
    failed, orders, ready = place.python(TROUBLE)
    assert failed in ("StoreUnavailable", "StoreError")
    assert (orders, ready) == (1, 1)


def test_without_the_migration_it_says_what_to_run(tmp_path: Path) -> None:
    site = Site(tmp_path, broker="django://default")
    code = """
from django.db import transaction
from orders.tasks import add
from talo.errors import ImproperlyConfigured
told = []
for around in (lambda: transaction.atomic(), lambda: open("/dev/null")):
    try:
        with around():
            add.delay(1, 2)
    except ImproperlyConfigured as error:
        told.append(str(error))
print(json.dumps(told))
"""
    told = site.python(code)
    assert len(told) == 2
    assert all("run manage.py migrate --database default" in each for each in told)
    # And Talo's own way to make tables leads to Django's
    assert "run manage.py migrate" in site.manage("talo", "db", "migrate", check=False).stderr


def test_the_migration_goes_back_and_forth(place: Site) -> None:
    place.manage("migrate", "-v0", "talo_django", "0001")
    kept = place.python("from django.db import connection\nprint(json.dumps(connection.introspection.table_names()))")
    assert [name for name in kept if name.startswith("talo_")] == ["talo_django_outbox"]
    place.migrate()
    shown = place.manage("talo", "db", "status").stdout
    assert "pending" not in shown
    assert "CREATE TABLE talo_message" in place.manage("sqlmigrate", "talo_django", "0002").stdout


def test_an_in_memory_database_keeps_what_is_sent_inside_a_transaction_only(tmp_path: Path) -> None:
    databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    site = Site(tmp_path, databases=databases, broker="django://default")
    code = """
from django.core.management import call_command
from django.db import transaction
from orders.tasks import add
from talo.errors import ImproperlyConfigured
call_command("migrate", verbosity=0)
with transaction.atomic():
    add.delay(1, 2)
try:
    add.delay(1, 2)
except ImproperlyConfigured as error:
    print(json.dumps(str(error)))
"""
    assert "name a file, or use TaloTestMixin in tests" in site.python(code)
