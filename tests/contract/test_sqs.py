"""The SQS store passes the contract, an SQLite file at its side, on the stand-in of the other tests and on moto."""

from __future__ import annotations

import base64
import itertools
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from talo.errors import ImproperlyConfigured, MessageTooLarge, NotSupported
from talo.stores.base import Delivery, GroupPart, GroupRecord, Store, Verdict
from talo.stores.history import History, RunQuery
from talo.stores.sqs import SqsStore, broker
from talo.stores.url import open_store
from talo.testing.contract import ForkContract, HistoryContract, RawContract, ScheduleContract, StoreContract
from talo.testing.contract._support import bodies, end, eventually, message, race

_tests = itertools.count()


class SqsPlace:
    """Queues under a prefix of this test's own."""

    def __init__(self, endpoint: str, directory: Path) -> None:
        self.options: dict[str, Any] = {
            "region": "us-east-1",
            "endpoint_url": endpoint,
            "queue_name_prefix": f"t{next(_tests)}-{uuid.uuid4().hex[:8]}-",
            "ledger": str(directory / "ledger.sqlite3"),
        }
        self._side = f"sqlite:///{directory}/side.sqlite3"
        self.opened: list[Any] = []

    def open(self, **options: Any) -> SqsStore:
        side = open_store(self._side)
        store = SqsStore("sqs://key:secret@", side=side, **{"timeout": 20, **self.options, **options})
        self.opened += [store, side]
        return store

    def push_raw(self, queue: str, raw: bytes) -> None:
        store = self.opened[0]
        found = store._queues.get(queue)
        found.client.send_message(QueueUrl=found.url, MessageBody=base64.b64encode(raw).decode())

    def close(self) -> None:
        for store in self.opened:
            store.close()


