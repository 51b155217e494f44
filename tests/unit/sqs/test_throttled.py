"""What SQS does not do at once: requests that are throttled, batches of which one entry fails, errors half-way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import CredentialRetrievalError

from talo.errors import AccessRefused, ImproperlyConfigured, LeaseLost, StoreUnavailable
from talo.stores.base import Settlement, Store
from talo.stores.sqs import SqsStore
from talo.testing.contract._support import bodies, document, end, message, race
from tests.servers.sqs import SqsServer
from tests.support import eventually
from tests.unit.sqs.conftest import OpenStore

COUNT = 200


@pytest.fixture(scope="module")
def moody() -> Iterator[SqsServer]:
    """A server that refuses every third request."""
    with SqsServer(refuses=0.33) as server:
        yield server


class Answer:
    """The body of an answer that no server gave."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self._text


def answering(store: SqsStore, action: str, code: str, *, status: int = 400, times: int = 1000, after: int = 0) -> None:
    """Let SQS refuse so many requests of a kind with this error, but not the first ones."""
    count = 0
    text = f'{{"__type": "com.amazonaws.sqs#{code}", "message": "no"}}'.encode()

    def answer(**_: Any) -> AWSResponse | None:
        nonlocal count
        count += 1
        if not after < count <= after + times:
            return None
        headers = {"content-type": "application/x-amz-json-1.0", "x-amzn-query-error": f"{code};Sender"}
        return AWSResponse("http://sqs", status, headers, Answer(text))

    for polls in (False, True):
        store._connection.client(polls=polls).meta.events.register(f"before-send.sqs.{action}", answer)


def _fetched(store: SqsStore, owner: str, expected: int, queue: str = "q", limit: int = 100) -> list[Any]:
    store.broker.open(owner, worker="w", slots=1, lease=60)
    found: list[Any] = []

    def all_came() -> None:
        try:
            found.extend(store.broker.turn([], owner, [queue], limit).deliveries)
        except StoreUnavailable:
            pass  # the worker pauses and turns again
        assert len(found) >= expected

    eventually(all_came, 60)
    return found


def test_a_batch_is_sent_once_though_a_third_of_the_requests_is_refused(
    moody: SqsServer, open_store: OpenStore, side: Store
) -> None:
    # When much is sent, fetched, given back and ended while SQS throttles and fails single entries
    store = open_store(side, endpoint_url=moody.endpoint, timeout=30)
    store.broker.send([message(body=str(n)) for n in range(COUNT)], timeout=60)
    first = _fetched(store, "me", 50)
    assert store.broker.settle([Settlement(lease=each.lease, follow=[message("next")]) for each in first[:20]]) == []
    # Then each came once and is uncharged, and what it was followed by was sent once
    assert len(_fetched(store, "me", 20, "next")) == 20
    rest = _fetched(store, "me", COUNT - len(first))
    found = bodies([*first, *rest])
    assert sorted(found, key=int) == [str(n) for n in range(COUNT)]
    assert {each.deliveries for each in [*first, *rest]} == {0}


def test_what_is_throttled_for_too_long_is_an_error(open_store: OpenStore) -> None:
    store = open_store(None, timeout=3)
    store.broker.send([message()], timeout=60)
    answering(store, "SendMessageBatch", "RequestThrottled")
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="RequestThrottled"):
        store.broker.send([message()], timeout=60)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(("code", "status"), [("RequestThrottled", 400), ("ServiceUnavailable", 503)])
def test_ends_wait_until_sqs_is_less_busy(open_store: OpenStore, side: Store, code: str, status: int) -> None:
    store = open_store(side)
    store.broker.send([message()])
    [delivery] = _fetched(store, "me", 1)
    answering(store, "DeleteMessageBatch", code, status=status, times=3)
    assert store.broker.settle([end(delivery, result=document("t"))]) == []
    [numbers] = store.broker.stats(["q"])
    assert (numbers.ready, numbers.leased) == (0, 0)


