"""Results on Redis, as Celery keeps them.

Owns storing and reading: ``celery-task-meta-<id>`` is the key and the channel of a result,
``celery-taskset-meta-<id>`` the key of a saved group. Waiting is ``listener``'s. Called by ``app.result`` and the
worker.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Collection, Sequence
from time import monotonic

from talo.errors import StoreUnavailable
from talo.stores.base import GroupPart, GroupRecord, ResultBackend, ResultMeta, Watch
from talo.stores.redis import scripts
from talo.stores.redis.broker import stored
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Part, pack
from talo.stores.redis.groups import Groups
from talo.stores.redis.listener import Listener, Want
from talo.stores.redis.peek import is_ready
from talo.wire.message import Message

__all__ = ["RedisResults"]

log = logging.getLogger(__name__)

#: Keys per command, results per script.
_STEP = 1000
#: Seconds before a wait that was cut off asks again, the first time and at most.
_PAUSE, _LONGEST = 0.05, 1.0


class RedisResults(ResultBackend):
    """The result role of ``RedisStore``."""

    def __init__(self, client: Client, cleanup: Callable[[int], int], groups: Groups) -> None:
        self._groups = groups
        self._client = client
        self._keys = client.keys
        self._cleanup = cleanup
        self._listener = Listener(client)
        #: How often it was closed: a wait that this ended does not begin anew.
        self._closings = 0

    def store(self, results: Sequence[ResultMeta]) -> None:
        for at in range(0, len(results), _STEP):
            parts: list[Part] = []
            for result in results[at : at + _STEP]:
                parts += stored(self._keys.result(result.task_id), result)
            self._client.run(scripts.STORE, *parts)

    def get(self, task_ids: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        deadline = self._client.deadline()
        for at in range(0, len(task_ids), _STEP):
            step = task_ids[at : at + _STEP]
            payloads = self._client.call_packed(pack(b"MGET", *map(self._keys.result, step)), deadline)
            found.update(
                (task_id, payload) for task_id, payload in zip(step, payloads, strict=True) if payload is not None
            )
        return found

    def wait(self, task_ids: Collection[str], timeout: float | None) -> dict[str, bytes]:
        if not task_ids:
            return {}
        if timeout is not None and timeout <= 0:
            return {each: payload for each, payload in self.get(list(task_ids)).items() if is_ready(payload)}
        deadline = float("inf") if timeout is None else monotonic() + timeout
        return self._wait(task_ids, deadline)

    def _wait(self, task_ids: Collection[str], deadline: float) -> dict[str, bytes]:
        """Wait on when the server goes away in the middle of it: nothing is lost by asking again. Who finds nobody
        there at the beginning is told."""
        closings, joined, pause = self._closings, False, _PAUSE
        while True:
            want = Want(task_ids)
            try:
                return self._listener.wait(want, deadline)
            except StoreUnavailable as error:
                joined = joined or want.joined is not None
                if not joined or self._closings != closings:
                    raise
                log.warning("the wait for results goes on when it can: %s", error, extra={"action": "wait"})
            left = deadline - monotonic()
            if left <= 0:
                return {}
            threading.Event().wait(min(left, pause * random.uniform(0.5, 1.0)))
            pause = min(pause * 2, _LONGEST)

    def watch(self, task_ids: Collection[str], tell: Callable[[str, bytes], None]) -> Watch:
        want = Want(task_ids, tell)
        if want.ids:
            self._listener.watch(want)
        return _Watch(self._listener, want)

    def forget(self, task_ids: Sequence[str]) -> None:
        if task_ids:
            keys = [self._keys.result(task_id) for task_id in task_ids]
            self._client.call("UNLINK", *keys, *(key + b".ok" for key in keys))
            self._listener.forget(keys)

    def store_group(self, group_id: str, payload: bytes, expires: float | None) -> None:
        key = self._keys.group(group_id)
        if expires is None:
            self._client.call("SET", key, payload)
        else:
            self._client.call("SET", key, payload, "PX", max(1, round(expires * 1000)))

    def get_group(self, group_id: str) -> bytes | None:
        payload: bytes | None = self._client.call("GET", self._keys.group(group_id))
        return payload

    def forget_group(self, group_id: str) -> None:
        self._client.call("UNLINK", self._keys.group(group_id))

    def open_groups(self, groups: Sequence[GroupRecord]) -> None:
        self._groups.open(groups)

    def group_plans(self, group_ids: Sequence[str]) -> dict[str, bytes]:
        return self._groups.plans(group_ids)

    def group_parts(self, group_id: str) -> list[tuple[int, bytes]]:
        return self._groups.parts(group_id)

    def add_parts(self, parts: Sequence[GroupPart]) -> list[Message]:
        return self._groups.add(parts)

    def open_celery_chord(self, group_id: str, size: int, expires: float | None) -> None:
        self._groups.open_celery(group_id, size, expires)

    def celery_parts(self, group_id: str) -> list[bytes]:
        return self._groups.celery_parts(group_id)

    def close_groups(self, group_ids: Sequence[str]) -> None:
        self._groups.forget(group_ids)

    def cleanup(self, limit: int) -> int:
        # Results, marks and locks expire by themselves; dead letters and entries of the ledger do not.
        return self._cleanup(limit)

    def close(self) -> None:
        """End what waits, and the connection for it."""
        self._closings += 1
        self._listener.close()


class _Watch(Watch):
    def __init__(self, listener: Listener, want: Want) -> None:
        self._listener = listener
        self._want = want

    def cancel(self) -> None:
        self._listener.cancel(self._want)
