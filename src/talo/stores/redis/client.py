"""Commands and scripts over a lent connection, within the operation timeout.

Owns taking a connection for one exchange and giving it back, going on to the right server when one says that it is the
wrong one, and loading a script that the server does not know (yet, or any more). Nothing that may have been done is
ever sent twice. Called by all four roles."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar

from talo.errors import TaloError
from talo.stores.redis._refusals import Misdirected, Refusal, as_error
from talo.stores.redis.connection import Connecting, Connection, Part, pack
from talo.stores.redis.keys import Keys
from talo.stores.redis.place import Place
from talo.stores.redis.pool import Limits, Pool
from talo.stores.redis.scripts import Script

__all__ = ["Client"]

T = TypeVar("T")

#: Seconds before a server that cannot do it now is asked again, the first time and at most.
_PAUSE, _LONGEST = 0.05, 0.5


class Client:
    """What the roles of one store share: the place, the names, the connections and the timeout."""

    def __init__(self, place: Place, keys: Keys, timeout: float, limits: Limits, made: Connecting) -> None:
        self.place = place
        self.keys = keys
        self.timeout = timeout
        self._made = made
        self.pool = Pool(self.connection, limits)

    def connection(self) -> Connection:
        """A new connection, not connected yet, that belongs to nobody."""
        return Connection(self.place, self._made)

    def deadline(self, timeout: float | None = None) -> float:
        """When an operation that begins now has to be over, monotonic."""
        return monotonic() + (self.timeout if timeout is None else timeout)

    def call(self, *command: Part) -> Any:
        """The reply to one command. A refusal is raised as Talo's error, here and below."""
        return self.call_packed(pack(*command), self.deadline())

    def call_packed(self, data: bytes, deadline: float) -> Any:
        """The reply to one packed command."""
        return self.lend(lambda connection: connection.call(data, deadline), deadline)

    def pipeline(self, commands: Sequence[bytes], deadline: float) -> list[Any]:
        """The replies to packed commands, written at once; the first refusal among them is raised. A server that is
        handing the slot over does some of them and refuses others: only those are sent again."""
        replies: dict[int, Any] = {}

        def exchange(connection: Connection) -> None:
            left = [at for at in range(len(commands)) if at not in replies]
            heard = connection.exchange(b"".join(commands[at] for at in left), len(left), deadline)
            refused: list[tuple[TaloError, Refusal]] = []
            for at, reply in zip(left, heard, strict=True):
                if reply.__class__ is Refusal:
                    refused.append((as_error(reply, self.place.shown), reply))
                else:
                    replies[at] = reply
            if refused:
                error, refusal = min(refused, key=lambda each: isinstance(each[0], Misdirected))
                raise error from refusal

        self.lend(exchange, deadline)
        return [replies[at] for at in range(len(commands))]

    def run(self, script: Script, *arguments: Part, keys: Sequence[Part] = (), deadline: float | None = None) -> Any:
        """What ``script`` returns."""
        until = self.deadline() if deadline is None else deadline
        keys = (*keys, *self.keys.anchor)
        return self.lend(
            lambda connection: self.run_on(connection, script, (len(keys), *keys, *arguments), until), until
        )

    def lend(self, use: Callable[[Connection], T], deadline: float) -> T:
        """What ``use`` returns of a connection; with another one, where the server refused because of where it
        stands and did nothing. ``use`` raises ``Misdirected`` then."""
        return self._follow(self.pool.take, self.pool.give, use, deadline)

    def on_own(self, connection: Connection, use: Callable[[Connection], T], deadline: float) -> T:
        """The same with a connection that belongs to the caller; it is connected where the server is now."""

        def connected(until: float) -> Connection:
            if connection.stale:
                connection.close()
            if connection.closed:
                connection.connect(until)
            return connection

        return self._follow(connected, lambda _: None, use, deadline)

    def _follow(
        self,
        take: Callable[[float], Connection],
        give: Callable[[Connection], None],
        use: Callable[[Connection], T],
        deadline: float,
    ) -> T:
        place, pause = self.place, _PAUSE
        while True:
            connection = take(deadline)
            try:
                return use(connection)
            except Misdirected as error:
                if not place.moves:
                    raise
                self.redirect(connection, error)
                wait = 0.0 if error.hint else pause * random.uniform(0.5, 1.0)
                if monotonic() + wait >= deadline:
                    raise
                pause = min(pause * 2, _LONGEST)
            finally:
                give(connection)
            if wait:
                threading.Event().wait(wait)

    def redirect(self, connection: Connection, error: Misdirected) -> None:
        """Note that the server of ``connection`` is not, or not now, the one for us."""
        if not error.later and connection.address is not None:
            self.place.doubt(connection.address, error.hint)
            connection.close()

    def run_on(self, connection: Connection, script: Script, rest: Sequence[Part], deadline: float) -> Any:
        """What ``script`` returns on a connection that the caller has; ``rest`` is the number of keys, the keys, the
        arguments."""
        [reply] = connection.exchange(pack("EVALSHA", script.sha, *rest), 1, deadline)
        if reply.__class__ is Refusal and reply.code == "NOSCRIPT":
            # It was not run, so running it now is not running it twice.
            [reply] = connection.exchange(pack("EVAL", script.text, *rest), 1, deadline)
        if reply.__class__ is Refusal:
            raise as_error(reply, self.place.shown) from reply
        return reply
