"""Contract of locks and marks: one holder, and everything expires."""

from __future__ import annotations

from collections.abc import Callable

from talo.stores.base import Store
from talo.testing.contract._support import ContractCase, Place, eventually, race

__all__ = ["LockContract"]


class LockContract(ContractCase):
    """Short-lived facts that all processes agree on."""

    def test_one_holds_a_lock(self, store: Store, other: Store) -> None:
        assert store.locks.acquire("l ü/1", "a", 60) is True
        assert other.locks.acquire("l ü/1", "b", 60) is False
        assert other.locks.acquire("another", "b", 60) is True

    def test_the_holder_extends_it(self, store: Store) -> None:
        assert store.locks.acquire("l", "a", 0.05) is True
        assert store.locks.acquire("l", "a", 60) is True

        def still_held() -> None:
            assert store.locks.acquire("short", "b", 0.05) is True

        eventually(still_held)
        assert store.locks.acquire("l", "b", 60) is False

    def test_only_the_holder_gives_it_back(self, store: Store, other: Store) -> None:
        store.locks.acquire("l", "a", 60)
        assert other.locks.release("l", "b") is False
        assert other.locks.release("never", "b") is False
        assert store.locks.release("l", "a") is True
        assert store.locks.release("l", "a") is False
        assert other.locks.acquire("l", "b", 60) is True

    def test_a_lock_expires(self, store: Store, other: Store) -> None:
        store.locks.acquire("l", "a", 0.05)

        def free() -> None:
            assert other.locks.acquire("l", "b", 60) is True

        eventually(free)
        assert store.locks.release("l", "a") is False
        assert store.locks.acquire("l", "a", 60) is False

    def test_of_many_one_gets_it(self, place: Place) -> None:
        stores = [place.open() for _ in range(12)]

        def acquire(n: int) -> Callable[[], bool]:
            return lambda: stores[n].locks.acquire("l", f"holder{n}", 60)

        assert sorted(race([acquire(n) for n in range(12)])) == [False] * 11 + [True]

    def test_marks_are_seen_by_all(self, store: Store, other: Store) -> None:
        store.locks.mark("revoked", {"a": 60, "b ü/1": 60})
        store.locks.mark("else", {"c": 60})
        assert other.locks.marked("revoked", ["a", "b ü/1", "c"]) == {"a", "b ü/1"}
        assert other.locks.all_marked("revoked") == {"a", "b ü/1"}
        assert other.locks.all_marked("never") == set()
        assert other.locks.marked("revoked", []) == set()
        store.locks.mark("revoked", {})

    def test_marks_are_taken_away(self, store: Store, other: Store) -> None:
        store.locks.mark("revoked", {"a": 60, "b": 60})
        other.locks.unmark("revoked", ["a", "never"])
        assert store.locks.all_marked("revoked") == {"b"}

    def test_marks_expire_each_at_its_time(self, store: Store) -> None:
        store.locks.mark("revoked", {"short": 0.05, "long": 60})

        def short_is_gone() -> None:
            assert store.locks.marked("revoked", ["short", "long"]) == {"long"}
            assert store.locks.all_marked("revoked") == {"long"}

        eventually(short_is_gone)

    def test_marking_again_sets_the_time_anew(self, store: Store) -> None:
        store.locks.mark("revoked", {"a": 0.05})
        store.locks.mark("revoked", {"a": 60, "witness": 0.05})

        def witness_is_gone() -> None:
            assert store.locks.all_marked("revoked") == {"a"}

        eventually(witness_is_gone)

    def test_many_marks_are_one_batch(self, store: Store) -> None:
        store.locks.mark("revoked", {f"t{n}": 60 for n in range(2000)})
        assert len(store.locks.marked("revoked", [f"t{n}" for n in range(0, 4000, 2)])) == 1000
