"""Where a child's tasks run: in its main thread, in threads, or in an event loop.

``base`` says what the child's loop expects of a pool; one file for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from talo.worker.pools.aio import AsyncioPool
from talo.worker.pools.base import Pool
from talo.worker.pools.solo import SoloPool
from talo.worker.pools.thread import ThreadPool

if TYPE_CHECKING:
    from talo.worker.pools.base import Host

__all__ = ["AsyncioPool", "Pool", "SoloPool", "ThreadPool", "make_pool"]

_POOLS: dict[str, type[Pool]] = {
    "processes": SoloPool,
    "solo": SoloPool,
    "threads": ThreadPool,
    "asyncio": AsyncioPool,
}


def make_pool(host: Host) -> Pool:
    """Return the pool that the host's options name."""
    return _POOLS[host.options.pool](host)
