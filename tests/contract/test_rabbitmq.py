"""RabbitMQ passes the contract, as far as AMQP can; where it cannot, the case says what holds instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from talo.stores.rabbitmq import RabbitStore
from talo.testing.contract import BrokerContract, BusContract, DeadContract, ForkContract, ProcessContract, SettlingContract, WaitingContract, LeaseContract
from tests.servers.rabbitmq import rabbit_server, rabbit_url  # noqa: F401


class RabbitPlace:
    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.options = options
        self.opened: list[RabbitStore] = []

    def open(self, **options: Any) -> RabbitStore:
        options.pop("priority_order", None)
        store = RabbitStore(self.url, **{**self.options, **options})
        self.opened.append(store)
        return store

    def close(self) -> None:
        for store in self.opened:
            store.close()


class TestRabbit(BrokerContract, SettlingContract, WaitingContract, LeaseContract, DeadContract, BusContract, ProcessContract, ForkContract):
    @pytest.fixture
    def place(self, rabbit_url: str) -> Iterator[RabbitPlace]:  # noqa: F811
        place = RabbitPlace(rabbit_url)
        yield place
        place.close()