def test_what_came_before_an_error_is_fetched_and_uncharged(open_store: OpenStore) -> None:
    # Given a queue that is received from by ten, and SQS that fails at the second request
    store, other = open_store(None), open_store(machine="other")
    store.broker.send([message(body=str(n)) for n in range(30)])
    store.broker.open("me", worker="w", slots=1, lease=60)
    answering(store, "ReceiveMessage", "InternalError", status=500, after=1)
    # Then the first ten are there, and the next turn says what is wrong
    assert len(store.broker.turn([], "me", ["q"], 30).deliveries) == 10
    with pytest.raises(StoreUnavailable, match="InternalError"):
        store.broker.turn([], "me", ["q"], 30)
    # And nothing else has been taken
    assert len(_fetched(other, "other", 20)) == 20


def test_what_a_poll_brought_is_fetched_though_sqs_fails_then(open_store: OpenStore) -> None:
    store = open_store(None)
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message()])
    assert store.broker.wait(["q"], 20)
    answering(store, "ReceiveMessage", "InternalError", status=500)
    assert len(store.broker.turn([], "me", ["q"], 10).deliveries) == 1


def test_what_comes_for_an_owner_that_is_gone_goes_back_uncharged(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an owner that is taken over while it receives
    store, other = open_store(None), open_store(machine="other")
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message(body="1")])
    receive = store.broker._receive

    def late(*words: Any) -> Any:
        store.broker.close_owner("me")
        return receive(*words)

    monkeypatch.setattr(store.broker, "_receive", late)
    with pytest.raises(LeaseLost):
        store.broker.turn([], "me", ["q"], 1)
    # Then somebody else gets it at once
    [delivery] = _fetched(other, "other", 1)
    assert (bodies([delivery]), delivery.deliveries, delivery.suspect) == (["1"], 0, False)


@pytest.mark.parametrize("code", ["OverLimit", "AWS.SimpleQueueService.OverLimit"])
def test_a_queue_of_which_too_much_is_held_is_as_good_as_empty(open_store: OpenStore, code: str) -> None:
    store = open_store(None)
    store.broker.open("me", worker="w", slots=1, lease=60)
    answering(store, "ReceiveMessage", code)
    assert store.broker.turn([], "me", ["q"], 10).deliveries == []
    assert store.broker.wait(["q"], 0.2) is False


@pytest.mark.parametrize(
    ("code", "said"),
    [("ExpiredToken", "renew it"), ("SignatureDoesNotMatch", "clock"), ("AccessDenied", "policy of these credentials")],
)
def test_who_is_refused_is_told_the_mend(open_store: OpenStore, code: str, said: str) -> None:
    store = open_store(None)
    store.broker.send([message()])
    answering(store, "SendMessageBatch", code, status=403)
    with pytest.raises(AccessRefused, match=said):
        store.broker.send([message()])


def test_a_queue_of_another_region_is_said(open_store: OpenStore) -> None:
    store = open_store(None)
    store.broker.send([message()])
    answering(store, "SendMessageBatch", "InvalidAddress", status=404)
    with pytest.raises(ImproperlyConfigured, match="name the region of this queue in predefined_queues"):
        store.broker.send([message()])


def test_credentials_that_cannot_be_fetched_now_are_no_end_of_a_worker(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a role whose keys are handed out by somebody who does not answer
    store = open_store(None)
    store.broker.open("me", worker="w", slots=1, lease=60)
    store.broker.send([message()])

    def fetch(*_: object, **__: object) -> None:
        raise CredentialRetrievalError(provider="iam-role", error_msg="no answer")

    store._connection.client().meta.events.register("before-sign.sqs", fetch)
    # Then the store is away, and the worker tries again
    with pytest.raises(StoreUnavailable, match="credentials cannot be fetched"):
        store.broker.turn([], "me", ["q"], 1)


def test_threads_that_send_keep_their_connections(open_store: OpenStore, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(None, timeout=30)
    store.broker.send([message()])
    race([lambda: [store.broker.send([message()], timeout=30) for _ in range(5)]] * 40, timeout=60)
    assert [record.getMessage() for record in caplog.records if "pool is full" in record.getMessage()] == []
