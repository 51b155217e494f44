"""One channel of a connection: calls that are answered, publishing with confirms, and what the server sends by itself.

Owns the state of one channel; frames are ``frames``'s, the socket ``connection``'s. The server closes a channel on
which something was refused; then every further use raises what it said. Not thread-safe: used under the client's
lock. Called by ``broker``, ``topology``, ``dead``, ``bus``.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from talo.errors import StoreUnavailable, TaloError
from talo.stores.rabbitmq._refusals import refusal_of
from talo.stores.rabbitmq.frames import content, method, read_short, short, table

if TYPE_CHECKING:
    from talo.stores.rabbitmq.connection import Connection

__all__ = ["Ask", "Batch", "Channel", "Letter", "exchange_bound", "exchange_declared", "queue_bound", "queue_declared"]

_ACK = struct.Struct(">QB")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_QOS = struct.Struct(">IHB")
_CLOSE = (20, 40)
_GET_OK, _GET_EMPTY = (60, 71), (60, 72)
_DELIVER, _RETURN = (60, 60), (60, 50)
_CONFIRMED, _REFUSED = (60, 80), (60, 120)
_CANCELLED = (60, 30)
#: Methods that a content follows.
CARRYING = frozenset({_GET_OK, _DELIVER, _RETURN})
#: So many frames of gets or publishes are written in one piece.
_PIECE = 200
#: So many messages may be on their way before the next are written.
_WINDOW = 2000


class Letter(NamedTuple):
    """A message as the server handed it over; ``header`` is the payload of its header frame."""

    tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    header: bytes
    body: bytes
    consumer: str = ""


class Batch:
    """What was published together, until it is confirmed."""

    __slots__ = ("first", "last", "refused", "returned", "ways")

    def __init__(self, first: int, ways: Sequence[tuple[str, str]]) -> None:
        #: Its publishes are numbered from here to there.
        self.first = first
        self.last = first + len(ways) - 1
        #: Exchange and routing key of each.
        self.ways = ways
        #: Whether the server could not keep one of them.
        self.refused = False
        #: The ways that have led into no queue.
        self.returned: set[tuple[str, str]] = set()


class Ask(NamedTuple):
    """A method that is answered by the next one of its class."""

    class_id: int
    method_id: int
    arguments: bytes


def exchange_declared(
    name: str, kind: str, *, durable: bool = True, auto_delete: bool = False, passive: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> Ask:  # fmt: skip
    """Let an exchange be there; ``passive``: ask whether it is."""
    bits = passive | durable << 1 | auto_delete << 2
    return Ask(40, 10, b"\0\0" + short(name) + short(kind) + bytes((bits,)) + table(arguments or {}))


def queue_declared(
    name: str, *, durable: bool = True, exclusive: bool = False, auto_delete: bool = False, passive: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> Ask:  # fmt: skip
    """Let a queue be there; ``passive``: ask whether it is."""
    bits = passive | durable << 1 | exclusive << 2 | auto_delete << 3
    return Ask(50, 10, b"\0\0" + short(name) + bytes((bits,)) + table(arguments or {}))


def queue_bound(queue: str, exchange: str, key: str, arguments: Mapping[str, Any] | None = None) -> Ask:
    """Let a queue have what an exchange gets with this key."""
    return Ask(50, 20, b"\0\0" + short(queue) + short(exchange) + short(key) + b"\0" + table(arguments or {}))


def exchange_bound(target: str, source: str, key: str) -> Ask:
    """Let an exchange have what another gets with this key."""
    return Ask(40, 30, b"\0\0" + short(target) + short(source) + short(key) + b"\0" + table({}))


class Channel:
    """One channel. ``on_letter`` gets what its consumers are sent, ``on_cancel`` the tag of a consumer whose queue is
    gone."""

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection = connection
        self.number = number
        self.open = True
        self.on_letter: Callable[[Letter], None] = lambda _letter: None
        self.on_cancel: Callable[[str], None] = lambda _tag: None
        self._refusal: TaloError | None = None
        self._replies: deque[tuple[tuple[int, int], bytes, Letter | None]] = deque()
        #: Publishing: the number of the last one; up to which all are confirmed, and which beyond that; what is on its
        #: way.
        self._published = 0
        self._confirmed = 0
        self._early: set[int] = set()
        self._batches: list[Batch] = []
        self._confirming = False

    def belongs_to(self, connection: Connection) -> bool:
        """Whether it is one of this connection's."""
        return self._connection is connection

    # -- calls --------------------------------------------------------------------------------------------------------

    def call(self, class_id: int, method_id: int, arguments: bytes, deadline: float) -> bytes:
        """Send a method and return the payload of its answer, whose method id is the next one."""
        self.check()
        self._connection.write(method(self.number, class_id, method_id, arguments), deadline)
        payload: bytes = self._reply((class_id, method_id + 1), deadline)[0]
        return payload

    def call_all(self, asks: Sequence[Ask], deadline: float) -> None:
        """Send methods in one piece, and wait until each is answered. Raises what refused the first that was."""
        self.check()
        self._connection.write(b"".join(method(self.number, *ask) for ask in asks), deadline)
        for class_id, method_id, _ in asks:
            self._reply((class_id, method_id + 1), deadline)

    def cast(self, *frames: bytes, deadline: float) -> None:
        """Send frames that have no answer."""
        self.check()
        self._connection.write(b"".join(frames), deadline)

    def _reply(self, wanted: tuple[int, int], deadline: float, other: tuple[int, int] | None = None) -> Any:
        while not self._replies:
            self.check()
            self._connection.read(deadline)
        kind, payload, letter = self._replies.popleft()
        if kind not in (wanted, other):
            raise self._connection.broken(f"answered {kind} where {wanted} was due")
        return payload, letter

    def check(self) -> None:
        """Raise what closed the channel, if something has."""
        if self._refusal is not None:
            raise self._refusal
        if not self.open:
            raise StoreUnavailable(f"{self._connection.shown} has closed the channel")

    def close(self, deadline: float) -> None:
        """Close it: what it held unacknowledged is the queues' again. Idempotent."""
        if self.open and not self._connection.closed:
            self.open = False
            self._connection.forget(self.number)
            arguments = _U16.pack(200) + short("done") + _U32.pack(0)
            self._connection.write(method(self.number, *_CLOSE, arguments), deadline)

    # -- topology -----------------------------------------------------------------------------------------------------

    def declare_exchange(
        self, name: str, kind: str, deadline: float, *, durable: bool = True, auto_delete: bool = False,
        passive: bool = False, arguments: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Declare an exchange."""
        asked = exchange_declared(
            name, kind, durable=durable, auto_delete=auto_delete, passive=passive, arguments=arguments
        )
        self.call(*asked, deadline)

    def declare_queue(
        self, name: str, deadline: float, *, durable: bool = True, exclusive: bool = False, auto_delete: bool = False,
        passive: bool = False, arguments: Mapping[str, Any] | None = None,
    ) -> tuple[str, int]:  # fmt: skip
        """Declare a queue (``passive``: only ask for it); return its name and the number of ready messages."""
        asked = queue_declared(
            name, durable=durable, exclusive=exclusive, auto_delete=auto_delete, passive=passive, arguments=arguments
        )
        answer = self.call(*asked, deadline)
        found, at = read_short(answer, 4)
        return found, int(_U32.unpack_from(answer, at)[0])

    def bind(
        self, queue: str, exchange: str, key: str, deadline: float, arguments: Mapping[str, Any] | None = None
    ) -> None:
        """Bind a queue to an exchange."""
        self.call(*queue_bound(queue, exchange, key, arguments), deadline)

    def purge(self, queue: str, deadline: float) -> int:
        """Delete what is ready in a queue; return how many."""
        answer = self.call(50, 30, b"\0\0" + short(queue) + b"\0", deadline)
        return int(_U32.unpack_from(answer, 4)[0])

    def delete_queue(self, queue: str, deadline: float) -> None:
        """Delete a queue."""
        self.call(50, 40, b"\0\0" + short(queue) + b"\0", deadline)

    # -- consuming ----------------------------------------------------------------------------------------------------

    def qos(self, prefetch: int, deadline: float) -> None:
        """So many unacknowledged messages for each consumer that begins from now on."""
        self.call(60, 10, _QOS.pack(0, prefetch, 0), deadline)

    def consume(
        self, queue: str, tag: str, deadline: float, *, no_ack: bool = False, exclusive: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Have the messages of a queue sent to ``on_letter``."""
        bits = no_ack << 1 | exclusive << 2
        payload = b"\0\0" + short(queue) + short(tag) + bytes((bits,)) + table(arguments or {})
        self.call(60, 20, payload, deadline)

    def cancel(self, tag: str, deadline: float) -> None:
        """End a consumer; what it was sent before the answer has come to ``on_letter``."""
        self.call(60, 30, short(tag) + b"\0", deadline)

    def get(self, queue: str, limit: int, deadline: float) -> list[Letter]:
        """Fetch up to ``limit`` messages one by one, asked for in one piece."""
        found: list[Letter] = []
        frame = method(self.number, 60, 70, b"\0\0" + short(queue) + b"\0")
        while len(found) < limit:
            asked = min(_PIECE, limit - len(found))
            self.check()
            self._connection.write(frame * asked, deadline)
            letters = [self._reply(_GET_OK, deadline, _GET_EMPTY)[1] for _ in range(asked)]
            found += [letter for letter in letters if letter is not None]
            if None in letters:
                break
        return found

    def ack(self, tags: Sequence[int], deadline: float) -> None:
        """Acknowledge these deliveries; nothing answers."""
        if tags:
            self.cast(*[method(self.number, 60, 80, _ACK.pack(tag, 0)) for tag in tags], deadline=deadline)

    def ack_up_to(self, tag: int, deadline: float) -> None:
        """Acknowledge every delivery up to this one."""
        self.cast(method(self.number, 60, 80, _ACK.pack(tag, 1)), deadline=deadline)

    # -- publishing ---------------------------------------------------------------------------------------------------

    def publish(
        self, letters: Sequence[tuple[str, str, bytes, bytes]], deadline: float, *, mandatory: bool = True
    ) -> list[int]:
        """Publish (exchange, routing key, properties, body) each, and wait until the server has confirmed all of
        them. Return the positions of those that no queue takes. ``StoreUnavailable`` if one was refused."""
        return self.confirmed(self.begin(letters, deadline, mandatory=mandatory), deadline)

    def begin(
        self, letters: Sequence[tuple[str, str, bytes, bytes]], deadline: float, *, mandatory: bool = True
    ) -> Batch:
        """Publish as ``publish`` does, and leave the last ones on their way: ``confirmed`` waits for them."""
        self.check()
        if not self._confirming:
            self.call(85, 10, b"\0", deadline)
            self._confirming = True
        batch = Batch(self._published + 1, [(exchange, key) for exchange, key, _, _ in letters])
        openings = {way: self._opening(*way, mandatory) for way in set(batch.ways)}
        self._batches.append(batch)
        frame_max = self._connection.frame_max
        for at in range(0, len(letters), _PIECE):
            frames: list[bytes] = []
            for exchange, key, properties, body in letters[at : at + _PIECE]:
                frames += (openings[exchange, key], content(self.number, properties, body, frame_max))
            self._connection.write(b"".join(frames), deadline)
            self._published += len(frames) // 2
            self._await_confirms(self._published - _WINDOW, deadline)
        return batch

    def _opening(self, exchange: str, key: str, mandatory: bool) -> bytes:
        return method(self.number, 60, 40, b"\0\0" + short(exchange) + short(key) + bytes((mandatory,)))

    def confirmed(self, batch: Batch, deadline: float) -> list[int]:
        """Wait for what was begun; return and raise as ``publish``."""
        self._await_confirms(batch.last, deadline)
        self._batches.remove(batch)
        if batch.refused:
            raise StoreUnavailable(f"{self._connection.shown} could not keep what was sent")
        if not batch.returned:
            return []
        return [at for at, way in enumerate(batch.ways) if way in batch.returned]

    # -- what comes ---------------------------------------------------------------------------------------------------

    def take(self, kind: tuple[int, int], payload: bytes, header: bytes = b"", body: bytes = b"") -> None:
        """Take what the server has sent on this channel: a method, with its content where one follows."""
        if kind == _DELIVER:
            consumer, at = read_short(payload, 4)
            self.on_letter(_letter(payload, at, header, body, consumer))
        elif kind in (_CONFIRMED, _REFUSED):
            self._confirm(kind, payload)
        elif kind == _GET_OK:
            self._replies.append((kind, payload, _letter(payload, 4, header, body)))
        elif kind == _RETURN:
            self._note_returned(payload)
        elif kind == _CANCELLED:
            self.on_cancel(read_short(payload, 4)[0])
        elif kind == _CLOSE:
            self._closed(payload)
        else:
            self._replies.append((kind, payload, None))

    def _await_confirms(self, number: int, deadline: float) -> None:
        self._connection.take_in()
        while self._confirmed < number:
            self.check()
            self._connection.read(deadline)
        self.check()

    def _confirm(self, kind: tuple[int, int], payload: bytes) -> None:
        number, multiple = _ACK.unpack_from(payload, 4)
        if kind == _REFUSED:
            for batch in self._batches:
                batch.refused |= batch.first <= number and (bool(multiple) or number <= batch.last)
        if multiple:
            self._confirmed = max(self._confirmed, number)
        else:
            self._early.add(number)
        while self._confirmed + 1 in self._early:
            self._confirmed += 1
            self._early.discard(self._confirmed)

    def _note_returned(self, payload: bytes) -> None:
        # A return does not say which publish it was; but the way is the same for all to one exchange and key. If it led
        # somewhere before, that queue is gone now, with what the batches before have put into it.
        _, at = read_short(payload, 6)
        exchange, at = read_short(payload, at)
        way = exchange, read_short(payload, at)[0]
        for batch in self._batches:
            batch.returned.add(way)

    def _closed(self, payload: bytes) -> None:
        code = _U16.unpack_from(payload, 4)[0]
        text, at = read_short(payload, 6)
        about = (_U16.unpack_from(payload, at)[0], _U16.unpack_from(payload, at + 2)[0])
        self.open = False
        self._refusal = refusal_of(code, text, about, self._connection.shown)


def _letter(payload: bytes, at: int, header: bytes, body: bytes, consumer: str = "") -> Letter:
    tag = int.from_bytes(payload[at : at + 8], "big")
    exchange, end = read_short(payload, at + 9)
    key, _ = read_short(payload, end)
    return Letter(tag, payload[at + 8] != 0, exchange, key, header, body, consumer)