class TestSqs(StoreContract, ScheduleContract, HistoryContract, RawContract, ForkContract):
    @pytest.fixture(autouse=True)
    def visible_late(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No visibility ends meanwhile, however long moto takes: what SQS may have given to others is nobody's to take
        over (``unit/sqs/test_leases``). Owners end as everywhere."""
        monkeypatch.setattr(broker, "_LEAST", 120)

    @pytest.fixture(params=["sqs", "moto"])
    def place(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqsPlace]:
        place = SqsPlace(request.getfixturevalue(f"{request.param}_endpoint"), tmp_path)
        yield place
        place.close()

    # What SQS promises otherwise: no order, no priorities, whole seconds, its own limits and no view of what it delays.

    def test_again_is_the_next_to_be_fetched(self, store: Store) -> None:
        """It comes back, as a new delivery charged nothing, but SQS has no head of a queue to put it at."""
        [delivery] = _fetch(store)
        store.broker.send([message(body="waiting")])
        [again] = [
            each
            for each in store.broker.turn([end(delivery, Verdict.AGAIN)], "me", ["q"], 10).deliveries
            if each.message == delivery.message
        ]
        assert again.lease.token > delivery.lease.token
        assert (again.deliveries, again.suspect) == (0, False)

    def test_a_batch_given_back_keeps_its_order(self, store: Store) -> None:
        """All of it comes back."""
        deliveries = _fetch(store, 5)
        store.broker.settle([end(each, Verdict.AGAIN) for each in deliveries])
        assert sorted(bodies(store.broker.turn([], "me", ["q"], 10))) == ["0", "1", "2", "3", "4"]

    def test_what_is_given_back_last_comes_first(self, store: Store) -> None:
        """In a FIFO queue what is given back keeps its place."""
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message("q.fifo", str(n)) for n in range(3)])
        first = store.broker.turn([], "me", ["q.fifo"], 3).deliveries
        store.broker.settle([end(each, Verdict.AGAIN) for each in reversed(first)])
        assert bodies(first) == bodies(store.broker.turn([], "me", ["q.fifo"], 3)) == ["0", "1", "2"]

    def test_again_after_a_delay_is_never_early(self, store: Store) -> None:
        """It is never early, but at a whole second, and SQS does not tell when."""
        [delivery] = _fetch(store)
        began = time.time()
        store.broker.turn([end(delivery, Verdict.AGAIN, delay=0.3)], "me", ["q"], 1)
        assert _later(store) == ["0"]
        assert time.time() >= began + 0.298

    def test_a_thousand_messages_are_one_batch(self, store: Store) -> None:
        """Many messages are sent and received in batches of ten, several at once, and each comes: SQS, and moto, may
        give one out twice."""
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message(body=str(n)) for n in range(120)])
        found: list[str] = []
        while turn := store.broker.turn([], "me", ["q"], 256).deliveries:
            found += bodies(turn)
        assert sorted(set(found), key=int) == [str(n) for n in range(120)]

    def test_the_oldest_comes_first(self, store: Store, other: Store) -> None:
        """In a FIFO queue; elsewhere SQS promises no order, and it is received from several times at once."""
        store.broker.open("me", worker="w", slots=1, lease=30)
        sent = [f"{n}.{k}" for n in range(3) for k in range(3)]
        for n in range(3):
            (store if n % 2 else other).broker.send([message("q.fifo", f"{n}.{k}") for k in range(3)])
        assert bodies(store.broker.turn([], "me", ["q.fifo"], 10)) == sent
        other.broker.send([message(body=body) for body in sent * 3])
        assert set(bodies(store.broker.turn([], "me", ["q"], 100))) == set(sent)

    @pytest.mark.promise("B08")
    def test_large_bodies_come_back_whole(self, store: Store) -> None:
        """Up to the limit of the queue; more is refused with both sizes, and nothing of the batch is sent."""
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body=b"x" * 100_000)])
        [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
        assert delivery.message is not None
        assert len(delivery.message.body) == 100_000
        store.broker.settle([end(delivery)])
        with pytest.raises(MessageTooLarge, match="queue q takes") as refused:
            store.broker.send([message(body="small"), message(body=b"x" * 5_000_000)])
        assert refused.value.size > 5_000_000
        assert refused.value.limit in (262_144, 1_048_576)
        assert store.broker.stats(["q"])[0].ready == 0

    @pytest.mark.parametrize("name", ["with space", "a/b/c", "ü-ñ-漢字-🥬", "per%cent:colon", "'quote\"", "x" * 50])
    def test_any_text_is_a_queue_a_task_and_an_id(self, store: Store, name: str) -> None:
        """As far as SQS has names for it: 80 characters."""
        super().test_any_text_is_a_queue_a_task_and_an_id(store, name)
        with pytest.raises(ImproperlyConfigured, match="80"):
            store.broker.send([message("x" * 81)])

    @pytest.mark.parametrize("order", ["high-first"])
    def test_the_more_urgent_comes_first(self, place: SqsPlace, order: str) -> None:  # type: ignore[override]
        """There are no priorities, the features say so, and a store that is asked for an order refuses."""
        assert not place.open().features.priorities
        with pytest.raises(ImproperlyConfigured, match="priority_order"):
            place.open(priority_order=order)

    def test_queues_share_evenly(self, store: Store) -> None:
        """As everywhere, with less work than elsewhere: every reception is an exchange of its own."""
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message("deep", "deep") for _ in range(40)] + [message("too", "too") for _ in range(40)])
        store.broker.send([message("little", "little") for _ in range(2)])
        found = [
            body
            for limit in [4] * 6 + [1] * 10
            for body in bodies(store.broker.turn([], "me", ["deep", "too", "little"], limit))
        ]
        assert found.count("little") == 2
        assert abs(found.count("deep") - found.count("too")) <= len(found) // 4

    def test_many_due_messages_all_come(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message(body=str(n), due=time.time() + 1) for n in range(60)])
        found: set[str] = set()

        def all_came() -> None:
            found.update(bodies(store.broker.turn([], "me", ["q"], 100)))
            assert len(found) == 60

        eventually(all_came, 30)

    def test_a_turn_says_when_the_next_task_falls_due(self, store: Store) -> None:
        """It does for what is on the shelf. SQS does not tell of its own, but ends the wait when it is due."""
        store.broker.open("me", worker="w", slots=1, lease=30)
        assert store.broker.turn([], "me", ["q"], 1).next_due is None
        soon = time.time() + 1800
        store.broker.send([message(due=soon + 60), message(due=soon), message(body="now")])

        def told() -> None:
            assert store.broker.turn([], "me", ["q"], 1).next_due == pytest.approx(soon, abs=0.1)

        store.broker.shelf.look(now=True)  # type: ignore[attr-defined]
        told()

    def test_purge_deletes_what_waits_and_leaves_what_is_leased(self, store: Store) -> None:
        """What SQS delays cannot be reached; what is ready or waits on the shelf goes."""
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message("a", str(n)) for n in range(5)] + [message("b", "kept")])
        store.broker.send([message("a", due=time.time() + 2000)])
        [leased] = store.broker.turn([], "me", ["a"], 1).deliveries
        assert store.broker.purge(["a", "unknown"]) == 5
        assert bodies(store.broker.turn([], "me", ["a", "b"], 10)) == ["kept"]
        assert store.broker.settle([end(leased)]) == []
        assert store.broker.purge(["a"]) == 0

    def test_what_waits_is_listed_and_its_age_is_known(self, store: Store) -> None:
        """SQS lists nothing: who asks is told so."""
        assert not store.features.peek
        with pytest.raises(NotSupported, match="cannot list"):
            store.broker.peek("q", 10)

    def test_the_message_of_a_task_is_found_with_what_stands_before_it(self, store: Store) -> None:
        """Nor is anything found."""
        with pytest.raises(NotSupported, match="cannot list"):
            store.broker.find("t", 10)

    def test_nothing_that_reads_changes_a_delivery(self, store: Store, history: History) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message(body="1"), message(body="2")])
        [held] = store.broker.turn([], "me", ["q"], 1).deliveries
        for read in (lambda: history.runs(RunQuery(text="x"), 5), lambda: history.failures(0, 5), store.broker.stats):
            read()
        [numbers] = store.broker.stats(["q"])
        assert (numbers.ready, numbers.leased) == (1, 1)
        assert store.broker.held("me")[0].lease == held.lease

    def test_threads_share_one_store_object(self, store: Store) -> None:
        """Each comes at least once: SQS promises no more, and moto now and then gives one out twice at a time."""
        sent = {f"{n}.{k}" for n in range(4) for k in range(10)}
        found: list[str] = []

        def send(n: int) -> None:
            for k in range(10):
                store.broker.send([message(body=f"{n}.{k}")])

        def work(n: int) -> None:
            store.broker.open(f"owner{n}", worker="w", slots=1, lease=60)
            deadline = time.monotonic() + 60
            while set(found) != sent and time.monotonic() < deadline:
                deliveries = store.broker.turn([], f"owner{n}", ["q"], 4).deliveries
                found.extend(bodies(deliveries))
                store.broker.settle([end(each) for each in deliveries])
                if not deliveries:
                    store.broker.wait(["q"], 0.2)

        race([partial(send, n) for n in range(4)] + [partial(work, n) for n in range(4)], timeout=90)
        assert set(found) == sent

    # Where the steps of an end are several, a repeated one may send a continuation again; its second end does nothing.

    def test_a_member_counts_once_however_often_it_ends(self, store: Store) -> None:
        self._complete_twice(store, store)

    def test_racing_members_send_the_continuation_once(self, store: Store, other: Store) -> None:
        self._complete_twice(store, other)

    def _complete_twice(self, store: Store, other: Store) -> None:
        store.results.open_groups([GroupRecord(id="g", size=2, then=message("q", "then"), plan=b"p", expires=60.0)])
        first, second, third = _fetch(store, 3)
        part = GroupPart(group="g", member="a", index=0, payload=b"{}")
        last = GroupPart(group="g", member="b", index=1, payload=b"{}")
        store.broker.settle([end(first, part=part)])
        race(
            [
                lambda: store.broker.settle([end(second, part=last)]),
                lambda: other.broker.settle([end(third, part=last)]),
            ]
        )
        continuations = store.broker.turn([], "me", ["q"], 10).deliveries
        assert bodies(continuations) in (["then"], ["then", "then"])
        for each in continuations:
            store.broker.settle([end(each, closes="g", follow=[message("q", "body")])])
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["body"]


def _fetch(store: Store, count: int = 1) -> list[Delivery]:
    store.broker.open("me", worker="w", slots=1, lease=30)
    store.broker.send([message(body=str(n)) for n in range(count)])
    deliveries = store.broker.turn([], "me", ["q"], count).deliveries
    assert len(deliveries) == count
    return deliveries


def _later(store: Store) -> list[str]:
    def came() -> list[str]:
        found = bodies(store.broker.turn([], "me", ["q"], 10))
        assert found
        return found

    return eventually(came, 20)
