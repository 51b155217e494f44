"""Contract of history: what settlements tell is counted and kept, found again, and goes when its time is over."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from talo.stores.base import Sighting, Store, Verdict
from talo.stores.history import History, RunQuery, RunRecord, bucket_of
from talo.testing.contract._support import ContractCase, death, end, eventually, message

__all__ = ["HistoryContract"]

#: A moment in the middle of an hour, so that what happens around it is in one minute and in one hour.
_NOW = time.time() // 3600 * 3600 + 1830 - 3600


def _run(id: str = "a", **fields: Any) -> RunRecord:
    usual = {"name": "t.add", "queue": "q", "state": "SUCCESS", "ended": _NOW, "seconds": 0.5, "waited": 0.25}
    return RunRecord(id=id, **{**usual, "keep": 86_400.0, "worker": "w@one", **fields})


def _failed(id: str, error: str = "ValueError: no", kind: str = "f1", **fields: Any) -> RunRecord:
    return _run(id, **{"state": "FAILURE", "error": error, "fingerprint": kind, "traceback": "Traceback", **fields})


def _ids(runs: Sequence[RunRecord]) -> list[str]:
    return [run.id for run in runs]


class HistoryContract(ContractCase):
    """What became of tasks is known later, whoever died meanwhile."""

    @pytest.fixture
    def history(self, store: Store) -> History:
        assert store.features.history
        assert store.history is not None
        return store.history

    def _settle(self, store: Store, *runs: RunRecord, owner: str = "me") -> None:
        """Let a message per run end with it."""
        store.broker.open(owner, worker="w", slots=1, lease=60)
        store.broker.send([message() for _ in runs])
        deliveries = store.broker.turn([], owner, ["q"], len(runs)).deliveries
        store.broker.turn([end(each, run=run) for each, run in zip(deliveries, runs, strict=True)], owner, ["q"], 0)

    def test_a_run_is_read_as_it_was_settled(self, store: Store, other: Store) -> None:
        run = _failed("a", attempt=2, sent=_NOW - 2.5, root="r", parent="p", group="g", dead="failed", args="(1,)")
        self._settle(store, run)
        assert other.history is not None
        assert other.history.attempts("a") == [run]
        assert other.history.runs(RunQuery(), 10).runs == [run]

    def test_what_is_only_counted_is_not_kept(self, store: Store, history: History) -> None:
        self._settle(store, _run("a", keep=None))
        assert history.runs(RunQuery(), 10).runs == []
        assert [each.count for each in history.counters(_NOW - 60, _NOW + 60, 60)] == [1]

    def test_a_refused_settlement_is_neither_counted_nor_kept(self, store: Store, history: History) -> None:
        # Given three settlements, of which one is refused because its delivery was settled before
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message() for _ in range(3)])
        first, second, third = store.broker.turn([], "me", ["q"], 3).deliveries
        store.broker.settle([end(second)])
        runs = [_run("a", seconds=0.5), _run("b", seconds=0.5, waited=0.001), _run("c", seconds=4.0)]
        batch = [end(each, run=run) for each, run in zip((first, second, third), runs, strict=True)]
        # When they are settled together, and once more because the answer was lost
        assert store.broker.turn(batch, "me", ["q"], 0).refused == [second.lease]
        assert len(store.broker.turn(batch, "me", ["q"], 0).refused) == 3
        # Then what was accepted is there once
        assert sorted(_ids(history.runs(RunQuery(), 10).runs)) == ["a", "c"]
        [count] = history.counters(_NOW, _NOW + 60, 60)
        assert (count.count, count.seconds, count.waited) == (2, 4.5, 0.5)
        assert count.run_buckets == {bucket_of(0.5): 1, bucket_of(4.0): 1}
        assert count.wait_buckets == {bucket_of(0.25): 2}

    def test_a_settlement_of_any_verdict_tells_its_run(self, store: Store, history: History) -> None:
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message() for _ in range(2)])
        again, dead = store.broker.turn([], "me", ["q"], 2).deliveries
        store.broker.settle(
            [
                end(again, Verdict.AGAIN, delay=60.0, charge=True, run=_run("a", state="LOST", seconds=None)),
                end(dead, Verdict.DEAD, death=death(dead), run=_failed("b", dead="failed")),
            ]
        )
        assert sorted(_ids(history.runs(RunQuery(), 10).runs)) == ["a", "b"]

    def test_counters_are_summed_by_period_task_queue_and_state(self, store: Store, history: History) -> None:
        minute = _NOW // 60 * 60
        self._settle(
            store,
            _run("a", ended=minute + 1, seconds=0.1),
            _run("b", ended=minute + 2, seconds=None, waited=None, state="REVOKED"),
            _run("c", ended=minute + 61, seconds=0.3, queue="other"),
            _run("d", ended=minute + 62, seconds=0.3, name="t.mul"),
        )
        self._settle(store, _run("e", ended=minute + 3, seconds=0.2))

        def counted(step: int, **only: str) -> list[tuple[float, str, str, str, int]]:
            found = history.counters(minute - 1800, minute + 120, step, **only)
            return [(each.start - minute, each.name, each.queue, each.state, each.count) for each in found]

        assert counted(60) == [
            (0, "t.add", "q", "REVOKED", 1),
            (0, "t.add", "q", "SUCCESS", 2),
            (60, "t.add", "other", "SUCCESS", 1),
            (60, "t.mul", "q", "SUCCESS", 1),
        ]
        assert [each[1:] for each in counted(3600, name="t.add")] == [
            ("t.add", "other", "SUCCESS", 1),
            ("t.add", "q", "REVOKED", 1),
            ("t.add", "q", "SUCCESS", 2),
        ]
        assert [each[1:3] for each in counted(60, queue="other")] == [("t.add", "other")]
        [revoked] = [each for each in history.counters(minute, minute + 60, 60) if each.state == "REVOKED"]
        assert (revoked.seconds, revoked.run_buckets, revoked.wait_buckets) == (0.0, {}, {})

    def test_hours_are_there_when_minutes_are_gone(self, store: Store, history: History) -> None:
        old = _NOW - 5 * 86_400
        self._settle(store, _run("a", ended=old), _run("b", ended=old + 1))
        while history.trim(100, 100) == 100:
            pass
        assert [each.count for each in history.counters(old - 3600, old + 3600, 3600)] == [2]
        assert history.counters(old - 3600, old + 3600, 60) == []

    def test_the_newest_comes_first_and_in_pages(self, store: Store, history: History) -> None:
        for start in range(0, 25, 5):
            self._settle(store, *(_run(str(n), ended=_NOW + n) for n in range(start, start + 5)))
        found: list[str] = []
        page = history.runs(RunQuery(), 7)
        found += _ids(page.runs)
        while page.cursor is not None:
            page = history.runs(RunQuery(), 7, page.cursor)
            found += _ids(page.runs)
        assert found == [str(n) for n in reversed(range(25))]

    def test_successes_and_failures_come_in_one_order(self, store: Store, history: History) -> None:
        self._settle(store, *((_failed if n % 3 else _run)(str(n), ended=_NOW + n) for n in range(12)))
        found: list[str] = []
        cursor = None
        while True:
            page = history.runs(RunQuery(), 5, cursor)
            found += _ids(page.runs)
            if (cursor := page.cursor) is None:
                break
        assert found == [str(n) for n in reversed(range(12))]

    def test_runs_are_found_by_everything_that_is_asked_for(self, store: Store, history: History) -> None:
        self._settle(
            store,
            _run("a", root="a"),
            _run("b", name="t.mul", queue="other", root="a", args="(7, 'Zoë')", ended=_NOW + 10),
            _failed("c", worker="w@two", kwargs="{'order': 7}", ended=_NOW + 20),
            _failed("d", error="KeyError: 'A%_b'", kind="f2", state="RETRY", ended=_NOW + 30),
        )
        cases: list[tuple[dict[str, Any], list[str]]] = [
            ({"name": "t.mul"}, ["b"]),
            ({"queue": "q"}, ["d", "c", "a"]),
            ({"worker": "w@two"}, ["c"]),
            ({"states": ["SUCCESS"]}, ["b", "a"]),
            ({"states": ["FAILURE", "RETRY"]}, ["d", "c"]),
            ({"states": ["REVOKED"]}, []),
            ({"fingerprint": "f1"}, ["c"]),
            ({"text": "a%_B"}, ["d"]),
            ({"text": "error"}, ["d", "c"]),
            ({"text": "a%"}, ["d"]),
            ({"text": "%%"}, []),
            ({"argument": "7"}, ["c", "b"]),
            ({"argument": "zoë"}, []),
            ({"argument": "Zoë"}, ["b"]),
            ({"argument": "'order': 7", "name": "t.add", "since": _NOW + 15}, ["c"]),
            # Records say this, but in no argument.
            ({"argument": "t.mul"}, []),
            ({"id": "c"}, ["c"]),
            ({"root": "a"}, ["b", "a"]),
            ({"since": _NOW + 10, "until": _NOW + 30}, ["c", "b"]),
            ({"name": "t.add", "queue": "q", "states": ["FAILURE"], "worker": "w@two", "text": "no"}, ["c"]),
            ({"name": "t.add", "states": ["FAILURE"], "worker": "w@one"}, []),
        ]
        for asked, expected in cases:
            query = RunQuery(**asked)
            assert _ids(history.runs(query, 10).runs) == expected, asked
            assert sum(history.count(query).values()) == len(expected), asked
        assert history.count(RunQuery()) == {"SUCCESS": 2, "FAILURE": 1, "RETRY": 1}
        assert history.count(RunQuery(name="t.add")) == {"SUCCESS": 1, "FAILURE": 1, "RETRY": 1}

    def test_attempts_stand_in_their_order(self, store: Store, history: History) -> None:
        for attempt, state in enumerate(("RETRY", "LOST", "SUCCESS")):
            self._settle(store, _run("a", attempt=attempt, state=state, ended=_NOW + attempt))
        assert [(run.attempt, run.state) for run in history.attempts("a")] == [
            (0, "RETRY"),
            (1, "LOST"),
            (2, "SUCCESS"),
        ]
        assert history.attempts("b") == []

    def test_failures_are_grouped(self, store: Store, history: History) -> None:
        self._settle(
            store,
            _failed("old", ended=_NOW - 100),
            _failed("a", ended=_NOW),
            _failed("b", kind="f2", name="t.mul", error="KeyError: 1", ended=_NOW + 1),
            _failed("c", ended=_NOW + 2, error="ValueError: newest"),
            _run("d", ended=_NOW + 3),
        )
        first, second = history.failures(_NOW - 50, 10)
        assert (first.fingerprint, first.count, first.first, first.last) == ("f1", 2, _NOW, _NOW + 2)
        assert (first.example.error, second.name, second.count) == ("ValueError: newest", "t.mul", 1)
        assert [each.fingerprint for each in history.failures(_NOW - 50, 1)] == ["f1"]

    def test_what_is_forgotten_is_gone_and_stays_counted(self, store: Store, history: History) -> None:
        self._settle(store, _run("a"), _failed("b"), _run("c", name="t.mul"))
        assert history.forget(RunQuery(argument="t.mul")) == 0
        assert history.forget(RunQuery(argument="nobody")) == 0
        assert history.forget(RunQuery(name="t.add")) == 2
        assert _ids(history.runs(RunQuery(), 10).runs) == ["c"]
        assert history.count(RunQuery()) == {"SUCCESS": 1}
        assert history.attempts("b") == []
        assert history.failures(0.0, 10) == []
        assert sum(each.count for each in history.counters(_NOW, _NOW + 60, 60)) == 3
        assert history.forget(RunQuery(name="t.add")) == 0

    def test_each_kind_goes_when_its_own_time_is_over(self, store: Store, history: History) -> None:
        now = time.time()
        self._settle(store, _run("short", keep=0.05, ended=now), _failed("long", ended=now))

        def only_the_long_one() -> None:
            history.trim(1000, 1000)
            assert _ids(history.runs(RunQuery(), 10).runs) == ["long"]

        eventually(only_the_long_one)

    def test_what_is_recorded_twice_is_kept_once(self, history: History) -> None:
        runs = [_run("a"), _failed("b"), _run("c", keep=None)]
        history.record(runs)
        history.record(runs[:2])
        assert sorted(_ids(history.runs(RunQuery(), 10).runs)) == ["a", "b"]

    def test_nothing_that_reads_changes_a_delivery(self, store: Store, history: History) -> None:
        # Given a leased message and a waiting one
        store.broker.open("me", worker="w", slots=1, lease=60)
        store.broker.send([message(body="1"), message(body="2")])
        [held] = store.broker.turn([], "me", ["q"], 1).deliveries
        before = store.broker.stats(["q"])[0]
        # When everything is read
        history.runs(RunQuery(text="x"), 5)
        history.count(RunQuery())
        history.failures(0, 5)
        history.counters(0, time.time(), 3600)
        store.broker.peek("q", 10)
        # Then nothing has moved
        after = store.broker.stats(["q"])[0]
        assert (before.ready, before.leased) == (after.ready, after.leased) == (1, 1)
        assert store.broker.held("me")[0].lease == held.lease

    def test_what_waits_is_listed_and_its_age_is_known(self, store: Store) -> None:
        assert store.features.peek
        now = time.time()
        urgent, late = message(body="9", priority=9), message(body="late", due=now + 600)
        first, second = message(body="1"), message(body="2")
        first.headers["talo-sent"], second.headers["talo-sent"] = now - 50, now - 40
        store.broker.send([first, second, urgent, late, message(body="later", due=now + 900)])
        assert [each.body for each in store.broker.peek("q", 10)] == [b"9", b"1", b"2"]
        assert [each.body for each in store.broker.peek("q", 2)] == [b"9", b"1"]
        assert [each.body for each in store.broker.peek("q", 1, 1)] == [b"1"]
        assert [each.body for each in store.broker.peek("q", 5, 2)] == [b"2"]
        assert store.broker.peek("q", 5, 3) == []
        delayed = store.broker.peek("q", 10, delayed=True)
        assert [each.body for each in delayed] == [b"late", b"later"]
        assert delayed[0].due is not None and abs(delayed[0].due - now - 600) < 1
        assert store.broker.peek("q", 10, 1, delayed=True)[0].body == b"later"
        assert store.broker.peek("nowhere", 10) == []
        # Of all queues what is delayed is listed by when it falls due
        store.broker.send([message("other", "soon", due=now + 300), message("other", "last", due=now + 1200)])
        assert [each.body for each in store.broker.peek(None, 3, delayed=True)] == [b"soon", b"late", b"later"]
        assert [each.body for each in store.broker.peek(None, 3, 3, delayed=True)] == [b"last"]
        # And those of a task, or a workflow, without reading the others
        about = message(body="mine")
        about.headers["root_id"] = "r-1"
        store.broker.send([about])
        assert [each.body for each in store.broker.peek("q", 10, about="r-1")] == [b"mine"]
        assert store.broker.peek("q", 2, about="r-1") == store.broker.peek("q", 10, delayed=True, about="r-1") == []
        [stats] = store.broker.stats(["q"])
        assert stats.oldest is not None and 49 < stats.oldest < 120

    def test_the_message_of_a_task_is_found_with_what_stands_before_it(self, store: Store) -> None:
        # Given what waits in two queues, of two priorities, and what is delayed, one of them in a workflow of another
        urgent, first, last = message(priority=9), message(), message()
        elsewhere, delayed = message(queue="other"), message(queue="other", due=time.time() + 600)
        child = message()
        child.headers["root_id"] = last.id
        store.broker.send([first, child, last, elsewhere, delayed, message(due=time.time() + 300), urgent])
        before = store.broker.stats()
        # When each is looked for
        found = {each.id: store.broker.find(str(each.id), 10) for each in (urgent, child, last, elsewhere, delayed)}
        # Then it is found where it is
        assert [each.message and each.message.id for each in found.values()] == list(found)
        assert [each.ahead for each in found.values()] == [0, 2, 3, 0, 0]
        assert [id for id, each in found.items() if each.message and each.message.due is not None] == [delayed.id]
        # And what is not there is not, or may stand further back than the look went
        assert store.broker.find("nobody", 10) == Sighting()
        assert store.broker.find(str(last.id), 3) == Sighting(beyond=1)
        assert store.broker.stats() == before
