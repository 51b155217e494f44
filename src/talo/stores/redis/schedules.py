"""Periodic tasks on Redis: plans that change by compare-and-set, and the ledger of their runs.

Owns the calls of the scripts and reading their answers. The keys are described in ``lua/_plans.lua``. Called by
``beat`` and ``control.schedules``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from talo.stores.redis import scripts
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Part
from talo.stores.schedules import Change, Plan, Plans, Run, Schedules
from talo.wire.message import Message

__all__ = ["RedisSchedules"]

#: Changes and arguments of one script, which Redis runs while everybody waits.
_STEP, _STEP_PARTS = 500, 20_000

_encode = msgspec.json.Encoder().encode
_plan = msgspec.json.Decoder(Plan).decode
_run = msgspec.json.Decoder(Run).decode


class RedisSchedules(Schedules):
    """The schedules role of ``RedisStore``."""

    def __init__(self, client: Client, sendable: Callable[[Sequence[Message]], list[Part]]) -> None:
        self._client = client
        self._sendable = sendable

    def read(self, space: str, since: int = 0) -> Plans:
        now, version, complete, changed, removed = self._client.run(
            scripts.PLANS_READ, self._client.keys.prefix, space, since
        )
        plans = []
        for _, number, text in zip(changed[::3], changed[1::3], changed[2::3], strict=True):
            plan = _plan(text)
            plan.version = int(number)
            plans.append(plan)
        return Plans(
            now=float(now),
            version=int(version),
            changed=plans,
            removed=[name.decode() for name in removed],
            complete=complete == b"1",
        )

    def change(self, space: str, changes: Sequence[Change]) -> list[int]:
        versions: list[int] = []
        for parts in self._steps(changes):
            found = self._client.run(scripts.PLANS_CHANGE, self._client.keys.prefix, space, *parts)
            versions += (int(version) for version in found)
        return versions

    def _steps(self, changes: Sequence[Change]) -> Iterator[list[Part]]:
        parts: list[Part] = []
        held = 0
        for change in changes:
            messages = self._sendable(change.messages) if change.messages else []
            parts += (
                change.name,
                change.version,
                b"" if change.plan is None else _encode(change.plan),
                b"" if change.not_before is None else repr(change.not_before),
                len(change.runs),
                *(_encode(run) for run in change.runs),
                len(change.messages),
                *messages,
            )
            held += 1
            if held >= _STEP or len(parts) >= _STEP_PARTS:
                yield parts
                parts, held = [], 0
        if parts:
            yield parts

    def runs(self, space: str, name: str, limit: int) -> list[Run]:
        key = self._client.keys.own(f"plans:{space}:runs:{name}")
        return [_run(text) for text in self._client.call("LRANGE", key, 0, limit - 1)]
