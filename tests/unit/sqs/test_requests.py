"""What SQS is asked for, counted on the wire: it bills by the request, and takes ten messages in each."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from talo.stores.base import Settlement, Store, Verdict
from talo.testing.contract._support import end, message
from tests.servers.proxy import Proxy
from tests.unit.sqs.conftest import OpenStore

COUNT = 100


class Bill:
    """The requests that passed, by action."""

    def __init__(self, endpoint: str) -> None:
        self._counts: Counter[str] = Counter()
        self._port = urlsplit(endpoint).port or 80

    def through(self) -> Proxy:
        return Proxy("127.0.0.1", self._port, hear=self._hear)

    def _hear(self, data: bytes) -> None:
        self._counts.update(action.decode() for action in re.findall(rb"X-Amz-Target: AmazonSQS\.(\w+)", data))

    def take(self) -> Counter[str]:
        """What has been asked since the last time; finding the queue is left out, as that is done once."""
        taken, self._counts = self._counts, Counter()
        return Counter({action: count for action, count in taken.items() if "Queue" not in action})


@pytest.fixture
def bill(sqs_endpoint: str) -> Bill:
    return Bill(sqs_endpoint)


@pytest.fixture
def store(bill: Bill, open_store: OpenStore, side: Store) -> Iterator[Store]:
    with bill.through() as proxy:
        yield open_store(side, timeout=60, endpoint_url=f"http://127.0.0.1:{proxy.port}")


def test_sends_receives_and_deletes_go_by_ten(bill: Bill, store: Store) -> None:
    # When many messages are sent at once
    store.broker.send([message(body=str(n)) for n in range(COUNT)], timeout=60)
    assert bill.take() == {"SendMessageBatch": COUNT / 10}
    # ... fetched as a busy worker fetches
    store.broker.open("me", worker="w", slots=1, lease=60)
    bill.take()
    deliveries = [each for _ in range(2) for each in store.broker.turn([], "me", ["q"], COUNT // 2).deliveries]
    assert len(deliveries) == COUNT
    assert bill.take() == {"ReceiveMessage": COUNT / 10}
    # ... and settled, then each costs a tenth of a request every time
    assert store.broker.settle([Settlement(lease=each.lease) for each in deliveries]) == []
    assert bill.take() == {"DeleteMessageBatch": COUNT / 10}


def test_renewing_goes_by_ten(bill: Bill, store: Store) -> None:
    store.broker.send([message() for _ in range(40)])
    store.broker.open("me", worker="w", slots=1, lease=1)
    assert len(store.broker.turn([], "me", ["q"], 40).deliveries) == 40
    bill.take()
    assert store.broker.renew(["me"], 60).gone == []
    assert bill.take() == {"ChangeMessageVisibilityBatch": 4}
    # And none again before its time
    assert store.broker.renew(["me"], 60).gone == []
    assert bill.take() == {}


def test_what_is_given_back_goes_by_ten(bill: Bill, store: Store) -> None:
    store.broker.send([message() for _ in range(40)])
    store.broker.open("me", worker="w", slots=1, lease=60)
    deliveries = store.broker.turn([], "me", ["q"], 40).deliveries
    bill.take()
    assert store.broker.settle([end(each, Verdict.AGAIN) for each in deliveries]) == []
    assert bill.take() == {"SendMessageBatch": 4, "DeleteMessageBatch": 4}


def test_an_empty_queue_costs_a_single_request(bill: Bill, store: Store) -> None:
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message() for _ in range(15)])
    bill.take()
    # Of fifteen, the first ten promise more, and the second request comes back with less than it asked for
    assert len(store.broker.turn([], "me", ["q"], 256).deliveries) == 15
    assert bill.take()["ReceiveMessage"] <= 3
    assert store.broker.turn([], "me", ["q"], 256).deliveries == []
    assert bill.take() == {"ReceiveMessage": 1}


def test_delays_cost_nothing_more(bill: Bill, store: Store) -> None:
    store.broker.send([message(due=time.time() + 600) for _ in range(40)])
    assert bill.take() == {"SendMessageBatch": 4}


def test_a_batch_is_as_large_as_sqs_takes_it(bill: Bill, store: Store) -> None:
    # Given messages of which seven make a mebibyte (150 kB, in base64 within base64)
    store.broker.send([message(body=b"x" * 75_000) for _ in range(14)], timeout=60)
    assert bill.take() == {"SendMessageBatch": 2}
