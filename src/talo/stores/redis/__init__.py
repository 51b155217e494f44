"""Redis as a store: Celery's own queues and results, with leases, delay and dead letters in keys of Talo's own.

Owns the technology ``redis``; ``stores/base.py`` says what it promises, ``docs/internals/redis.md`` how. Called by
``stores.url``.
"""

from __future__ import annotations

from talo.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
