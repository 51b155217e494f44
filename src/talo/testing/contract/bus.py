"""Contract of the bus: everyone who listens hears, in order; nothing is kept for others."""

from __future__ import annotations

import select
import uuid

from talo.stores.base import Post, Store, Subscription
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

    def test_an_exchange_reaches_whoever_hears_its_key(self, store: Store, other: Store) -> None:
        name = uuid.uuid4().hex
        with (
            store.bus.hear(f"fan.{name}", "fanout", [], queue=f"1.{name}") as fan,
            store.bus.hear(f"topic.{name}", "topic", ["task.*", "worker.#"], queue=f"2.{name}") as topic,
            store.bus.hear(f"direct.{name}", "direct", ["me"], queue=f"3.{name}") as direct,
        ):
            other.bus.post([Post(exchange=f"fan.{name}", kind="fanout", key=key, body=b"1") for key in ("", "a.b")])
            keys = ("task.sent", "job.sent", "task.a.b", "worker", "worker.x.y")
            other.bus.post([Post(exchange=f"topic.{name}", kind="topic", key=key) for key in keys])
            post = Post(
                exchange=f"direct.{name}",
                kind="direct",
                key="me",
                body=b"\x00{}",
                headers={"clock": 7},
                properties={"correlation_id": "c"},
            )
            other.bus.post([Post(exchange=f"direct.{name}", kind="direct", key="you"), post])
            assert [it.body for it in (fan.get(LONG), fan.get(LONG)) if it] == [b"1", b"1"]
            assert [it.key for it in (topic.get(LONG) for _ in range(3)) if it] == ["task.sent", "worker", "worker.x.y"]
            heard = direct.get(LONG)
            assert heard is not None
            assert (heard.key, heard.body, heard.headers["clock"]) == ("me", b"\x00{}", 7)
            assert heard.properties["correlation_id"] == "c"
