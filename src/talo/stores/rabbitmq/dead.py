"""Dead letters: a queue of Talo's own, ``talo.dead``, read by taking all and putting back.

AMQP can look at a queue's head only. So whoever lists, replays or drops takes every letter on a channel of its own,
acknowledges what is to go, and closes the channel: the rest is in its old place. A second queue of one holder is the
lock, so that no two look at a time. The queue is a classic one: quorum queues drop what was put back too often. Made
for thousands of letters. Called by ``broker``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from talo.errors import StoreUnavailable
from talo.stores.base import DeadLetter
from talo.stores.rabbitmq._refusals import RESOURCE_LOCKED, ChannelRefused
from talo.stores.rabbitmq.channel import Channel
from talo.stores.rabbitmq.client import Client
from talo.stores.rabbitmq.connection import Connection
from talo.stores.rabbitmq.letters import exhumed

__all__ = ["DEAD", "DeadLetters"]

DEAD = "talo.dead"
_LOCK = "talo.dead.lock"
_STEP = 200


class DeadLetters:
    """The dead letters of one virtual host."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ensured = 0

    def ensure(self, connection: Connection, deadline: float) -> None:
        """Let the queue be there."""
        if self._ensured != connection.generation:
            publisher = self._client.publisher(connection, deadline)
            publisher.declare_queue(DEAD, deadline)
            self._ensured = connection.generation

    def page(self, limit: int, offset: int, task: str | None, queue: str | None) -> list[DeadLetter]:
        """Letters, latest first."""
        with self._all() as (_, _, letters, _):
            found = [
                letter
                for _, letter in reversed(letters)
                if (task is None or letter.death.task == task) and (queue is None or letter.queue == queue)
            ]
        return found[offset : offset + limit]

    def get(self, ids: Sequence[str]) -> list[DeadLetter]:
        """The letters of these ids, their own or of tasks."""
        wanted = set(ids)
        if not wanted:
            return []
        with self._all() as (_, _, letters, _):
            return [letter for _, letter in letters if letter.id in wanted or letter.death.task_id in wanted]

    def replace(self, ids: Sequence[str], send: Callable[[Connection, float], None]) -> int:
        """Send, then delete, if all of them are there. A crash between leaves both."""
        wanted = set(ids)
        with self._all() as (connection, channel, letters, deadline):
            tags = [tag for tag, letter in letters if letter.id in wanted]
            if len(tags) < len(wanted):
                return 0
            send(connection, deadline)
            channel.ack(tags, deadline)
        return len(tags)

    @contextlib.contextmanager
    def _all(self) -> Iterator[tuple[Connection, Channel, list[tuple[int, DeadLetter]], float]]:
        deadline = self._client.deadline()
        while True:
            with self._client.using(deadline) as connection:
                self.ensure(connection, deadline)
                channel = connection.channel(deadline)
                if self._locked(channel, deadline):
                    letters: list[tuple[int, DeadLetter]] = []
                    while got := channel.get(DEAD, _STEP, deadline):
                        letters += [(letter.tag, exhumed(letter)) for letter in got]
                    try:
                        yield connection, channel, letters, deadline
                    finally:
                        self._put_back(connection, channel, deadline)
                    return
            if monotonic() > deadline - 0.1:
                raise StoreUnavailable(f"the dead letters of {self._client.shown} were in use until the time was over")
            time.sleep(0.02)

    def _locked(self, channel: Channel, deadline: float) -> bool:
        """Take the lock; another connection that has it makes the server say so."""
        try:
            channel.declare_queue(_LOCK, deadline, durable=False, exclusive=True)
        except ChannelRefused as refused:
            if refused.code == RESOURCE_LOCKED:
                return False
            raise
        return True

    def _put_back(self, connection: Connection, channel: Channel, deadline: float) -> None:
        if connection.closed or not channel.open:
            return
        channel.close(deadline)
        other = self._client.publisher(connection, deadline)
        # Closing is answered when all is in its place, and this comes behind it.
        connection.settle_closing(deadline)
        other.delete_queue(_LOCK, deadline)
