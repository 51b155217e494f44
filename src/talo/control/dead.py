"""Dead letters: listing, showing, replaying and dropping them.

Owns what a replay is: the same call, sent as a new run under a new id, linked to the old one by the header
``replay_of``. Keeping the letters is the store's; replacing a letter by its new run is one step there, so none is
replayed twice or lost. Called by the command line and the dashboard."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from talo.errors import MalformedMessage
from talo.execution.secrets import Secrets
from talo.stores.base import Broker, DeadLetter
from talo.stores.parking import unparked
from talo.wire import serializers
from talo.wire._ids import new_id
from talo.wire.message import Message
from talo.wire.protocol import Call, decode, encode_body, make_message
from talo.wire.repr import saferepr
from talo.wire.sealed import masked, unmasked
from talo.wire.sent import SENT

__all__ = ["DeadLetters", "Replayed", "edited", "new_run"]

#: Letters that are read or replaced in one step.
BATCH = 100

#: Properties that belong to the old sending.
_OF_ONE_SENDING = frozenset({"expiration", "delivery_tag"})


class Replayed(msgspec.Struct, kw_only=True, frozen=True):
    """What became of one letter: ``task_id`` is the new run's; None with a ``fault`` that says why there is none."""

    letter: str
    replay_of: str | None
    task_id: str | None = None
    fault: str | None = None


