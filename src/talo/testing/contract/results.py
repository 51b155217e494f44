"""Contract of the result backend: kept until they expire, and told to who waits."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from talo.stores.base import Store
from talo.testing.contract._support import ContractCase, document, end, eventually, message, race

__all__ = ["ResultContract"]

#: Much longer than any answer takes.
LONG = 20.0


class ResultContract(ContractCase):
    """A result is there for everybody, from the end of its task until it expires."""

    def test_what_is_stored_is_found(self, store: Store, other: Store) -> None:
        first, second = document("a", value={"x": [1, "ü"]}), document("b/ü x", "STARTED", expires=None)
        store.results.store([first, second])
        assert other.results.get(["a", "b/ü x", "unknown"]) == {"a": first.payload, "b/ü x": second.payload}
        assert other.results.get([]) == {}
        store.results.store([])

    def test_the_latest_state_counts(self, store: Store) -> None:
        for status in ("STARTED", "RETRY", "FAILURE", "SUCCESS"):
            meta = document("a", status)
            store.results.store([meta])
            assert store.results.get(["a"]) == {"a": meta.payload}

    @pytest.mark.parametrize("status", ["PENDING", "STARTED", "RETRY", "FAILURE", "REVOKED", "OWN"])
    def test_success_is_never_replaced_by_another_state(self, store: Store, other: Store, status: str) -> None:
        success = document("a", value=1)
        store.results.store([success])
        other.results.store([document("a", status)])
        assert store.results.get(["a"]) == {"a": success.payload}

    def test_success_is_not_replaced_within_one_batch(self, store: Store) -> None:
        success = document("a", value=1)
        store.results.store([success, document("a", "FAILURE")])
        assert store.results.get(["a"]) == {"a": success.payload}

    def test_success_may_replace_success(self, store: Store) -> None:
        store.results.store([document("a", value=1)])
        second = document("a", value=2)
        store.results.store([second])
        assert store.results.get(["a"]) == {"a": second.payload}

    def test_a_settlement_does_not_replace_a_success(self, store: Store) -> None:
        success = document("a", value=1)
        store.results.store([success])
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message()])
        [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
        assert store.broker.settle([end(delivery, result=document("a", "FAILURE"))]) == []
        assert store.results.get(["a"]) == {"a": success.payload}

    def test_large_results_come_back_whole(self, store: Store) -> None:
        large = document("a", value="x" * 5_000_000)
        store.results.store([large])
        assert store.results.get(["a"]) == {"a": large.payload}

    def test_many_are_one_batch(self, store: Store) -> None:
        store.results.store([document(f"t{n}") for n in range(1000)])
        assert len(store.results.get([f"t{n}" for n in range(1200)])) == 1000

    @pytest.mark.promise("R03")
    def test_they_expire(self, store: Store) -> None:
        store.results.store(
            [document("short", expires=0.05), document("long", expires=60), document("ever", expires=None)]
        )

        def only_the_short_one_is_gone() -> None:
            assert set(store.results.get(["short", "long", "ever"])) == {"long", "ever"}

        eventually(only_the_short_one_is_gone)
        store.results.cleanup(100)
        assert set(store.results.get(["short", "long", "ever"])) == {"long", "ever"}
        assert store.results.cleanup(100) == 0

    def test_an_expired_success_stands_in_nobodys_way(self, store: Store) -> None:
        store.results.store([document("a", expires=0.05)])

        def gone() -> None:
            assert store.results.get(["a"]) == {}

        eventually(gone)
        failure = document("a", "FAILURE")
        store.results.store([failure])
        assert store.results.get(["a"]) == {"a": failure.payload}

    def test_cleanup_is_bounded(self, store: Store) -> None:
        store.results.store([document(f"t{n}", expires=0.05) for n in range(20)])

        def gone() -> None:
            assert store.results.get([f"t{n}" for n in range(20)]) == {}

        eventually(gone)
        assert store.results.cleanup(5) <= 5
        while store.results.cleanup(5):
            pass
        assert store.results.cleanup(5) == 0

    def test_forgotten_ones_are_gone(self, store: Store, other: Store) -> None:
        store.results.store([document("a"), document("b")])
        other.results.forget(["a", "unknown"])
        assert set(store.results.get(["a", "b"])) == {"b"}

    def test_a_forgotten_success_stands_in_nobodys_way(self, store: Store) -> None:
        store.results.store([document("a")])
        store.results.forget(["a"])
        store.results.store([document("a", "STARTED")])
        assert set(store.results.get(["a"])) == {"a"}

    def test_groups_are_kept_and_forgotten(self, store: Store, other: Store) -> None:
        store.results.store_group("g ü/1", b"first", 60)
        store.results.store_group("g ü/1", b"second", None)
        store.results.store_group("short", b"x", 0.05)
        assert other.results.get_group("g ü/1") == b"second"
        assert other.results.get_group("unknown") is None

        def expired() -> None:
            assert store.results.get_group("short") is None

        eventually(expired)
        other.results.forget_group("g ü/1")
        assert store.results.get_group("g ü/1") is None
        other.results.forget_group("unknown")

    def test_a_group_and_a_result_of_one_id_are_two_things(self, store: Store) -> None:
        result = document("same")
        store.results.store([result])
        store.results.store_group("same", b"group", 60)
        store.results.forget_group("same")
        assert store.results.get(["same"]) == {"same": result.payload}

    def test_waiting_for_what_is_there_ends_at_once(self, store: Store) -> None:
        done, failed = document("a"), document("b", "FAILURE")
        store.results.store([done, failed, document("c", "STARTED")])
        assert store.results.wait(["a", "b", "c", "d"], LONG) == {"a": done.payload, "b": failed.payload}

    def test_waiting_ends_with_the_first_that_is_ready(self, store: Store, other: Store) -> None:
        # Given a thread that waits for one of many
        answers: list[dict[str, bytes]] = []
        thread = threading.Thread(target=lambda: answers.append(store.results.wait([f"t{n}" for n in range(50)], LONG)))
        thread.start()
        # When one is ready, after states that are not
        ready = document("t7", "REVOKED")
        other.results.store([document("t3", "STARTED"), document("unasked")])
        other.results.store([ready])
        # Then the wait ends with it
        thread.join(LONG + 5)
        assert answers == [{"t7": ready.payload}]

    def test_waiting_ends_with_a_settlement(self, store: Store, other: Store) -> None:
        answers: list[dict[str, bytes]] = []
        thread = threading.Thread(target=lambda: answers.append(store.results.wait(["t"], LONG)))
        thread.start()
        other.broker.open("me", worker="w", slots=1, lease=30)
        other.broker.send([message()])
        [delivery] = other.broker.turn([], "me", ["q"], 1).deliveries
        ready = document("t", value=42)
        other.broker.turn([end(delivery, result=ready)], "me", ["q"], 1)
        thread.join(LONG + 5)
        assert answers == [{"t": ready.payload}]

    def test_waiting_for_what_the_same_store_object_stores_ends(self, store: Store) -> None:
        answers: list[dict[str, bytes]] = []
        thread = threading.Thread(target=lambda: answers.append(store.results.wait(["t"], None)), daemon=True)
        thread.start()
        ready = document("t")
        store.results.store([ready])
        thread.join(LONG)
        assert answers == [{"t": ready.payload}]

    @pytest.mark.parametrize("timeout", [0.0, 0.1])
    def test_waiting_for_nothing_ends_when_its_time_is_over(self, store: Store, timeout: float) -> None:
        store.results.store([document("t", "STARTED")])
        assert store.results.wait(["t", "u"], timeout) == {}

    @pytest.mark.promise("R02")
    def test_many_threads_wait_at_once(self, store: Store, other: Store) -> None:
        # Given 40 threads that each wait for one result after the other
        def wait(n: int) -> Callable[[], list[str]]:
            return lambda: [next(iter(store.results.wait([f"t{n}-{k}"], LONG))) for k in range(5)]

        def produce() -> list[str]:
            for k in range(5):
                for n in range(40):
                    other.results.store([document(f"t{n}-{k}")])
            return []

        # When another process stores them
        answers = race([wait(n) for n in range(40)] + [produce])
        # Then every one gets its own
        assert sorted(name for each in answers for name in each) == sorted(
            f"t{n}-{k}" for n in range(40) for k in range(5)
        )

    def test_a_watch_tells_each_result_once(self, store: Store, other: Store) -> None:
        # Given a watch on results that are there, that will come, and that never do
        told: list[tuple[str, bytes]] = []
        here, later = document("here"), document("later", "FAILURE")
        store.results.store([here])
        watch = store.results.watch(
            ["here", "later", "never"], lambda task_id, payload: told.append((task_id, payload))
        )
        # When the later comes
        other.results.store([document("later", "STARTED")])
        other.results.store([later])

        # Then each was told
        def both() -> None:
            assert sorted(told) == [("here", here.payload), ("later", later.payload)]

        eventually(both)
        # And a state that comes after it is not
        other.results.store([document("later", "FAILURE", 2)])
        assert store.results.wait(["here"], LONG)
        both()
        watch.cancel()
        watch.cancel()

    def test_a_cancelled_watch_is_silent(self, store: Store) -> None:
        told: list[str] = []
        cancelled = store.results.watch(["t"], lambda task_id, _: told.append(f"cancelled {task_id}"))
        kept = store.results.watch(["t"], lambda task_id, _: told.append(f"kept {task_id}"))
        cancelled.cancel()
        store.results.store([document("t")])

        def told_to_the_other() -> None:
            assert told == ["kept t"]

        eventually(told_to_the_other)
        kept.cancel()

    def test_a_watcher_that_raises_harms_no_other(self, store: Store) -> None:
        told: list[str] = []

        def bad(task_id: str, payload: bytes) -> None:
            raise RuntimeError(f"no use for {task_id} of {len(payload)} bytes")

        store.results.watch(["t"], bad)
        store.results.watch(["t", "u"], lambda task_id, _: told.append(task_id))
        store.results.store([document("t")])
        store.results.store([document("u")])

        def told_all() -> None:
            assert sorted(told) == ["t", "u"]

        eventually(told_all)
