"""Commands and scripts over a lent connection, within the operation timeout.

Owns taking a connection for one exchange and giving it back, and loading a script that the server does not know (yet,
or any more). Nothing is ever sent twice. Called by all four roles."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

from talo.stores.redis._refusals import Refusal, as_error
from talo.stores.redis.address import Address
from talo.stores.redis.connection import Connecting, Connection, Part, pack
from talo.stores.redis.keys import Keys
from talo.stores.redis.pool import Limits, Pool
from talo.stores.redis.scripts import Script

__all__ = ["Client"]


class Client:
    """What the roles of one store share: the address, the names, the connections and the timeout."""

    def __init__(self, address: Address, keys: Keys, timeout: float, limits: Limits, made: Connecting) -> None:
        self.address = address
        self.keys = keys
        self.timeout = timeout
        self._made = made
        self.pool = Pool(self.connection, limits)

    def connection(self) -> Connection:
        """A new connection, not connected yet, that belongs to nobody."""
        return Connection(self.address, self._made)

    def deadline(self, timeout: float | None = None) -> float:
        """When an operation that begins now has to be over, monotonic."""
        return monotonic() + (self.timeout if timeout is None else timeout)

    def call(self, *command: Part) -> Any:
        """The reply to one command. A refusal is raised as Talo's error, here and below."""
        return self.call_packed(pack(*command), self.deadline())

    def call_packed(self, data: bytes, deadline: float) -> Any:
        """The reply to one packed command."""
        pool = self.pool
        connection = pool.take(deadline)
        try:
            return connection.call(data, deadline)
        finally:
            pool.give(connection)

    def pipeline(self, commands: Sequence[bytes], deadline: float) -> list[Any]:
        """The replies to packed commands, written at once; the first refusal among them is raised."""
        connection = self.pool.take(deadline)
        try:
            replies = connection.exchange(b"".join(commands), len(commands), deadline)
        finally:
            self.pool.give(connection)
        for reply in replies:
            if reply.__class__ is Refusal:
                raise as_error(reply, self.address.shown) from reply
        return replies

    def run(self, script: Script, *arguments: Part, keys: Sequence[Part] = (), deadline: float | None = None) -> Any:
        """What ``script`` returns."""
        until = self.deadline() if deadline is None else deadline
        connection = self.pool.take(until)
        try:
            return self.run_on(connection, script, (len(keys), *keys, *arguments), until)
        finally:
            self.pool.give(connection)

    def run_on(self, connection: Connection, script: Script, rest: Sequence[Part], deadline: float) -> Any:
        """What ``script`` returns on a connection that the caller has; ``rest`` is the number of keys, the keys, the
        arguments."""
        [reply] = connection.exchange(pack("EVALSHA", script.sha, *rest), 1, deadline)
        if reply.__class__ is Refusal and reply.code == "NOSCRIPT":
            # It was not run, so running it now is not running it twice.
            [reply] = connection.exchange(pack("EVAL", script.text, *rest), 1, deadline)
        if reply.__class__ is Refusal:
            raise as_error(reply, self.address.shown) from reply
        return reply
