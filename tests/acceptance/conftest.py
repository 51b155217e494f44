"""Shared by the acceptance tests: a Redis for those that want one."""

from __future__ import annotations

from tests.servers.redis import redis_server, redis_url  # noqa: F401  fixtures
