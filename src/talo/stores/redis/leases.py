"""Owners and what they hold.

Owns the calls of the lease scripts and reading their answers. The keys are described in ``lua/_messages.lua``. Called
by ``broker``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from talo.stores.base import Delivery, Lease, OwnerInfo, Renewal
from talo.stores.redis import scripts
from talo.stores.redis.client import Client
from talo.stores.redis.deliveries import delivery_of, opened
from talo.stores.redis.keys import queue_of

__all__ = ["Leases"]


class _Said(msgspec.Struct):
    """What an owner says of itself."""

    worker: str = ""
    slots: int = 1


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Said).decode


class Leases:
    """The lease verbs of the broker; each is one script."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._prefix = client.keys.prefix

    def open(self, owner: str, worker: str, slots: int, lease: float) -> None:
        """See ``Broker.open``."""
        self._client.run(scripts.OPEN, self._prefix, owner, repr(float(lease)), _encode(_Said(worker, slots)))

    def renew(self, owners: Sequence[str], lease: float) -> Renewal:
        """See ``Broker.renew``."""
        if not owners:
            return Renewal([])
        first, *gone = self._client.run(scripts.RENEW, self._prefix, repr(float(lease)), *owners)
        return Renewal([owner.decode() for owner in gone], float(first) if first else None)

    def owners(self) -> list[OwnerInfo]:
        """See ``Broker.owners``."""
        found = self._client.run(scripts.OWNERS, self._prefix)
        infos = []
        for owner, said, remaining, held in zip(found[::4], found[1::4], found[2::4], found[3::4], strict=True):
            known = _decode(said) if said else _Said()
            infos.append(
                OwnerInfo(
                    owner=owner.decode(), worker=known.worker, slots=known.slots, remaining=float(remaining), held=held
                )
            )
        return infos

    def held(self, owner: str) -> list[Delivery]:
        """See ``Broker.held``."""
        values = self._client.call("HGETALL", self._client.keys.own(f"leases:{owner}"))
        return [
            delivery_of(Lease(owner, token), *opened(value))
            for token, value in sorted((int(token), value) for token, value in values.items())
        ]

    def take_over(self, owner: str, by: str, limit: int, *, expired: bool) -> list[Delivery]:
        """See ``Broker.take_over``."""
        moved = self._client.run(scripts.TAKE_OVER, self._prefix, owner, by, limit, int(expired))
        return [
            delivery_of(Lease(by, int(token)), *opened(value), int(former))
            for former, token, value in zip(moved[::3], moved[1::3], moved[2::3], strict=True)
        ]

    def close(self, owner: str) -> None:
        """See ``Broker.close_owner``."""
        self._client.run(scripts.CLOSE_OWNER, self._prefix, owner)

    def held_by_queue(self) -> Counter[str]:
        """How many messages of each queue are leased, by whomever."""
        counts: Counter[str] = Counter()
        for info in self.owners():
            if info.held:
                found = self._client.run(scripts.LEASED, self._prefix, info.owner)
                for name, count in zip(found[::2], found[1::2], strict=True):
                    counts[queue_of(name)] += count
        return counts
