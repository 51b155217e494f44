"""What the SQS store sends by itself is in the ledger before it goes out: what completes a group, what was shelved."""

from __future__ import annotations

import time

from talo.stores.base import Delivery, GroupPart, GroupRecord, Store
from talo.stores.noted import NotedBroker
from talo.stores.schedules import Change, Plan
from talo.testing.contract._support import end, message
from tests.support import eventually
from tests.unit.sqs.conftest import OpenStore


def noted(open_store: OpenStore, side: Store) -> NotedBroker:
    store = open_store(side)
    assert store.ledger is not None
    broker = NotedBroker(store, store.ledger, lambda _: False)
    broker.open("me", worker="w@host", slots=1, lease=30)
    return broker


def known(broker: NotedBroker, *task_ids: str) -> list[str | None]:
    """The worker that has each of these; empty: it waits; None: nobody knows of it."""
    found = [broker.find(each, 1) for each in task_ids]
    return [None if each.message is None else each.holder.worker if each.holder else "" for each in found]


def test_what_completes_a_group_is_known_while_it_waits(open_store: OpenStore, side: Store) -> None:
    broker = noted(open_store, side)
    side.results.open_groups([GroupRecord(id="g", size=1, then=message(id="body"))])
    broker.send([message(id="member")])
    [delivery] = eventually(lambda: _fetched(broker))
    part = GroupPart(group="g", member="member", index=0, payload=b"{}")
    broker.settle([end(delivery, part=part, follow=[message(id="next")])])
    assert known(broker, "member", "body", "next") == [None, "", ""]


def test_what_a_schedule_sent_is_known_when_the_shelf_gives_it(open_store: OpenStore, side: Store) -> None:
    store = open_store(side)
    assert store.ledger is not None
    broker = NotedBroker(store, store.ledger, lambda _: False)
    assert store.schedules is not None
    plan = Plan(name="p", definition=b"{}", since=1.0)
    store.schedules.change("s", [Change(name="p", version=0, plan=plan, messages=[message(id="tick")])])

    def carried() -> None:
        store.broker.shelf.look(now=True)  # type: ignore[union-attr]
        assert known(broker, "tick") == [""]

    eventually(carried, 30)


def test_a_purge_reaches_in_the_ledger_what_it_reaches_in_sqs(open_store: OpenStore, side: Store) -> None:
    broker = noted(open_store, side)
    now = time.time()
    broker.send([message(id="ready"), message(id="soon", due=now + 600), message(id="late", due=now + 5000)])
    broker.purge(["q"])
    assert known(broker, "ready", "soon", "late") == [None, "", None]


def _fetched(broker: NotedBroker) -> list[Delivery]:
    found = broker.turn([], "me", ["q"], 1).deliveries
    assert found
    return found
