"""Where the server is that a store talks to, at this moment.

Owns the question and its two plain answers: one fixed address, or the next of several alternatives. Asking others for a
master is ``sentinel``'s and ``cluster``'s. Called by ``connection`` when it connects, and by ``client`` when a server
says that it is the wrong one. See ``docs/internals/redis.md``."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from time import monotonic
from typing import Any

from talo.errors import ImproperlyConfigured
from talo.stores.redis.address import Address

__all__ = ["Fixed", "Place", "Several", "checked_order", "shared"]

#: Who does not answer a question about the master gets so many seconds at most: there are others.
_PATIENCE = 1.0


class Place(ABC):
    """Finds the server. ``epoch`` counts the answers that turned out wrong: a connection of an earlier one is not used
    again."""

    #: Whether the server may turn out to be elsewhere; then it has to be a master.
    moves = True
    #: Addresses that one attempt to connect may try.
    tries = 2
    #: What the server has to say of itself in its HELLO: standalone or cluster.
    mode = "standalone"
    epoch = 0
    #: The number of the database there.
    db = 0

    @property
    @abstractmethod
    def shown(self) -> str:
        """The URL with its passwords hidden."""

    @property
    @abstractmethod
    def identity(self) -> Hashable:
        """What tells two places apart, whoever logs in and however."""

    @abstractmethod
    def find(self, deadline: float) -> Address:
        """The address, asked of others before ``deadline`` (monotonic) if need be. ``StoreUnavailable``."""

    @abstractmethod
    def doubt(self, address: Address, hint: str = "") -> None:
        """It is not there, or not any more; ``hint`` (host:port) says where it is said to be. Doubting what is no
        longer the answer changes nothing."""


class Fixed(Place):
    """One address for ever."""

    moves = False
    tries = 1

    def __init__(self, address: Address) -> None:
        self.address = address
        self.db = address.db

    @property
    def shown(self) -> str:
        return self.address.shown

    @property
    def identity(self) -> Hashable:
        return self.address.place

    def find(self, deadline: float) -> Address:  # noqa: ARG002
        return self.address

    def doubt(self, address: Address, hint: str = "") -> None:
        del address, hint


class Several(Place):
    """Alternatives: doors to the same data, of which one after the other is tried. The one that worked last is tried
    first."""

    def __init__(self, addresses: Sequence[Address], order: str | None = None) -> None:
        self._addresses = list(addresses)
        if order == "shuffle":
            random.shuffle(self._addresses)
        self._at = 0
        self.tries = len(self._addresses)
        self.db = addresses[0].db

    @property
    def shown(self) -> str:
        return ";".join(address.shown for address in self._addresses)

    @property
    def identity(self) -> Hashable:
        return frozenset(address.place for address in self._addresses)

    def find(self, deadline: float) -> Address:  # noqa: ARG002
        return self._addresses[self._at]

    def doubt(self, address: Address, hint: str = "") -> None:
        del hint
        if self._addresses[self._at] == address:
            self._at = (self._at + 1) % len(self._addresses)
            self.epoch += 1


def shared(deadline: float, among: int) -> float:
    """When one of so many that are asked in turn must have answered (monotonic), so that the silent ones among them
    leave time for the others."""
    now = monotonic()
    return now + min(_PATIENCE, (deadline - now) / among)


def checked_order(order: Any) -> str | None:
    """``broker_failover_strategy`` as ``Several`` takes it."""
    if order not in (None, "round-robin", "shuffle"):
        raise ImproperlyConfigured(f"broker_failover_strategy is round-robin or shuffle on Redis, not {order!r}")
    return None if order is None else str(order)
