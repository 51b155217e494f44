"""One owner of deliveries: its channel, what it was handed and has not settled, and how messages come to it.

Owns the two ways of fetching. Asking (``basic.get``) is exact: nothing waits here behind a task. Being sent
(``basic.consume``) is fast: it begins when an asking turn of many was filled to the brim, and while the child waits for
work. What was sent and not fetched for a while is given back (``tidy``), by the client's keeper if need be.

What comes back after a connection has died is marked by the server as redelivered, and nobody knows whether it had
begun. It is sent once more with one charge to a queue for suspects, and a suspect is handed out alone. See
``docs/internals/rabbitmq.md``. Used under the client's lock. Called by ``broker``.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import NamedTuple

from talo.stores.base import Delivery, Lease
from talo.stores.rabbitmq._refusals import ChannelRefused
from talo.stores.rabbitmq.channel import Channel, Letter
from talo.stores.rabbitmq.connection import Connection
from talo.stores.rabbitmq.letters import Facts, unpacked
from talo.wire.message import Message

__all__ = ["MAIL", "Held", "Owner", "suspects_of"]

#: The consumer of the owner's mailbox.
MAIL = "mail"
#: A turn of fewer is for long tasks: then nothing may wait here.
STREAM = 8
#: What was sent here and not fetched for so long (seconds) is somebody else's.
_PATIENCE = 0.3
#: RabbitMQ's own bound of a prefetch is 65535; ours is two turns.
_MOST = 512

#: An acknowledgement has no answer, and of many to a quorum queue RabbitMQ sends on 32 at a time: those that still wait
#: when their channel ends are lost, and what they ended comes again. So few are always sent on.
_FEW = 16
#: Of more: a fetch is answered after what was sent on before it; by the second one the rest has been, in one piece, and
#: one more is for safety.
_ROUNDS = 3

#: Seconds between two looks for suspects that others left.
_LOOK_EVERY = 1.0

_SUSPECTS = "talo.suspect."

#: The number of ready messages of a queue; None if there is no such queue.
Count = Callable[[Connection, str, float], int | None]
#: Sends messages back to their queues, confirmed: (message, its facts) each.
GiveBack = Callable[[Connection, Sequence[tuple[Message, Facts]], float], None]


def suspects_of(queue: str) -> str:
    """The queue in which the suspects of a queue wait."""
    return _SUSPECTS + queue


class Held(NamedTuple):
    """What stands behind a token."""

    tag: int
    message: Message
    facts: Facts

    @property
    def source(self) -> str:
        """The queue that it was fetched from."""
        return suspects_of(self.message.queue) if self.facts.suspect else self.message.queue


class _Back(NamedTuple):
    """A message that goes back: the queue that it was fetched from, and what it is sent once more as."""

    source: str
    tag: int
    message: Message
    facts: Facts


class Owner:
    """One lease holder on one connection; it ends with it."""

    def __init__(
        self, name: str, worker: str, slots: int, channel: Channel, give_back: GiveBack, count: Count
    ) -> None:  # fmt: skip
        self.name = name
        self.worker = worker
        self.slots = slots
        self.channel = channel
        channel.on_letter = self._take_in
        channel.on_cancel = self._forget_consumer
        self.held: dict[int, Held] = {}
        self.mail: deque[Letter] = deque()
        self._give_back = give_back
        self._count = count
        self._waiting: dict[str, deque[Letter]] = {}
        self._consumers: dict[str, str] = {}
        self._prefetch = 0
        self._since = 0
        #: How many of each queue.
        self._acknowledged: Counter[str] = Counter()
        self._last_limit = 1
        #: Suspects may wait: look at once. Otherwise when it is time (monotonic).
        self._doubt = False
        self._next_look = 0.0
        self._serial = itertools.count(1)
        self._order: list[str] = []
        #: When something was last fetched, or came to be (monotonic).
        self._used = monotonic()

    @property
    def ready(self) -> bool:
        """Whether the next turn may bring something."""
        return self._doubt or self._stocked

    @property
    def _stocked(self) -> bool:
        return any(self._waiting.values())

    def _take_in(self, letter: Letter) -> None:
        if letter.consumer == MAIL:
            self.mail.append(letter)
        else:
            self._waiting.setdefault(self._consumers[letter.consumer], deque()).append(letter)
            self._used = monotonic()

    def _forget_consumer(self, tag: str) -> None:
        """The server has ended a consumer: its queue is gone, or moved to another node."""
        self._consumers.pop(tag, None)

    # -- fetching -----------------------------------------------------------------------------------------------------

    def fetch(
        self, connection: Connection, queues: Sequence[str], limit: int, tokens: Iterable[int], deadline: float
    ) -> list[Delivery]:  # fmt: skip
        """Hand out up to ``limit``: what was sent here, else what the queues have."""
        self._put_ahead(connection, queues, deadline)
        if not limit:
            return []
        self._used = monotonic()
        self._last_limit = limit
        wanted = limit
        self._turn_order(queues)
        if suspect := self._suspect(connection, tokens, deadline):
            return [suspect]
        if self._consumers and wanted < STREAM:
            self.stop_consuming(deadline)
        if self._sift(connection, deadline):
            return []  # They are older than what else has come.
        if self._consumers and wanted > self._prefetch:
            self.stop_consuming(deadline)
            self.consume(queues, 2 * wanted, deadline)
        elif self._consumers and wanted > self._prefetch - self._unsettled():
            # What is held counts against what is sent here: who holds long tasks by the hundred would be sent nothing.
            # A consumer more, and none ended: what is on its way to one that ends comes back as if it had died.
            self.consume(queues, 2 * wanted, deadline)
        found = self._from_here(wanted)
        if not found:
            # Where messages are sent here, an answer is the sign that what was on its way has come.
            streaming = bool(self._consumers)
            asked = self._from_queues(1 if streaming else wanted, deadline)
            for queue, letter in asked if streaming else ():
                self._waiting.setdefault(queue, deque()).append(letter)
            found = self._from_here(wanted) if streaming else asked
            if not streaming and len(asked) == wanted >= STREAM:
                self.consume(queues, 2 * wanted, deadline)
        good = self._without_the_doubtful(connection, found, deadline)
        if wanted < STREAM:
            self._return_rest(connection, deadline)
        return [self._hand_out(queue, letter, message, facts, tokens) for queue, letter, message, facts in good]

    def leave(self, queues: Sequence[str], deadline: float) -> None:
        """Be sent nothing more of other queues than these: they are paused. To be called before anything of them is
        settled, which would bring more; what is on its way then comes back as if it had died."""
        if set(self._consumers.values()) - set(queues):
            self.stop_consuming(deadline)

    def _put_ahead(self, connection: Connection, queues: Sequence[str], deadline: float) -> None:
        """Send what has come of other queues than these ahead of them."""
        left = [queue for queue, waiting in self._waiting.items() if waiting and queue not in queues]
        again = [_suspected(name, each, charge=each.redelivered) for name in left for each in self._waiting.pop(name)]
        if again:
            self._send_again(connection, again, deadline)

    def _turn_order(self, queues: Sequence[str]) -> None:
        if set(self._order) != set(queues):
            self._order = list(queues)
            # Of one that goes on after a pause there may be some that were given back ahead of it.
            self._doubt = True

    def _from_here(self, limit: int) -> list[tuple[str, Letter]]:
        """Of each queue in turn one."""
        found: list[tuple[str, Letter]] = []
        while len(found) < limit:
            before = len(found)
            for queue in self._order:
                waiting = self._waiting.get(queue)
                if waiting and len(found) < limit:
                    found.append((queue, waiting.popleft()))
            if len(found) == before:
                break
        return found

    def _from_queues(self, limit: int, deadline: float) -> list[tuple[str, Letter]]:
        """Ask the queues, for one first: most of the time there is none or many. The queue that brought something
        is asked last in the next turn."""
        found: list[tuple[str, Letter]] = []
        served: list[str] = []
        for queue in self._order:
            step = 1
            while len(found) < limit:
                asked = min(step, limit - len(found))
                letters = self.channel.get(queue, asked, deadline)
                found += [(queue, letter) for letter in letters]
                if letters and queue not in served:
                    served.append(queue)
                if len(letters) < asked:
                    break
                step *= 8
            if len(found) == limit:
                break
        self._order = [name for name in self._order if name not in served] + served
        return found

    def look_for_suspects(self) -> None:
        """One was sent from here."""
        self._doubt = True

    def _suspect(self, connection: Connection, tokens: Iterable[int], deadline: float) -> Delivery | None:
        """One that came back from a dead connection, to be run alone. They stand in queues of their own and are only
        ever asked for: what comes back from there was held by a process that died over it, and is charged."""
        if not self._doubt and monotonic() < self._next_look:
            return None
        self._doubt, self._next_look = False, monotonic() + _LOOK_EVERY
        for queue in self._order:
            name = suspects_of(queue)
            while self._count(connection, name, deadline):
                for letter in self.channel.get(name, 1, deadline):
                    message, facts = unpacked(letter, queue)
                    if not letter.redelivered:
                        self._doubt = True
                        return self._hand_out(queue, letter, message, facts, tokens)
                    self._send_again(connection, [_suspected(name, letter)], deadline)
        return None

    def _without_the_doubtful(
        self, connection: Connection, found: Sequence[tuple[str, Letter]], deadline: float
    ) -> list[tuple[str, Letter, Message, Facts]]:
        """Send what came back from a dead connection, or from a consumer that ended, to the suspects; and with no
        charge what stood behind it, which must not overtake it."""
        again: list[_Back] = []
        good: list[tuple[str, Letter, Message, Facts]] = []
        doubtful: set[str] = set()
        for queue, letter in found:
            if letter.redelivered or queue in doubtful:
                doubtful.add(queue)
                again.append(_suspected(queue, letter, charge=letter.redelivered))
            else:
                good.append((queue, letter, *unpacked(letter, queue)))
        if again:
            self._doubt = True
            self._send_again(connection, again, deadline)
        return good

    def _sift(self, connection: Connection, deadline: float) -> bool:
        """Send on at once whatever was sent here and had come back; return whether anything had."""
        again = []
        for queue, waiting in self._waiting.items():
            if any(letter.redelivered for letter in waiting):
                again += [_suspected(queue, letter) for letter in waiting if letter.redelivered]
                self._waiting[queue] = deque(letter for letter in waiting if not letter.redelivered)
        if again:
            self._doubt = True
            self._send_again(connection, again, deadline)
        return bool(again)

    def _send_again(self, connection: Connection, again: Sequence[_Back], deadline: float) -> None:
        self._acknowledged.update(back.source for back in again)
        self._give_back(connection, [(back.message, back.facts) for back in again], deadline)
        self.channel.ack([back.tag for back in again], deadline)

    def done(self, tokens: Sequence[int], deadline: float) -> None:
        """Acknowledge what is settled; in one piece where nothing older is left."""
        ended = [self.held.pop(token) for token in tokens]
        self._acknowledged.update(held.source for held in ended)
        tags = [held.tag for held in ended]
        left = [held.tag for held in self.held.values()]
        left += [letter.tag for waiting in self._waiting.values() for letter in waiting]
        if left and min(left) < max(tags):
            self.channel.ack(tags, deadline)
        else:
            self.channel.ack_up_to(max(tags), deadline)

    def _hand_out(
        self, queue: str, letter: Letter, message: Message, facts: Facts, tokens: Iterable[int]
    ) -> Delivery:  # fmt: skip
        token = next(iter(tokens))
        self.held[token] = Held(letter.tag, message, facts)
        return delivery_of(Lease(self.name, token), queue, self.held[token])

    # -- being sent ---------------------------------------------------------------------------------------------------

    def listen(self, queues: Sequence[str], deadline: float) -> None:
        """Have the next messages sent here, because somebody waits for them."""
        self._used = monotonic()
        if set(self._consumers.values()) != set(queues):
            self.stop_consuming(deadline)
            few = self._last_limit < STREAM
            self.consume(queues, 1 if few else 2 * self._last_limit, deadline)

    def consume(self, queues: Sequence[str], prefetch: int, deadline: float) -> None:
        """Begin to be sent messages of these queues, so many beside what is sent already."""
        more = min(prefetch, _MOST)
        if self._consumers:
            self._prefetch += more
        else:
            self._prefetch = more
            # Later tags are higher.
            here = [letter.tag for waiting in self._waiting.values() for letter in waiting]
            self._since = max([held.tag for held in self.held.values()] + here, default=0)
        self.channel.qos(more, deadline)
        for queue in queues:
            tag = f"talo{next(self._serial)}"
            self._consumers[tag] = queue
            try:
                self.channel.consume(queue, tag, deadline)
            except BaseException:
                del self._consumers[tag]
                raise

    def _unsettled(self) -> int:
        """How many that have come since the consumers began are held."""
        return sum(held.tag > self._since for held in self.held.values())

    def stop_consuming(self, deadline: float) -> None:
        """Be sent no more; what was sent before stays here."""
        for tag in list(self._consumers):
            self.channel.cancel(tag, deadline)
        # The letters of an ended consumer have all come before the answer.
        self._consumers.clear()

    def tidy(self, connection: Connection, deadline: float) -> None:
        """Give back what was sent here and is not fetched, because a long task runs or nothing is fetched now."""
        if self._stocked and monotonic() - self._used > _PATIENCE:
            self.stop_consuming(deadline)
            self._return_rest(connection, deadline)

    def _return_rest(self, connection: Connection, deadline: float) -> None:
        if not self._stocked:
            return
        self._sift(connection, deadline)
        again = [
            _Back(queue, letter.tag, *unpacked(letter, queue))
            for queue, waiting in self._waiting.items()
            for letter in waiting
        ]
        self._waiting.clear()
        if again:
            self._send_again(connection, again, deadline)

    def release(self, connection: Connection, deadline: float) -> None:
        """Give back what was never handed out, be sent no more, and end when all that was acknowledged has ended."""
        self.stop_consuming(deadline)
        self._return_rest(connection, deadline)
        with contextlib.suppress(ChannelRefused):  # the queue is gone, and all that was in it
            self._ask_for_more(connection, deadline)
        # What the server has not read when the connection ends it never reads.
        self.channel.close(deadline)
        connection.settle_closing(deadline)

    def _ask_for_more(self, connection: Connection, deadline: float) -> None:
        """Ask the queues of which much was acknowledged, until that is sure to have ended. What they bring goes ahead
        of them, to the suspects, though with no charge: a worker that is replaced often must not mix up its queues."""
        many = [source for source, count in self._acknowledged.items() if count > _FEW]
        found = [
            (source, letter)
            for _ in range(_ROUNDS)
            for source in many
            for letter in self.channel.get(source, 1, deadline)
        ]
        again = [_suspected(source, letter, charge=letter.redelivered) for source, letter in found]
        if again:
            self._send_again(connection, again, deadline)

    def deliveries(self) -> list[Delivery]:
        """What it holds, in the order of tokens."""
        return [
            delivery_of(Lease(self.name, token), held.message.queue, held) for token, held in sorted(self.held.items())
        ]


def _suspected(source: str, letter: Letter, *, charge: bool = True) -> _Back:
    """What goes to the suspects, charged if it came back from a dead connection."""
    message, facts = unpacked(letter, source.removeprefix(_SUSPECTS))
    return _Back(source, letter.tag, message, Facts(facts.deliveries + charge, True))


def delivery_of(lease: Lease, queue: str, held: Held) -> Delivery:
    """The delivery of what is held."""
    return Delivery(
        lease=lease, queue=queue, message=held.message, deliveries=held.facts.deliveries, suspect=held.facts.suspect
    )
