"""Reaching SQS: options, credentials, names, deadlines, and errors that say the mend."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from talo.app.app import Talo
from talo.errors import (
    AccessRefused,
    ImproperlyConfigured,
    OperationalError,
    PublishTimeout,
    StoreUnavailable,
    TaloError,
)
from talo.stores.sqs import SqsStore
from talo.stores.sqs.queues import name_of
from talo.testing.contract._support import message
from tests.servers.sqs import SqsServer
from tests.unit.sqs.conftest import OpenStore


@pytest.mark.parametrize(
    ("queue", "name"),
    [("celery", "celery"), ("a.b", "a-b"), ("a b/c", "a_b_c"), ("x.fifo", "x.fifo"), ("a.b.fifo", "a-b.fifo")],
)
def test_queues_are_named_as_celery_names_them(queue: str, name: str) -> None:
    assert name_of(queue) == name
    assert name_of(queue, "shop-") == f"shop-{name}"


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("sqs://", {"regoin": "eu-west-1"}, "did you mean region"),
        ("sqs://", {"wait_time_seconds": 30}, "from 0 to 20"),
        ("sqs://", {"predefined_queues": {"q": {}}}, "needs its url"),
        ("sqs://", {"predefined_queues": {"q": {"url": "http://x", "secret": "canary"}}}, "not known"),
        ("sqs://key@", {}, "both or neither"),
        ("sqs://key:ca/nary@", {}, "cannot be read"),
    ],
)
def test_what_cannot_work_is_said_with_the_mend(url: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=said) as refused:
        SqsStore(url, **options)
    assert "nary" not in str(refused.value)


def test_priorities_are_said_to_change_nothing_once(open_store: OpenStore, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(None)
    store.broker.send([message()])
    assert caplog.messages == []
    for _ in range(2):
        store.broker.send([message(), message(priority=9)])
    [said] = caplog.messages
    assert "SQS knows no priorities" in said and "a queue of its own" in said


def test_secrets_are_shown_nowhere(open_store: OpenStore) -> None:
    store = open_store(None)
    assert "canary" not in f"{store!r} {store.url} {store._address!r}"


def test_a_missing_region_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    store = SqsStore("sqs://key:canary@", ledger=str(tmp_path / "ledger"))
    with pytest.raises(ImproperlyConfigured, match="region"):
        store.broker.send([message()])


def test_missing_credentials_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sqs_endpoint: str) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = SqsStore("sqs://", region="us-east-1", endpoint_url=sqs_endpoint, ledger=str(tmp_path / "ledger"))
    with pytest.raises(AccessRefused, match="AWS_ACCESS_KEY_ID"):
        store.broker.send([message()])


@pytest.mark.promise("B12")
def test_with_predefined_queues_none_is_created(open_store: OpenStore) -> None:
    # Given a queue that exists
    maker = open_store(None)
    url = maker._queues.get("made").url
    store = open_store(None, predefined_queues={"made": {"url": url}})
    store.broker.send([message("made")])
    assert [(each.name, each.ready) for each in store.broker.stats()] == [("made", 1)]
    # When another is named, then it is refused
    with pytest.raises(ImproperlyConfigured, match="no queue other"):
        store.broker.send([message("other")])
    with pytest.raises(ImproperlyConfigured, match="no queue other"):
        store.broker.wait(["other"], 0.1)


def test_asking_for_numbers_creates_no_queue(open_store: OpenStore, prefix: str) -> None:
    store = open_store(None)
    assert [(each.ready, each.leased) for each in store.broker.stats(["never"])] == [(0, 0)]
    assert store.broker.purge(["never"]) == 0
    with store._connection.translated():
        assert store._connection.client().list_queues(QueueNamePrefix=prefix).get("QueueUrls", []) == []


def test_a_queue_that_somebody_deleted_is_an_error_and_then_made_again(open_store: OpenStore) -> None:
    store = open_store(None)
    queue = store._queues.get("q")
    queue.client.delete_queue(QueueUrl=queue.url)
    store.broker.open("me", worker="w", slots=1, lease=30)
    with pytest.raises(TaloError):
        store.broker.turn([], "me", ["q"], 1)
    assert store.broker.turn([], "me", ["q"], 1).deliveries == []


@pytest.mark.promise("B01")
@pytest.mark.parametrize("fault", ["paused", "killed"])
def test_a_send_ends_in_time(own_sqs: SqsServer, tmp_path: Path, fault: str) -> None:
    store = SqsStore(
        "sqs://key:secret@", region="us-east-1", endpoint_url=own_sqs.endpoint, ledger=str(tmp_path / "ledger")
    )
    store.broker.send([message()])
    own_sqs.pause() if fault == "paused" else own_sqs.kill()
    began = time.monotonic()
    with pytest.raises((PublishTimeout, StoreUnavailable)):
        store.broker.send([message()], timeout=1)
    # A busy machine may add to it; boto3 by itself would try for minutes.
    assert time.monotonic() - began < 5
    if fault == "paused":
        own_sqs.resume()
    store.close()


def test_the_endpoint_may_stand_in_the_url(own_sqs: SqsServer, tmp_path: Path) -> None:
    store = SqsStore(
        f"sqs://key:secret@127.0.0.1:{own_sqs.port}",
        region="us-east-1",
        is_secure=False,
        ledger=str(tmp_path / "ledger"),
    )
    store.ping(5)
    assert store.url == f"sqs://127.0.0.1:{own_sqs.port} in us-east-1"


def test_whose_policy_names_other_queues_can_reach_sqs(own_sqs: SqsServer, tmp_path: Path) -> None:
    # Given keys that may not even look up the queue that a ping asks for, and keys of nobody
    options = {"region": "us-east-1", "endpoint_url": own_sqs.endpoint, "ledger": str(tmp_path / "ledger")}
    allowed, nobody = SqsStore("sqs://no-GetQueueUrl:canary@", **options), SqsStore("sqs://AKIA0:canary@", **options)
    # Then SQS is reached with the first, and not with the second
    allowed.ping(20)
    with pytest.raises(AccessRefused, match="access key"):
        nobody.ping(20)


def test_who_only_sends_needs_no_ledger(open_store: OpenStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = open_store(None, ledger=str(tmp_path / "file" / "ledger.sqlite3"))
    store.broker.send([message()])
    assert [each.ready for each in store.broker.stats(["q"])] == [1]
    with pytest.raises(StoreUnavailable, match="ledger"):
        store.broker.open("me", worker="w", slots=1, lease=30)


def test_a_queue_that_cannot_be_read_ends_the_wait_and_fails_the_turn(open_store: OpenStore) -> None:
    store = open_store(None)
    store.broker.open("me", worker="w", slots=1, lease=30)
    assert store.broker.turn([], "me", ["q"], 1).deliveries == []
    queue = store._queues.get("q")
    queue.client.delete_queue(QueueUrl=queue.url)
    assert store.broker.wait(["q"], 20) is True


def test_an_app_takes_celerys_settings(sqs_endpoint: str, tmp_path: Path) -> None:
    prefix = f"app-{uuid.uuid4().hex[:8]}-"
    options = {"region": "us-east-1", "queue_name_prefix": prefix, "endpoint_url": sqs_endpoint}
    app = Talo(
        "shop",
        broker_url="sqs://key:secret@",
        result_backend=f"sqlite:///{tmp_path}/results.sqlite3",
        broker_transport_options={**options, "visibility_timeout": 3600, "polling_interval": 1},
    )
    app.send_task("t.add")
    assert [(each.name, each.ready) for each in app.store.broker.stats()] == [("celery", 1)]
    assert app.store.same_as(app.result_store)
    assert app.state_store is not None
    app.close_stores()


def test_an_app_without_results_has_none(sqs_endpoint: str) -> None:
    app = Talo(
        "shop",
        broker_url="sqs://key:secret@",
        broker_transport_options={"region": "us-east-1", "endpoint_url": sqs_endpoint},
    )
    assert (app.result_store, app.state_store) == (None, None)
    with pytest.raises((TaloError, OperationalError), match="result_backend"):
        app.backend.get(["t"])
    app.close_stores()
