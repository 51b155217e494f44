"""The Redis store passes the contract on a cluster of six nodes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from talo.stores.redis.cluster import slot_of
from talo.testing.contract import ForkContract, HistoryContract, RawContract, ScheduleContract, StoreContract
from tests.contract.test_redis import RedisPlace
from tests.servers.redis_cluster import RedisCluster, redis_cluster  # noqa: F401

_tests = itertools.count()


class ClusterPlace(RedisPlace):
    """One key prefix, and so one slot, of a cluster; those of different tests are on different nodes."""

    def __init__(self, cluster: RedisCluster, prefix: str) -> None:
        super().__init__(cluster.url, keyprefix=prefix)
        self._cluster = cluster
        self._prefix = prefix

    def push_raw(self, queue: str, raw: bytes) -> None:
        node = self._cluster.master_of(slot_of(self._prefix))
        self._cluster.call(node, "LPUSH", f"{{{self._prefix}}}{queue}", raw)


class TestRedisCluster(StoreContract, ScheduleContract, HistoryContract, RawContract, ForkContract):
    @pytest.fixture
    def place(self, redis_cluster: RedisCluster) -> Iterator[ClusterPlace]:  # noqa: F811
        place = ClusterPlace(redis_cluster, f"test{next(_tests)}:")
        yield place
        place.close()
