"""Contract of the bus: everyone who listens hears, in order; nothing is kept for others."""

from __future__ import annotations

import select

from talo.stores.base import Store, Subscription
from talo.testing.contract._support import ContractCase

__all__ = ["BusContract"]

#: Much longer than any message takes.
LONG = 20.0


def _all(ear: Subscription, count: int) -> list[tuple[str, bytes] | None]:
    return [ear.get(LONG) for _ in range(count)]


class BusContract(ContractCase):
    """Says to all that listen what is said from now on."""

    def test_who_listens_hears(self, store: Store, other: Store) -> None:
        ears = [store.bus.subscribe(["news"]), other.bus.subscribe(["news"]), other.bus.subscribe(["news", "more"])]
        store.bus.publish("news", b"\x00\xff")
        assert [ear.get(LONG) for ear in ears] == [("news", b"\x00\xff")] * 3
        for ear in ears:
            ear.close()

    def test_what_was_said_before_is_not_heard(self, store: Store, other: Store) -> None:
        other.bus.publish("news", b"before")
        ear = store.bus.subscribe(["news"])
        other.bus.publish("news", b"after")
        assert ear.get(LONG) == ("news", b"after")
        ear.close()

    def test_other_channels_are_not_heard(self, store: Store) -> None:
        ear = store.bus.subscribe(["a", "c ü/1"])
        for channel in ("a", "b", "c ü/1"):
            store.bus.publish(channel, channel.encode())
        assert _all(ear, 2) == [("a", b"a"), ("c ü/1", "c ü/1".encode())]
        assert ear.get(0.05) is None
        ear.close()

    def test_the_order_is_kept(self, store: Store, other: Store) -> None:
        ear = store.bus.subscribe(["news"])
        for n in range(100):
            other.bus.publish("news", str(n).encode())
        assert _all(ear, 100) == [("news", str(n).encode()) for n in range(100)]
        ear.close()

    def test_silence_ends_when_the_time_is_over(self, store: Store) -> None:
        ear = store.bus.subscribe(["news"])
        assert ear.get(0) is None
        assert ear.get(0.05) is None
        ear.close()

    def test_a_descriptor_says_that_something_came(self, store: Store, other: Store) -> None:
        ear = store.bus.subscribe(["news"])
        assert ear.get(0) is None
        other.bus.publish("news", b"x")
        if ear.fileno() >= 0:
            assert select.select([ear.fileno()], [], [], LONG)[0]
        assert ear.get(LONG) == ("news", b"x")
        ear.close()

    def test_who_has_closed_hears_nothing_and_disturbs_nobody(self, store: Store, other: Store) -> None:
        gone, here = store.bus.subscribe(["news"]), store.bus.subscribe(["news"])
        gone.close()
        gone.close()
        other.bus.publish("news", b"x")
        assert here.get(LONG) == ("news", b"x")
        here.close()

    def test_large_payloads_come_whole(self, store: Store) -> None:
        ear = store.bus.subscribe(["news"])
        store.bus.publish("news", b"x" * 1_000_000)
        assert ear.get(LONG) == ("news", b"x" * 1_000_000)
        ear.close()
