"""A form: what the messages of all calls of one kind have in common, written once.

Calls of one task with the same options differ in nothing but ids, arguments and parents. A ``Form`` is made of a
complete model message and fills those in. Its messages know it, so that a store may keep the constant part in its own
writing, too (``envelope`` does). Which calls are alike is not known here. Called by ``app.send``, which knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from talo.errors import EncodeError
from talo.wire import serializers
from talo.wire._ids import new_id
from talo.wire._json import dumps
from talo.wire._write import encode_body
from talo.wire.message import Message
from talo.wire.repr import saferepr
from talo.wire.sent import SENT
from talo.wire.serializers import JSON

__all__ = ["BLANK_HEADERS", "BLANK_PROPERTIES", "FilledForm", "Form"]

P = TypeVar("P")

#: What is filled in beside the body.
BLANK_HEADERS: Final = ("id", "group", "group_index", "root_id", "parent_id", "argsrepr", "kwargsrepr", SENT)
BLANK_PROPERTIES: Final = ("correlation_id", "reply_to")

#: How a JSON body without follow-ups ends.
_NOTHING_FOLLOWS = b',{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'


class FilledForm(Message, kw_only=True):
    """A message that differs from the model of its form in the blanks only: ids, parents, its place in a group, who
    asked, arguments, body."""

    form: Form

    def loose(self) -> Message:
        """The same as a message of its own, which may be changed and may leave the process."""
        return Message(
            queue=self.queue,
            headers=self.headers,
            body=self.body,
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            properties=self.properties,
            priority=self.priority,
            exchange=self.exchange,
            routing_key=self.routing_key,
        )


class Form:
    """What calls of one kind have in common, made of ``model``: any of them, in protocol 2, neither delayed nor
    expiring, with nothing that follows it."""

    __slots__ = ("_codec", "_compression", "_levels", "_printed", "model")

    def __init__(self, model: Message, repr_levels: int = 3) -> None:
        self.model = model
        self._levels = repr_levels
        self._printed: dict[Callable[[Form], Any], Any] = {}
        self._codec = serializers.get(model.content_type)
        self._compression = model.headers.get("compression")

    def printed(self, by: Callable[[Form], P]) -> P:
        """What ``by`` makes of this form for a store: asked for once."""
        found: P | None = self._printed.get(by)
        if found is None:
            found = self._printed[by] = by(self)
        return found

    def marked(self) -> Message:
        """The model with a word of its own in each blank, by which the blanks are found in what is written of it."""
        model = self.model
        return msgspec.structs.replace(
            model,
            body=new_id().encode(),
            headers={**model.headers, **{name: new_id() for name in BLANK_HEADERS}},
            properties={**model.properties, **{name: new_id() for name in BLANK_PROPERTIES}},
        )

    def fill(
        self,
        id: str,
        args: Any,
        kwargs: Mapping[str, Any],
        *,
        root_id: str,
        parent_id: str | None,
        reply_to: str,
        now: float,
        group: str | None = None,
        group_index: int | None = None,
    ) -> FilledForm:
        """Return the message of one call, sent ``now`` (epoch seconds). ``EncodeError`` as of ``encode_body``."""
        model = self.model
        headers = model.headers.copy()
        headers["id"] = id
        headers["group"] = group
        headers["group_index"] = group_index
        headers["root_id"] = root_id
        headers["parent_id"] = parent_id
        headers["argsrepr"] = saferepr(args, maxlevels=self._levels)
        headers["kwargsrepr"] = saferepr(kwargs, maxlevels=self._levels) if kwargs else "{}"
        headers[SENT] = now
        # Containers are not shared: receivers of signals may write in them.
        headers["timelimit"] = headers["timelimit"].copy()
        headers["stamps"] = {}
        properties = model.properties.copy()
        properties["correlation_id"] = id
        properties["reply_to"] = reply_to
        return FilledForm(
            queue=model.queue,
            headers=headers,
            body=self._body(args, kwargs),
            content_type=model.content_type,
            content_encoding=model.content_encoding,
            properties=properties,
            priority=model.priority,
            exchange=model.exchange,
            routing_key=model.routing_key,
            form=self,
        )

    def _body(self, args: Any, kwargs: Mapping[str, Any]) -> bytes:
        if self._codec is JSON and self._compression is None:
            try:
                return b"[%b,%b%b" % (dumps(args), dumps(kwargs) if kwargs else b"{}", _NOTHING_FOLLOWS)
            except EncodeError:
                pass  # said again below, in the caller's words
        return encode_body(args, kwargs, codec=self._codec, compression=self._compression)[0]