class DeadLetters:
    """The dead letters of one broker.

    ``accept`` holds the content types that may be read (``serializers.accept``): a letter in any other is never
    decoded, whoever asks for its replay. ``secrets`` seals what an edit puts in the place of a secret argument.
    """

    def __init__(self, broker: Broker, accept: frozenset[str], secrets: Secrets) -> None:
        self._broker = broker
        self._accept = accept
        self._secrets = secrets

    @classmethod
    def of(cls, app: Any) -> DeadLetters:
        """The dead letters of an app."""
        return cls(app.store.broker, serializers.accept(app.conf.accept_content), app.secrets)

    def list(
        self, *, task: str | None = None, queue: str | None = None, limit: int = 50, offset: int = 0
    ) -> Sequence[DeadLetter]:
        """Return letters, latest first, of this task and queue."""
        return self._broker.dead(limit=limit, offset=offset, task=task, queue=queue)

    def number(self, most: int, *, task: str | None = None, queue: str | None = None) -> int:
        """Return how many letters there are of this task and queue, counted up to ``most``."""
        return self._broker.dead_count(most, task=task, queue=queue)

    def get(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        """Return the letters of these ids, which may be the letters' own or those of tasks. Unknown ones are left
        out."""
        return self._broker.dead_get(ids)

    def ids(self, *, task: str | None = None, queue: str | None = None) -> Sequence[str]:
        """Return the ids of every letter there is now.

        Taking them first keeps what dies meanwhile (a replayed run that fails again) out of the same sweep.
        """
        found: dict[str, None] = {}
        offset = 0
        while letters := self.list(task=task, queue=queue, limit=BATCH, offset=offset):
            found.update(dict.fromkeys(letter.id for letter in letters))
            offset += len(letters)
        return tuple(found)

    def replay(self, ids: Sequence[str]) -> Iterator[Replayed]:
        """Send these letters again as new runs, batch by batch, and tell what became of each.

        A letter that makes no task stays and is told with its fault; one that is gone is told so too.
        """
        for start in range(0, len(ids), BATCH):
            yield from self._replay(ids[start : start + BATCH])

    def replay_edited(
        self,
        id: str,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
    ) -> Replayed:
        """Send one letter again with other arguments, or to another queue; what is None stays as it was, and so does
        a secret argument where the mask that was shown for it is left standing.

        ``EncodeError`` for arguments that the letter's serializer cannot write.
        """
        for letter in self.get([id])[:1]:
            try:
                message = self._edited(new_run(letter, self._accept), args, kwargs, queue)
            except MalformedMessage as error:
                return Replayed(letter=letter.id, replay_of=letter.death.task_id, fault=str(error))
            return self._told(letter, message, bool(self._broker.dead_replace([letter.id], [message])))
        return Replayed(letter=id, replay_of=None, fault="there is no such dead letter")

    def _edited(self, message: Message, args: Any, kwargs: Any, queue: str | None) -> Message:
        if args is not None or kwargs is not None:
            call = decode(message, self._accept)
            args = call.args if args is None else unmasked(args, call.args)
            kwargs = call.kwargs if kwargs is None else unmasked(kwargs, call.kwargs)
            args, kwargs = self._secrets.call(call.task, args, kwargs)
        return edited(message, self._accept, args=args, kwargs=kwargs, queue=queue)

    def call(self, letter: DeadLetter) -> Call | None:
        """The call of a letter, decoded, its secret arguments sealed; None if it makes none."""
        if letter.message is None:
            return None
        try:
            call = decode(letter.message, self._accept)
        except MalformedMessage:
            return None
        call.args, kwargs = self._secrets.call(call.task, call.args, call.kwargs)
        call.kwargs = dict(kwargs)
        return call

    def editable(self, letter: DeadLetter) -> dict[str, Any] | None:
        """Its queue, and its arguments as JSON texts, to be edited, secret ones masked: None where their sender
        hid them, or they are no JSON. None at all if it makes no task."""
        call = self.call(letter)
        if call is None:
            return None
        headers = letter.message.headers if letter.message is not None else {}
        told: dict[str, Any] = {"queue": letter.queue, "args": None, "kwargs": None}
        for name, value, written in (
            ("args", tuple(call.args), "argsrepr"),
            ("kwargs", dict(call.kwargs), "kwargsrepr"),
        ):
            # A sender that shows something else than the arguments hides something.
            if headers.get(written) in (None, saferepr(value), saferepr(list(value) if name == "args" else value)):
                try:
                    told[name] = msgspec.json.encode(masked(value)).decode()
                except (TypeError, ValueError):
                    told[name] = None
        return told

    def drop(self, ids: Sequence[str]) -> int:
        """Delete these letters for good; return how many there were."""
        dropped = 0
        for start in range(0, len(ids), BATCH):
            letters = [letter.id for letter in self.get(ids[start : start + BATCH])]
            if not letters:
                continue
            done = self._broker.dead_replace(letters, [])
            # Somebody else took one of them: the rest goes one by one.
            dropped += done or sum(self._broker.dead_replace([letter], []) for letter in letters)
        return dropped

    def _replay(self, ids: Sequence[str]) -> Iterator[Replayed]:
        letters = self.get(ids)
        known = {name for letter in letters for name in (letter.id, letter.death.task_id)}
        runs: list[tuple[DeadLetter, Message]] = []
        for letter in letters:
            try:
                runs.append((letter, new_run(letter, self._accept)))
            except MalformedMessage as error:
                yield Replayed(letter=letter.id, replay_of=letter.death.task_id, fault=str(error))
        if runs:
            done = self._broker.dead_replace([letter.id for letter, _ in runs], [message for _, message in runs])
            for letter, message in runs:
                yield self._told(letter, message, bool(done or self._broker.dead_replace([letter.id], [message])))
        for name in ids:
            if name not in known:
                yield Replayed(letter=name, replay_of=None, fault="there is no such dead letter")

    @staticmethod
    def _told(letter: DeadLetter, message: Message, sent: bool) -> Replayed:
        of = message.headers["replay_of"]
        if not sent:
            return Replayed(letter=letter.id, replay_of=of, fault="somebody else has replayed or dropped it")
        return Replayed(letter=letter.id, replay_of=of, task_id=message.id)


def new_run(letter: DeadLetter, accept: frozenset[str]) -> Message:
    """Return the message of a new run of a dead letter: due now, with no retries behind it and no expiry.

    The body stays as it was encoded; only protocol 1, which has the id inside, is written anew as protocol 2.
    ``MalformedMessage`` if the letter makes no task.
    """
    message = letter.message
    if message is None or type(message.headers) is not dict:
        raise MalformedMessage(letter.death.reason, letter.death.text or "its bytes make no message")
    if "task" not in message.headers:
        message = _as_protocol_2(message, accept)
    message = unparked(message)
    old, task_id = message.id, new_id()
    root = message.headers.get("root_id")
    headers = {
        **message.headers,
        "id": task_id,
        "root_id": task_id if root in (None, old) else root,
        "retries": 0,
        "eta": None,
        "expires": None,
        "replay_of": old,
        SENT: time.time(),
    }
    properties = {name: value for name, value in message.properties.items() if name not in _OF_ONE_SENDING}
    properties["correlation_id"] = task_id
    return msgspec.structs.replace(message, headers=headers, properties=properties, queue=letter.queue, due=None)


def edited(
    message: Message,
    accept: frozenset[str],
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    queue: str | None = None,
) -> Message:
    """Return a message of protocol 2 with other arguments, or for another queue. ``MalformedMessage``,
    ``EncodeError``."""
    if queue is not None:
        # The default exchange leads to the queue of the key's name, whatever exchange the first sending went by.
        message = msgspec.structs.replace(message, queue=queue, exchange="", routing_key=queue)
    if args is None and kwargs is None:
        return message
    call = decode(message, accept)
    args, kwargs = call.args if args is None else args, call.kwargs if kwargs is None else kwargs
    body, more = encode_body(
        args,
        kwargs,
        codec=serializers.get(message.content_type),
        compression=message.headers.get("compression"),
        callbacks=call.callbacks,
        errbacks=call.errbacks,
        chain=call.chain,
        chord=call.chord,
    )
    shown = {"argsrepr": saferepr(tuple(args)), "kwargsrepr": saferepr(dict(kwargs))}
    return msgspec.structs.replace(message, body=body, headers={**message.headers, **shown, **more})


def _as_protocol_2(message: Message, accept: frozenset[str]) -> Message:
    call = decode(message, accept)
    codec = serializers.get(message.content_type)
    fresh = make_message(
        call.task,
        call.id,
        queue=message.queue,
        exchange=message.exchange,
        routing_key=message.routing_key,
        priority=message.priority,
        codec=codec,
    )
    fresh.body, _ = encode_body(
        call.args,
        call.kwargs,
        callbacks=call.callbacks,
        errbacks=call.errbacks,
        chain=call.chain,
        chord=call.chord,
        codec=codec,
    )
    fresh.headers |= {name: value for name, value in call.headers.items() if name != "compression"}
    return fresh
