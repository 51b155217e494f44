"""Remote control on the wire: Celery's requests and replies as posts of the bus.

Owns the forms (exchanges, headers, bodies) and who is addressed; what is done about a request is ``control``'s and the
worker's. Written by ``app.mailbox`` (requests) and ``worker.panel`` (replies)."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from talo.errors import MalformedMessage, TaloError
from talo.stores.records import Post
from talo.wire import serializers

__all__ = [
    "Exchanges",
    "ReplyTo",
    "Request",
    "is_addressed",
    "read_reply",
    "read_request",
    "reply_post",
    "request_post",
]

#: No command of anybody's is longer; a longer one is not read at all.
_MOST_BYTES = 4 << 20
#: Regular expressions come from whoever may write to the broker: so long, with so many quantifiers.
_MOST_PATTERN = 128
_MOST_QUANTIFIERS = 3
_NOT_COUNTED = re.compile(r"\\.|\[\^?\]?[^\]]*\]|\(\?")
_JSON = serializers.get("json")


class Exchanges(msgspec.Struct, frozen=True):
    """The names that a fleet agrees on, made of the setting ``control_exchange``."""

    namespace: str = "celery"

    @property
    def requests(self) -> str:
        """Every worker hears it."""
        return f"{self.namespace}.pidbox"

    @property
    def replies(self) -> str:
        """Who asked hears it, under a key of its own."""
        return f"reply.{self.namespace}.pidbox"


class ReplyTo(msgspec.Struct):
    """Where an answer is wanted."""

    exchange: str
    routing_key: str


class Request(msgspec.Struct, kw_only=True):
    """One command as it was sent. ``expires`` is epoch seconds by the sender's clock, 0: never."""

    method: str
    arguments: dict[str, Any] = {}
    #: Node names; None: everybody.
    destination: list[str] | None = None
    pattern: str | None = None
    #: ``glob`` or ``pcre``.
    matcher: str | None = None
    ticket: str | None = None
    reply_to: ReplyTo | None = None
    clock: int = 0
    expires: float = 0.0


def request_post(request: Request, exchanges: Exchanges) -> Post:
    """Return the post of a request."""
    body: dict[str, Any] = {
        "method": request.method,
        "arguments": request.arguments,
        "destination": request.destination,
        "pattern": request.pattern,
        "matcher": request.matcher,
    }
    if request.reply_to is not None:
        body["ticket"] = request.ticket
        body["reply_to"] = {"exchange": request.reply_to.exchange, "routing_key": request.reply_to.routing_key}
    return Post(
        exchange=exchanges.requests,
        kind="fanout",
        body=_JSON.dumps(body),
        headers={"clock": request.clock, "expires": request.expires},
        properties={"delivery_mode": 2},
    )


def read_request(post: Post) -> Request:
    """Return the request of a post. ``MalformedMessage`` for what makes none."""
    fields = _fields(post)
    if isinstance(fields.get("destination"), str):
        fields["destination"] = [fields["destination"]]
    if fields.get("arguments") is None:
        fields.pop("arguments", None)
    headers = post.headers
    fields["clock"] = headers.get("clock") or 0
    fields["expires"] = headers.get("expires") or 0.0
    try:
        return msgspec.convert(fields, Request)
    except msgspec.ValidationError as exc:
        raise MalformedMessage("bad_request", str(exc)) from exc


def reply_post(request: Request, node: str, value: Any, clock: int) -> Post:
    """Return the post of a node's answer to a request that wants one. ``EncodeError`` if it cannot be written."""
    assert request.reply_to is not None
    return Post(
        exchange=request.reply_to.exchange,
        kind="direct",
        key=request.reply_to.routing_key,
        body=_JSON.dumps({node: value}),
        headers={"ticket": request.ticket, "clock": clock},
        properties={"delivery_mode": 1},
    )


def read_reply(post: Post) -> dict[str, Any]:
    """Return node names and their answers. ``MalformedMessage`` for what makes no reply."""
    return _fields(post)


def _fields(post: Post) -> dict[str, Any]:
    if post.content_type != _JSON.content_type:
        raise MalformedMessage("bad_content_type", f"{post.content_type!r} is not taken, only {_JSON.content_type}")
    if len(post.body) > _MOST_BYTES:
        raise MalformedMessage("too_large", f"{len(post.body)} bytes")
    try:
        fields = _JSON.loads(post.body)
    except TaloError as exc:
        raise MalformedMessage("not_json", str(exc)) from exc
    if not isinstance(fields, dict):
        raise MalformedMessage("not_object", f"it is of type {type(fields).__name__}")
    return fields


def is_addressed(request: Request, node: str) -> bool:
    """Whether a node is meant. ``MalformedMessage`` for a pattern that is refused.

    ``destination`` decides where it is given, else ``pattern`` if its ``matcher`` is given too, else everybody is.
    """
    if request.destination:
        return node in request.destination
    if not request.pattern or not request.matcher:
        return True
    if request.matcher == "glob":
        if len(request.pattern) > _MOST_PATTERN:
            raise MalformedMessage("bad_pattern", f"a pattern has at most {_MOST_PATTERN} characters")
        return fnmatchcase(node, request.pattern)
    if request.matcher == "pcre":
        return _bounded(request.pattern).match(node) is not None
    raise MalformedMessage("bad_matcher", f"{request.matcher!r} is neither glob nor pcre")


def _bounded(pattern: str) -> re.Pattern[str]:
    """Compile an expression whose time is bounded by a small power of the text's length; refuse any other.

    What takes exponential time repeats a group, or has many quantifiers in a row; back references are worse.
    """
    bare = _NOT_COUNTED.sub(lambda found: "(" if found[0] == "(?" else "x", pattern)
    quantifiers = sum(bare.count(sign) for sign in "*+?{")
    if (
        len(pattern) > _MOST_PATTERN
        or quantifiers > _MOST_QUANTIFIERS
        or re.search(r"\)[*+?{]", bare)
        or re.search(r"\\\d|\(\?P=|\(\?\(", pattern)
    ):
        raise MalformedMessage("bad_pattern", "the pattern is longer or repeats more than is taken from remote")
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as exc:
        raise MalformedMessage("bad_pattern", str(exc)) from exc
