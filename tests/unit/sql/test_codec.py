"""What cannot be written is refused before anything of its batch is."""

from __future__ import annotations

import pytest

from talo.errors import EncodeError, MessageTooLarge
from talo.stores.base import Settlement
from talo.stores.sql import _codec
from talo.stores.url import open_store
from talo.testing.contract._support import message


@pytest.mark.parametrize("value", [object(), 2**70, {1, object()}], ids=["object", "huge", "set"])
def test_headers_that_cannot_be_written_are_refused(value: object) -> None:
    store = open_store("memory://refused")
    bad = message()
    bad.headers["own"] = value
    with pytest.raises(EncodeError, match=f"headers or properties of task {bad.id} cannot be written"):
        store.broker.send([message(), bad])
    assert store.broker.stats() == []


def test_a_settlement_that_cannot_be_written_leaves_its_lease() -> None:
    store = open_store("memory://lease")
    store.broker.open("me", worker="w", slots=1, lease=30)
    store.broker.send([message()])
    [delivery] = store.broker.turn([], "me", ["q"], 1).deliveries
    bad = message()
    bad.headers["own"] = object()
    with pytest.raises(EncodeError):
        store.broker.turn([Settlement(lease=delivery.lease, follow=[bad])], "me", ["q"], 1)
    assert [each.lease for each in store.broker.held("me")] == [delivery.lease]


@pytest.mark.promise("B08")
def test_a_message_that_is_too_large_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_codec, "MAX_MESSAGE", 1000)
    store = open_store("memory://large")
    with pytest.raises(MessageTooLarge, match="exceeds the 1000 bytes that the SQL store takes") as caught:
        store.broker.send([message(), message(body=b"x" * 1001)])
    assert caught.value.size > 1001
    assert store.broker.stats() == []
