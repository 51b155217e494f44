"""Contract of schedules: a plan moves from version to version, once, with everything that the step means."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from talo.stores.base import Store
from talo.stores.schedules import Change, Plan, Run, Schedules
from talo.testing.contract._support import ContractCase, Place, bodies, message, race

__all__ = ["ScheduleContract"]


def _plan(name: str = "p", **fields: Any) -> Plan:
    return Plan(name=name, **{"definition": b'{"task": "t"}', "since": 1.5, **fields})


class ScheduleContract(ContractCase):
    """Any number of schedulers may run."""

    @pytest.fixture
    def schedules(self, store: Store) -> Schedules:
        assert store.features.schedules
        assert store.schedules is not None
        return store.schedules

    def _add(self, schedules: Schedules, *plans: Plan, space: str = "s") -> list[int]:
        versions = schedules.change(space, [Change(name=each.name, version=0, plan=each) for each in plans])
        assert all(versions)
        return versions

    def test_a_plan_is_read_as_it_was_written(self, schedules: Schedules, other: Store) -> None:
        plan = _plan("näme/1 x", enabled=False, source="dynamic", last_due=2.25, total=3, running=[("id", 4.5)])
        [version] = self._add(schedules, plan)
        assert other.schedules is not None
        found = other.schedules.read("s")
        plan.version = version
        assert (found.changed, found.removed, found.complete, found.version) == ([plan], [], True, version)
        assert abs(found.now - time.time()) < 60

    def test_spaces_know_nothing_of_each_other(self, schedules: Schedules) -> None:
        self._add(schedules, _plan("a"), space="one")
        self._add(schedules, _plan("a"), _plan("b"), space="two")
        assert [each.name for each in schedules.read("one").changed] == ["a"]
        assert schedules.read("none").changed == []

    def test_what_exists_is_not_created_again(self, schedules: Schedules) -> None:
        self._add(schedules, _plan())
        assert schedules.change("s", [Change(name="p", version=0, plan=_plan(total=9))]) == [0]
        assert schedules.read("s").changed[0].total == 0

    def test_a_change_from_an_old_version_does_nothing(self, schedules: Schedules, store: Store) -> None:
        # Given a plan that somebody has changed since it was read
        [first] = self._add(schedules, _plan())
        [second] = schedules.change("s", [Change(name="p", version=first, plan=_plan(total=1))])
        # When someone comes with the old version
        run = Run(due=1.0, fate="ran", at=1.0)
        stale = Change(name="p", version=first, plan=_plan(total=2), runs=[run], messages=[message()])
        # Then it is refused, and nothing of it has happened
        assert schedules.change("s", [stale]) == [0]
        assert second > first
        assert [each.total for each in schedules.read("s").changed] == [1]
        assert schedules.runs("s", "p", 10) == []
        assert sum(each.ready for each in store.broker.stats(["q"])) == 0

    def test_plan_runs_and_messages_are_one_step(self, schedules: Schedules, store: Store) -> None:
        versions = self._add(schedules, _plan("a"), _plan("b"))
        runs = [
            Run(due=1.0, fate="missed", at=9.0, count=3, until=3.0),
            Run(due=4.0, fate="ran", at=9.0, task_id="t1"),
        ]
        changes = [
            Change(name="a", version=versions[0], plan=_plan("a", total=1), runs=runs, messages=[message(body="x")]),
            Change(name="b", version=versions[0], plan=None, messages=[message(body="never")]),
        ]
        done, refused = schedules.change("s", changes)
        assert done
        assert not refused
        assert schedules.runs("s", "a", 10) == runs[::-1]
        assert schedules.runs("s", "a", 1) == [runs[1]]
        store.broker.open("me", worker="w", slots=1, lease=30)
        assert bodies(store.broker.turn([], "me", ["q"], 9)) == ["x"]

    def test_nothing_happens_before_its_time_by_the_clock_of_the_store(self, schedules: Schedules) -> None:
        [version] = self._add(schedules, _plan())
        early = Change(name="p", version=version, plan=_plan(total=1), not_before=time.time() + 60)
        assert schedules.change("s", [early]) == [0]
        early.not_before = time.time() - 60
        assert schedules.change("s", [early]) > [0]

    def test_a_look_brings_what_changed_since_the_last(self, schedules: Schedules, other: Store) -> None:
        assert other.schedules is not None
        versions = self._add(schedules, *(_plan(name) for name in "abc"))
        seen = other.schedules.read("s")
        nothing = other.schedules.read("s", seen.version)
        assert (nothing.changed, nothing.removed, nothing.complete) == ([], [], False)
        assert nothing.version == seen.version
        # When one is changed and one removed
        schedules.change("s", [Change(name="a", version=versions[0], plan=_plan("a", total=5))])
        schedules.change("s", [Change(name="b", version=versions[1], plan=None)])
        # Then just that is told, once
        changes = other.schedules.read("s", seen.version)
        assert [(each.name, each.total) for each in changes.changed] == [("a", 5)]
        assert (changes.removed, changes.complete) == (["b"], False)
        assert other.schedules.read("s", changes.version).removed == []
        assert sorted(each.name for each in other.schedules.read("s").changed) == ["a", "c"]

    def test_what_was_removed_can_come_again(self, schedules: Schedules) -> None:
        [version] = self._add(schedules, _plan())
        seen = schedules.read("s").version
        schedules.change(
            "s", [Change(name="p", version=version, plan=_plan(), runs=[Run(due=1.0, fate="ran", at=1.0)])]
        )
        version = schedules.read("s").changed[0].version
        assert schedules.change("s", [Change(name="p", version=version, plan=None)]) > [0]
        assert schedules.change("s", [Change(name="p", version=version, plan=None)]) == [0]
        self._add(schedules, _plan(total=7))
        changes = schedules.read("s", seen)
        assert ([each.total for each in changes.changed], changes.removed) == ([7], [])
        assert schedules.runs("s", "p", 10) == []

    def test_who_has_not_looked_for_long_is_told_everything(self, schedules: Schedules) -> None:
        # Given a reader, and more removals after its look than a store remembers
        self._add(schedules, _plan("stays"))
        seen = schedules.read("s").version
        for _ in range(5):
            names = [f"gone{n}" for n in range(400)]
            versions = self._add(schedules, *(_plan(name) for name in names))
            schedules.change(
                "s", [Change(name=name, version=v, plan=None) for name, v in zip(names, versions, strict=True)]
            )
            names = [f"else{n}" for n in range(400)]
            versions = self._add(schedules, *(_plan(name) for name in names))
            schedules.change(
                "s", [Change(name=name, version=v, plan=None) for name, v in zip(names, versions, strict=True)]
            )
        # Then either every removal is told or everything is
        changes = schedules.read("s", seen)
        if changes.complete:
            assert [each.name for each in changes.changed] == ["stays"]
        else:
            assert len(changes.removed) == 800
        assert not schedules.read("s", changes.version).complete

    def test_the_ledger_is_bounded(self, schedules: Schedules) -> None:
        [version] = self._add(schedules, _plan())
        for batch in range(5):
            runs = [Run(due=float(batch * 100 + n), fate="ran", at=0.0) for n in range(100)]
            [version] = schedules.change("s", [Change(name="p", version=version, plan=_plan(), runs=runs)])
        kept = schedules.runs("s", "p", 1000)
        assert 100 <= len(kept) < 500
        assert [run.due for run in kept[:2]] == [499.0, 498.0]

    @pytest.mark.promise("S01")
    def test_of_many_who_race_for_a_tick_one_sends(self, place: Place, store: Store) -> None:
        # Given many schedulers that all know the same version
        stores = [place.open() for _ in range(8)]
        assert store.schedules is not None
        [version] = self._add(store.schedules, _plan())
        wins: list[int] = []
        guard = threading.Lock()

        def tick(n: int) -> Callable[[], bool]:
            def run() -> bool:
                schedules = stores[n].schedules
                assert schedules is not None
                change = Change(
                    name="p",
                    version=version,
                    plan=_plan(total=1),
                    runs=[Run(due=1.0, fate="ran", at=1.0)],
                    messages=[message(body=str(n))],
                )
                [won] = schedules.change("s", [change])
                if won:
                    with guard:
                        wins.append(n)
                return bool(won)

            return run

        # When all of them claim the tick
        answers = race([tick(n) for n in range(8)])
        # Then one has, and one message is there
        assert sorted(answers) == [False] * 7 + [True]
        store.broker.open("me", worker="w", slots=1, lease=30)
        assert bodies(store.broker.turn([], "me", ["q"], 9)) == [str(wins[0])]
        assert len(store.schedules.runs("s", "p", 9)) == 1

    def test_many_plans_are_one_batch(self, schedules: Schedules) -> None:
        self._add(schedules, *(_plan(f"p{n}") for n in range(1200)))
        assert len(schedules.read("s").changed) == 1200
