"""Servers and stores for the tests of the SQS store."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from talo.stores.base import Store
from talo.stores.sqs import SqsStore
from talo.stores.url import open_store as open_any

OpenStore = Callable[..., SqsStore]


@pytest.fixture
def prefix() -> str:
    """Queues of this test's own."""
    return f"u-{uuid.uuid4().hex[:10]}-"


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Store]:
    """The store beside SQS."""
    store = open_any(f"sqlite:///{tmp_path}/side.sqlite3")
    yield store
    store.close()


@pytest.fixture
def open_store(sqs_endpoint: str, prefix: str, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens stores on the same queues, each on the ledger of a machine, that are closed when the test is over."""
    opened: list[SqsStore] = []

    def open_(side: Store | None = None, machine: str = "here", **options: Any) -> SqsStore:
        options = {
            "region": "us-east-1",
            "endpoint_url": sqs_endpoint,
            "queue_name_prefix": prefix,
            "ledger": str(tmp_path / f"{machine}.sqlite3"),
            **options,
        }
        opened.append(SqsStore("sqs://key:canary@", side=side, **options))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()
