"""What one process says to an owner in another: settle this, what do you hold, are you there.

Owns the owner's mailbox, an exclusive queue ``talo.owner.<owner>`` that dies with the owner's connection, and the
asking side. Only the connection that was handed a message can acknowledge it, so an agent that settles for a living
child (relief behind a long task) asks it to; the child's keeper answers while the task runs. Called by ``broker``.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from talo.stores.base import Delivery, Lease, Settlement
from talo.stores.rabbitmq.channel import Channel, Letter
from talo.stores.rabbitmq.client import Client
from talo.stores.rabbitmq.connection import Connection
from talo.stores.rabbitmq.frames import properties, read_properties
from talo.stores.rabbitmq.owner import MAIL

if TYPE_CHECKING:
    from talo.stores.rabbitmq.broker import RabbitBroker
    from talo.stores.rabbitmq.owner import Owner

__all__ = ["Mailbox"]

_REPLIES = "amq.rabbitmq.reply-to"
#: Seconds to wait for an answer. Who does not answer in time has been asked all the same.
_PATIENCE = 1.5


class _Ask(msgspec.Struct):
    """A question; without settlements it asks what is held."""

    settlements: list[Settlement] | None = None


class _Answer(msgspec.Struct):
    refused: list[Lease] = []
    held: list[Delivery] = []


_encode = msgspec.msgpack.Encoder().encode
_asked = msgspec.msgpack.Decoder(_Ask)
_answered = msgspec.msgpack.Decoder(_Answer)


class Mailbox:
    """Both sides of the mailboxes."""

    def __init__(self, client: Client, broker: RabbitBroker) -> None:
        self._client = client
        self._broker = broker
        self._channel: Channel | None = None
        self._answers: list[Letter] = []
        self._serial = 0

    # -- the owner's side ---------------------------------------------------------------------------------------------

    def open(self, owner: Owner, deadline: float) -> None:
        """Give an owner its mailbox."""
        name = f"talo.owner.{owner.name}"
        owner.channel.declare_queue(name, deadline, durable=False, exclusive=True, auto_delete=True)
        owner.channel.consume(name, MAIL, deadline, no_ack=True)

    def answer(self, connection: Connection, owner: Owner, letter: Letter, deadline: float) -> None:
        """Do what a letter asks, and say so."""
        ask = _asked.decode(letter.body)
        if ask.settlements is None:
            answer = _Answer(held=owner.deliveries())
        else:
            answer = _Answer(refused=self._broker.settle_here(connection, ask.settlements, deadline))
        asked = read_properties(letter.header)
        reply_to = asked.get("reply_to")
        if reply_to:
            told = properties({"correlation_id": asked.get("correlation_id")})
            publisher = self._client.publisher(connection, deadline)
            publisher.publish([("", reply_to, told, _encode(answer))], deadline, mandatory=False)

    # -- the asking side ----------------------------------------------------------------------------------------------

    def settle(
        self, connection: Connection, owner: str, settlements: Sequence[Settlement], deadline: float
    ) -> list[Lease]:  # fmt: skip
        """Have an owner elsewhere settle; return what it refuses. Of one that is gone all is refused: the server has
        handed out again what it held."""
        answer = self._ask(connection, owner, _Ask(list(settlements)), deadline)
        if answer is None:
            return [each.lease for each in settlements]
        return answer.refused

    def held(self, connection: Connection, owner: str, deadline: float) -> list[Delivery]:
        """What an owner elsewhere holds."""
        answer = self._ask(connection, owner, _Ask(), deadline)
        return [] if answer is None else answer.held

    def absent(self, connection: Connection, owners: Sequence[str], deadline: float) -> list[str]:
        """Which of these owners are not there."""
        if not owners:
            return []
        channel = self._asking(connection, deadline)
        ping = properties({"delivery_mode": 1})
        letters = [("", f"talo.owner.{name}", ping, _encode(_Ask())) for name in owners]
        return [owners[at] for at in channel.publish(letters, deadline)]

    def _ask(self, connection: Connection, owner: str, ask: _Ask, deadline: float) -> _Answer | None:
        """None if there is no such owner."""
        channel = self._asking(connection, deadline)
        self._serial += 1
        number = str(self._serial)
        asking = properties({"reply_to": _REPLIES, "correlation_id": number, "delivery_mode": 1})
        if channel.publish([("", f"talo.owner.{owner}", asking, _encode(ask))], deadline):
            return None
        patience = min(deadline, monotonic() + _PATIENCE)
        while monotonic() < patience:
            for letter in self._answers:
                if read_properties(letter.header).get("correlation_id") == number:
                    self._answers.clear()
                    return _answered.decode(letter.body)
            if not connection.wait(patience):
                break
        return _Answer()

    def _asking(self, connection: Connection, deadline: float) -> Channel:
        if self._channel is None or not self._channel.open or not self._channel.belongs_to(connection):
            self._channel = connection.channel(deadline)
            self._answers = []
            self._channel.on_letter = self._answers.append
            self._channel.consume(_REPLIES, "answers", deadline, no_ack=True)
        return self._channel
