"""The master of one slot of a Redis Cluster.

Owns the hash tag that puts all keys of a store into one slot, and asking the nodes who serves it. Nothing here is about
keys of several slots, because there are none (``docs/adr/0012``). Called by ``store``, which builds it from
``redis+cluster://`` URLs."""

from __future__ import annotations

import binascii
from collections.abc import Hashable, Sequence
from dataclasses import replace
from time import monotonic

from talo.errors import ImproperlyConfigured, StoreUnavailable
from talo.stores.redis.address import Address
from talo.stores.redis.connection import Connecting, Connection, DeadlinePassed, pack
from talo.stores.redis.place import Fixed, Place, shared

__all__ = ["Cluster", "slot_of", "tagged"]

SLOTS = 16384
#: For the name of a node that the one who answers has not heard yet (``CLUSTER SLOTS``, "preferred endpoint").
_NAMELESS = "?"


def tagged(prefix: str) -> str:
    """The key prefix with a hash tag in it: its own, or itself in braces; ``{talo}`` for none."""
    before, brace, rest = prefix.partition("{")
    tag, closed, _ = rest.partition("}")
    if not brace:
        return f"{{{prefix or 'talo'}}}"
    if not closed or not tag:
        raise ImproperlyConfigured(
            f"the key prefix {prefix!r} has no hash tag in its braces: write {before}{{shop}}, or no braces"
        )
    return prefix


def slot_of(tag: str) -> int:
    """The slot of a hash tag (Redis Cluster specification, "Key distribution model": CRC16 of XMODEM)."""
    return binascii.crc_hqx(tag.encode(), 0) % SLOTS


class Cluster(Place):
    """The node that serves the slot of ``prefix``. The map is asked of any node that answers."""

    tries = 3
    mode = "cluster"

    def __init__(self, seeds: Sequence[Address], prefix: str, made: Connecting) -> None:
        for address in seeds:
            if address.db:
                raise ImproperlyConfigured(f"a Redis Cluster has one database, 0: take /{address.db} away")
        self._seeds = list(seeds)
        self._nodes = list(seeds)
        self.slot = slot_of(prefix.partition("{")[2].partition("}")[0])
        self._made = made
        self._found: Address | None = None

    @property
    def shown(self) -> str:
        return ";".join(address.shown for address in self._seeds)

    @property
    def identity(self) -> Hashable:
        return frozenset(address.place[0] for address in self._seeds)

    def find(self, deadline: float) -> Address:
        found = self._found
        return found if found is not None else self._ask_all(deadline)

    def doubt(self, address: Address, hint: str = "") -> None:
        if self._found != address:
            return
        host, _, port = hint.rpartition(":")
        named = port and host != _NAMELESS
        self._found = replace(address, host=host or address.host, port=int(port)) if named else None
        # Who was wrong, or has died, is asked last.
        self._nodes.sort(key=lambda node: node == address)
        self.epoch += 1

    def _ask_all(self, deadline: float) -> Address:
        trouble: StoreUnavailable | None = None
        nodes = list(dict.fromkeys((*self._nodes, *self._seeds)))
        for at, node in enumerate(nodes):
            try:
                return self._ask(node, shared(deadline, len(nodes) - at))
            except StoreUnavailable as error:
                trouble = error
            if monotonic() >= deadline:
                raise DeadlinePassed(f"{self.shown} did not say in time who serves slot {self.slot}") from trouble
        raise StoreUnavailable(f"no node of {self.shown} says who serves slot {self.slot}: {trouble}") from trouble

    def _ask(self, node: Address, deadline: float) -> Address:
        connection = Connection(_Node(node), self._made)
        connection.connect(deadline)
        try:
            ranges = connection.call(pack("CLUSTER", "SLOTS"), deadline)
        finally:
            connection.close()
        nodes: list[Address] = []
        found: Address | None = None
        for first, last, *served in ranges:
            addresses = [_address(node, each) for each in served]
            if first <= self.slot <= last:
                found = addresses[0]
            nodes += (each for each in addresses if each.host != _NAMELESS)
        if found is None:
            raise StoreUnavailable(f"slot {self.slot} of {self.shown} is served by nobody")
        if found.host == _NAMELESS:
            raise StoreUnavailable(f"{node.shown} does not know the name of who serves slot {self.slot}")
        self._nodes = list(dict.fromkeys(nodes))
        self._found = found
        return found


class _Node(Fixed):
    """Any node of a cluster, master or replica, asked for the map."""

    mode = "cluster"


def _address(asked: Address, entry: Sequence[bytes | int | None]) -> Address:
    """Of an entry of ``CLUSTER SLOTS``; a node that does not know its own name is where it was asked."""
    host, port = entry[0], entry[1]
    assert isinstance(port, int)
    return replace(asked, host=host.decode() if isinstance(host, bytes) and host else asked.host, port=port)
