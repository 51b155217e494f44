"""A send is bound to its transaction, whatever dies: rollback no run, commit exactly one."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.kit import HANGS, LONG, for_seconds, full
from tests.django.postgres import Postgres
from tests.django.site import Site
from tests.support import eventually

SETTINGS = {"TALO_OUTBOX": True, "TALO_OUTBOX_LEASE": 1.5, "TALO_PUBLISH_TIMEOUT": 1.0}
#: Die by SIGKILL instead of doing what is named.
DIE = """
import os, signal
from unittest import mock
def die(*args, **kwargs): os.kill(os.getpid(), signal.SIGKILL)
"""
SEND = """
from django.db import transaction
from orders.models import Note, Order
from orders.tasks import note
with transaction.atomic():
    order = Order.objects.create(what="x")
    note.delay(order.pk)
print(json.dumps(None))
"""
#: Orders, runs, runs that saw their order, orders that were run, messages on their way.
COUNT = """
SELECT (SELECT count(*) FROM orders_order), (SELECT count(*) FROM orders_note),
       (SELECT count(*) FROM orders_note WHERE seen), (SELECT count(DISTINCT "order") FROM orders_note),
       (SELECT count(*) FROM talo_django_outbox)
"""
SENDER = """
import random, sys
from django.db import transaction
from orders.models import Order
from orders.tasks import note
class Back(Exception): pass
def send(rollback):
    try:
        with transaction.atomic():
            order = Order.objects.create(what="x")
            note.delay(order.pk)
            if rollback: raise Back
    except Back: pass
for n in range(int(sys.argv[1])): send(n % 4 == 3)
print(json.dumps(None))
"""


@pytest.fixture(params=["sqlite", "postgresql and redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """The project with the outbox, on databases that claim rows in different ways, and on two brokers."""
    databases: dict[str, Any] | None = None
    broker: str | None = None
    if request.param != "sqlite":
        server: Postgres = request.getfixturevalue("postgres")
        databases, broker = {"default": server.database()}, request.getfixturevalue("redis_url")
    site = Site(tmp_path, databases=databases, settings=SETTINGS, broker=broker)
    site.migrate()
    return site


def counts(site: Site) -> list[int]:
    return list(site.query(COUNT)[0])


def each_run_once(site: Site) -> None:
    """Wait until every order was run and nothing is on its way; then each was run once, and had been there."""
    orders = counts(site)[0]

    def all_there() -> None:
        found = counts(site)
        assert found[3] >= orders and found[4] == 0, found

    eventually(all_there, timeout=LONG, interval=0.1)
    assert counts(site) == [orders, orders, orders, orders, 0]


def killed(site: Site, code: str) -> None:
    with pytest.raises(AssertionError, match=r": -9\n"):
        site.python(code)


@pytest.mark.promise("J01")
def test_a_sender_that_is_killed_around_the_publishing_has_sent_once(place: Site) -> None:
    # Given one that dies between COMMIT and publish, and one that dies between publish and the end of its row
    killed(place, DIE + "from talo.app._put import Put\nPut.__init__ = die\n" + SEND)
    assert counts(place) == [1, 0, 0, 0, 1]
    killed(place, DIE + "from django.db.models import QuerySet\nQuerySet.delete = die\n" + SEND)
    assert counts(place) == [2, 0, 0, 0, 2]
    # And one that dies before COMMIT
    killed(place, DIE + SEND.replace("note.delay(order.pk)", "note.delay(order.pk); die()"))
    # When a worker comes
    with place.worker("-c", "2") as worker:
        # Then each of the two was run once, and saw its row
        each_run_once(place)
        eventually(lambda: _assert_in("Discarding a second copy of orders.tasks.note", worker.output()), timeout=20)
        assert worker.stop() == 0


def _assert_in(part: str, whole: str) -> None:
    assert part in whole, whole


@pytest.mark.promise("J01")
def test_senders_that_are_killed_at_random_lose_and_repeat_nothing(place: Site) -> None:
    dice = random.Random(7)
    with place.worker("-c", "2") as worker:
        for _ in range(4):
            sender = subprocess.Popen(
                [sys.executable, "-c", "import json, django; django.setup()\n" + SENDER, "100000"],
                cwd=place.directory,
                env=place.env,
            )
            began = counts(place)[0]
            eventually(lambda began=began: _more_than(place, began), timeout=30)
            for_seconds(dice.uniform(0, 0.3))
            sender.send_signal(signal.SIGKILL)
            sender.wait(10)
        each_run_once(place)
        assert worker.stop() == 0


def _more_than(site: Site, count: int) -> None:
    assert counts(site)[0] > count


@pytest.mark.promise("J01")
@pytest.mark.timeout(HANGS)
def test_every_commit_has_its_run_and_no_rollback_has(tmp_path: Path) -> None:
    number = full(13_336, 200)
    # Given no outbox: nobody dies here
    site = Site(tmp_path)
    site.migrate()
    with site.worker("-c", "2") as worker:
        site.run("-c", "import json, django; django.setup()\n" + SENDER, str(number), timeout=1000)
        assert counts(site)[0] == number * 3 // 4
        each_run_once(site)
        assert worker.stop() == 0


def test_a_broker_that_is_away_at_the_commit_is_made_up_for(place: Site) -> None:
    # Given a broker that does not take the message, which the sender is not bothered with
    said = place.python(
        "from unittest import mock\nfrom talo.app._put import Put\nfrom talo.errors import PublishTimeout\n"
        "Put.__init__ = mock.Mock(side_effect=PublishTimeout('away'))\n" + SEND
    )
    assert said is None
    # Then a worker's relay sends it
    with place.worker() as worker:
        each_run_once(place)
        assert worker.stop() == 0
    assert "Published orders.tasks.note" in worker.output()


def test_relays_side_by_side_publish_each_row_once(place: Site) -> None:
    # Given claims that last however slow the machine is, and rows whose sender is dead
    place.env["SHOP_SETTINGS"] = json.dumps({**SETTINGS, "TALO_OUTBOX_LEASE": 60.0})
    place.python(
        "import time\nfrom talo.django import outbox\nfrom talo.django.models import OutboxMessage\n"
        "from unittest import mock\nfrom talo.app._put import Put\nfrom talo.errors import PublishTimeout\n"
        "Put.__init__ = mock.Mock(side_effect=PublishTimeout('away'))\n"
        + SEND
        + "with transaction.atomic():\n    for n in range(300): note.delay(order.pk)\n"
        "OutboxMessage.objects.update(claimed_until=0)\n"
    )
    # When four relays of two processes look at the same time
    relay = (
        "import threading\nfrom django.apps import apps\nfrom django.db import connections\n"
        "from talo.django import outbox\napp = apps.get_app_config('talo_django').app\ncounts = []\n"
        "def look():\n"
        "    while (n := outbox.publish_free(app, 'default')): counts.append(n)\n"
        "    connections.close_all()\n"
        "threads = [threading.Thread(target=look) for _ in range(2)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(json.dumps(sum(counts)))"
    )
    others = [
        subprocess.Popen(
            [sys.executable, "-c", "import json, django; django.setup()\n" + relay],
            cwd=place.directory, env=place.env, stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    published = [int(other.communicate(timeout=60)[0]) for other in others]
    # Then each row was published by one
    assert sum(published) == 301
    assert counts(place)[4] == 0
    ready = "from talo import current_app as app\nprint(json.dumps(sum(q.ready for q in app.store.broker.stats())))"
    assert place.python(ready) == 301
