"""Contract of the store object: one place, many threads, and a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable

from talo.stores.base import Store
from talo.testing.contract._support import ContractCase, Place, bodies, document, end, eventually, message, race

__all__ = ["ForkContract", "ProcessContract"]


class ProcessContract(ContractCase):
    """A store object is shared by threads, and stands for one place."""

    def test_a_store_can_be_reached(self, store: Store) -> None:
        store.ping(5)
        assert store.features.name
        assert store.url

    def test_two_store_objects_on_one_place_are_the_same(self, store: Store, other: Store) -> None:
        assert store.same_as(store)
        assert store.same_as(other)
        assert other.same_as(store)

    def test_closing_is_legal_at_any_time_and_the_store_can_be_used_again(self, place: Place, store: Store) -> None:
        place.open().close()
        second = place.open()
        second.broker.send([message(body="kept")])
        second.close()
        second.close()
        second.broker.open("me", worker="w", slots=1, lease=30)
        assert bodies(second.broker.turn([], "me", ["q"], 1)) == ["kept"]
        assert len(store.broker.held("me")) == 1

    def test_threads_share_one_store_object(self, store: Store) -> None:
        # Given eight threads that send, and eight that turn
        def send(n: int) -> Callable[[], list[str]]:
            def run() -> list[str]:
                for k in range(20):
                    store.broker.send([message(body=f"{n}.{k}")])
                return []

            return run

        def work(n: int) -> Callable[[], list[str]]:
            def run() -> list[str]:
                owner, found = f"owner{n}", list[str]()
                store.broker.open(owner, worker="w", slots=1, lease=60)
                deliveries = store.broker.turn([], owner, ["q"], 4).deliveries
                while deliveries or store.broker.wait(["q"], 0.3):
                    found += bodies(deliveries)
                    settlements = [
                        end(each, result=document(body))
                        for each, body in zip(deliveries, bodies(deliveries), strict=True)
                    ]
                    deliveries = store.broker.turn(settlements, owner, ["q"], 4).deliveries
                return found

            return run

        # When all work at once
        found = [body for each in race([send(n) for n in range(8)] + [work(n) for n in range(8)]) for body in each]

        # Then each message was fetched once, and each result is there
        store.broker.open("rest", worker="w", slots=1, lease=60)
        found += bodies(store.broker.turn([], "rest", ["q"], 1000))
        assert sorted(found) == sorted(f"{n}.{k}" for n in range(8) for k in range(20))


class ForkContract(ContractCase):
    """For stores that other processes can reach: a child opens its own."""

    def test_a_forked_child_opens_its_own_store(self, place: Place, store: Store) -> None:
        # Given a store that is in use here
        store.broker.open("me", worker="w", slots=1, lease=30)
        store.broker.send([message(body="of the parent")])
        # When a child that was forked opens its own
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                mine = place.open()
                mine.broker.send([message(body="of the child")])
                mine.close()
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        # Then both work
        assert os.waitstatus_to_exitcode(status) == 0

        def both() -> None:
            assert bodies(store.broker.turn([], "me", ["q"], 2)) == ["of the parent", "of the child"]

        eventually(both)
