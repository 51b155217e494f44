"""Contract of rescheduling: what waits can be given another time, and of this and a fetch exactly one is first."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest

from talo.stores.base import Store, Verdict
from talo.testing.contract._support import ContractCase, Place, bodies, end, eventually, message, race
from talo.testing.contract.waiting import LONG, Waiter
from talo.wire.sent import ready_since

__all__ = ["ReschedulingContract"]

FAR = 3600.0


class ReschedulingContract(ContractCase):
    """For stores whose features say so (``Features.reschedules``)."""

    def test_a_delayed_task_may_be_due_now(self, store: Store, other: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message(id="a", body="mine", due=time.time() + FAR), message(due=time.time() + FAR)])
        assert other.broker.reschedule(["a"], time.time()) == {"a"}
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["mine"]

    def test_a_delayed_task_may_be_due_earlier_or_later(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        now = time.time()
        store.broker.send([message(id=name, due=now + FAR) for name in ("a", "b", "c")])
        store.broker.reschedule(["a"], now + 2 * FAR)
        store.broker.reschedule(["b"], now + FAR / 2)
        assert store.broker.turn([], "me", ["q"], 10).next_due == pytest.approx(now + FAR / 2, abs=0.1)
        assert store.broker.stats(["q"])[0].delayed == 3

    def test_a_ready_task_may_be_put_off(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message(body="1"), message(id="a", body="2"), message(body="3")])
        assert store.broker.reschedule(["a"], time.time() + FAR) == {"a"}
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["1", "3"]
        assert store.broker.stats(["q"])[0].delayed == 1
        assert store.broker.reschedule(["a"], time.time()) == {"a"}
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["2"]

    def test_a_ready_task_that_is_to_be_ready_keeps_its_place(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message(id=name, body=name) for name in "abc"])
        assert store.broker.reschedule(["a", "b"], time.time() - 1) == {"a", "b"}
        assert bodies(store.broker.turn([], "me", ["q"], 10)) == ["a", "b", "c"]

    def test_what_is_leased_or_ended_or_unknown_is_left_alone(self, store: Store, other: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message(id="leased"), message(id="ended"), message(id="dead")])
        leased, ended, dead = store.broker.turn([], "me", ["q"], 3).deliveries
        store.broker.settle([end(ended), end(dead, Verdict.DEAD)])
        # When they are given another time, then nothing happens, and who asked is told
        assert other.broker.reschedule(["leased", "ended", "dead", "unknown"], time.time() + FAR) == set()
        assert [(each.ready, each.delayed, each.leased) for each in store.broker.stats(["q"])] == [(0, 0, 1)]
        assert store.broker.settle([end(leased)]) == []
        assert len(store.broker.dead()) == 1

    def test_all_else_about_a_message_stays(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        # Given a message that was charged, and waits for its next attempt
        sent = message(id="a", body=b"\x00\xff", priority=3, exchange="ex")
        sent.headers |= {"retries": 2, "expires": "2099-01-01T00:00:00+00:00", "own": {"deep": [1, "\u00fc", None]}}
        sent.properties["reply_to"] = "somewhere"
        store.broker.send([sent])
        [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
        store.broker.settle([end(delivery, Verdict.AGAIN, delay=FAR, charge=True, suspect=True)])
        # When it is given another time, twice
        due = time.time()
        assert store.broker.reschedule(["a"], due + FAR) == {"a"}
        assert store.broker.reschedule(["a"], due) == {"a"}
        # Then it comes as it was, and says since when it could have come
        [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
        assert delivery.message is not None
        got = delivery.message
        assert (got.queue, got.body, got.priority, got.exchange) == ("q", sent.body, 3, "ex")
        assert {**got.headers, "eta": None} == {**sent.headers, "eta": None}
        assert {key: got.properties[key] for key in sent.properties} == sent.properties
        assert ready_since(got) == pytest.approx(due, abs=0.001)
        assert (delivery.deliveries, delivery.suspect) == (1, True)

    @pytest.mark.parametrize(
        "name", ["with space", "\u00fc-\u6f22\u5b57-\U0001f96c", "per%cent:colon", "'quote\"", "back\\slash"]
    )
    def test_any_text_is_an_id(self, store: Store, name: str) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message(name, id=name, due=time.time() + FAR), message(id="other", due=time.time() + FAR)])
        assert store.broker.reschedule([name], time.time()) == {name}
        assert len(store.broker.turn([], "me", [name], 10).deliveries) == 1
        assert store.broker.reschedule(["other"], time.time()) == {"other"}

    def test_many_tasks_at_once(self, store: Store) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        # Given tasks of several queues and priorities, delayed ones and ready ones
        names = [str(n) for n in range(1500)]
        far = time.time() + FAR
        store.broker.send(
            [message(f"q{n % 3}", id=each, due=far if n % 2 else None, priority=n % 10) for n, each in enumerate(names)]
        )
        assert store.broker.reschedule(names[::5], time.time() + 2 * FAR) == set(names[::5])
        assert sum(each.delayed or 0 for each in store.broker.stats()) == 750 + 150
        assert store.broker.reschedule([*names, "unknown"], time.time()) == set(names)
        found: list[str | None] = []
        while turn := store.broker.turn([], "me", ["q0", "q1", "q2"], 500).deliveries:
            found += [each.message.id for each in turn if each.message is not None]
        assert sorted(found, key=str) == sorted(names)

    def test_an_earlier_time_wakes_who_waits(self, store: Store, other: Store) -> None:
        other.broker.send([message(id="a", body="mine", due=time.time() + FAR)])
        waiter = Waiter(store, ["q"])
        assert other.broker.reschedule(["a"], time.time() + 0.2) == {"a"}
        assert waiter.woken() == ["mine"]

    def test_a_purged_task_is_not_found(self, store: Store) -> None:
        store.broker.send([message(id="a", due=time.time() + FAR), message("r", id="b", due=time.time() + FAR)])
        store.broker.purge(["q"])
        assert store.broker.reschedule(["a", "b"], time.time()) == {"b"}

    def test_a_prefix_leaves_other_queues_alone(self, store: Store) -> None:
        far = time.time() + FAR
        store.broker.send([message("own/q", id="a", due=far), message("q", id="b", due=far), message("q", id="c")])
        assert store.broker.reschedule(["a", "b", "c"], far + FAR, prefix="own/") == {"a"}
        numbers = {each.name: (each.ready, each.delayed) for each in store.broker.stats()}
        assert numbers == {"own/q": (0, 1), "q": (1, 1)}

    def test_of_a_fetch_and_another_time_one_is_first(self, place: Place) -> None:
        # Given tasks about to fall due, some that fetch, and some that give them other times all along
        names = [str(n) for n in range(200)]
        stores = [place.open() for _ in range(4)]
        stores[0].broker.send([message(id=each, due=time.time() + random.uniform(0.0, 1.0)) for each in names])
        until = time.time() + 2.0
        fetched: Counter[str] = Counter()

        def fetch(store: Store, owner: str) -> set[str]:
            store.broker.open(owner, worker="w", slots=1, lease=60)
            mine: set[str] = set()
            while time.time() < until:
                for each in store.broker.turn([], owner, ["q"], 5).deliveries:
                    assert each.message is not None
                    mine.add(str(each.message.id))
                    fetched[str(each.message.id)] += 1
                    assert store.broker.settle([end(each)]) == []
            return mine

        def move(store: Store) -> set[str]:
            missed: set[str] = set()
            while time.time() < until:
                some = random.sample(names, 20)
                missed |= set(some) - store.broker.reschedule(some, time.time() + random.uniform(-0.1, 0.5))
            return missed

        runners = [lambda s=stores[0]: fetch(s, "a"), lambda s=stores[1]: fetch(s, "b")]
        movers = [lambda s=each: move(s) for each in stores[2:]]
        answers = race([*runners, *movers])
        assert len(answers) == 4
        # Then each comes once: what is left is what still waits
        stores[0].broker.reschedule(names, time.time())

        def all_came() -> None:
            for each in stores[0].broker.turn([], "a", ["q"], 200).deliveries:
                assert each.message is not None
                fetched[str(each.message.id)] += 1
            assert len(fetched) == len(names)

        eventually(all_came, LONG)
        assert set(fetched.values()) == {1}
