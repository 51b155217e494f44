"""Results as Celery stores them: the document of one task, and the tuples that name results.

Owns the form; keys, expiry and the rule that a success is never overwritten are the stores'. Called by ``execution``
(writing) and ``app.result`` (reading).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from talo.errors import DecodeError, EncodeError, SecurityError
from talo.states import EXCEPTION_STATES
from talo.wire import compression as _compression
from talo.wire import serializers
from talo.wire._times import iso
from talo.wire.exceptions import exception_from_data, exception_to_data
from talo.wire.serializers import JSON, Codec

__all__ = ["ResultDoc", "ResultNode", "decode_result", "encode_result", "group_tuple", "read_tuple", "task_tuple"]

#: What a compressed result begins with; the header value of the compression and a zero follow.
_COMPRESSED = b"\0celery-compressed\0"


class ResultDoc(msgspec.Struct, kw_only=True):
    """The stored result of one task. ``result`` is as it was stored; ``value`` is what a reader wants of it."""

    task_id: str
    status: str
    result: Any = None
    traceback: str | None = None
    #: Result tuples of the tasks sent from inside.
    children: list[Any] | None = None
    #: ISO text in UTC.
    date_done: str | None = None
    group_id: str | None = None
    parent_id: str | None = None
    name: str | None = None
    args: Any = None
    kwargs: Any = None
    worker: str | None = None
    retries: int | None = None
    queue: str | None = None
    #: Every other field: ``stamped_headers``, and one per stamp.
    extra: dict[str, Any] = {}

    @property
    def value(self) -> Any:
        """The return value or meta data, or for states that mean a failure the exception (None if none was stored)."""
        if self.status in EXCEPTION_STATES and self.result is not None:
            return exception_from_data(self.result)
        return self.result

    @property
    def done_at(self) -> dt.datetime | None:
        """When the task ended, aware; None if it has not or the text is no time."""
        try:
            moment = dt.datetime.fromisoformat(self.date_done or "")
        except ValueError:
            return None
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


def encode_result(
    task_id: str,
    state: str,
    result: Any,
    *,
    traceback: str | None = None,
    children: Sequence[Any] | None = (),
    date_done: float | None = None,
    group_id: str | None = None,
    parent_id: str | None = None,
    extended: Mapping[str, Any] | None = None,
    codec: Codec | str = JSON,
    compression: str | None = None,
) -> bytes:
    """Return the document to store.

    An exception as ``result`` is written as data (pickle takes it as it is). ``date_done`` in epoch seconds, for states
    that end a task. ``extended`` holds further fields: ``name, args, kwargs, worker, retries, queue, stamped_headers``
    and one per stamp. ``EncodeError`` names the place (``result[0].user``); ``ImproperlyConfigured`` an unknown
    compression.
    """
    codec = serializers.get(codec)
    if isinstance(result, BaseException) and codec.name != "pickle":
        result = exception_to_data(result, codec)
    document = {
        "status": state,
        "result": result,
        "traceback": traceback,
        "children": None if children is None else list(children),
        "date_done": None if date_done is None else iso(date_done),
        "task_id": task_id,
    }
    if group_id is not None:
        document["group_id"] = group_id
    if parent_id is not None:
        document["parent_id"] = parent_id
    if extended:
        document = {**extended, **document}
    try:
        payload = codec.dumps(document)
    except EncodeError as exc:
        raise EncodeError(str(exc).removeprefix("$.")) from exc
    if compression is None:
        return payload
    payload, kind = _compression.compress(payload, compression)
    return b"%b%b\0%b" % (_COMPRESSED, kind.encode(), payload)


def decode_result(payload: bytes, accept: frozenset[str], codec: Codec | str | None = None) -> ResultDoc:
    """Return the document.

    A stored result does not say how it is written: ``codec`` does, else its first bytes. ``DecodeError`` when it is no
    result; ``SecurityError`` when it is in a format that is not in ``accept`` (content types).
    """
    if payload.startswith(_COMPRESSED):
        kind, _, payload = payload[len(_COMPRESSED) :].partition(b"\0")
        payload = _compression.decompress(payload, kind.decode("ascii", "replace"))
    codec = _sniffed(payload) if codec is None else serializers.get(codec)
    if codec.content_type not in accept:
        raise SecurityError(f"the result is written as {codec.name}, which the app does not accept")
    document = codec.loads(payload)
    if not isinstance(document, dict):
        raise DecodeError(f"a result is an object, this is of type {type(document).__name__}")
    extra = {name: document.pop(name) for name in document.keys() - _FIELDS}
    if extra:
        document["extra"] = extra
    if isinstance(document.get("date_done"), dt.datetime):  # So written by older versions, where the codec could.
        document["date_done"] = document["date_done"].isoformat()
    if not isinstance(document.get("traceback"), str):  # Workers of other languages put the error or the value there.
        document["traceback"] = None
    try:
        return msgspec.convert(document, ResultDoc)
    except msgspec.ValidationError as exc:
        raise DecodeError(f"no result: {exc}") from exc


_FIELDS = frozenset(ResultDoc.__struct_fields__) - {"extra"}


def _sniffed(payload: bytes) -> Codec:
    """Tell the codec of a document, which is always an object: JSON and msgpack have their own first bytes for that."""
    first = payload[:1]
    if first == b"{":
        return JSON
    if payload[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return serializers.get("pickle")
    if first in (b"\xde", b"\xdf") or b"\x80" <= first <= b"\x8f":
        return serializers.get("msgpack")
    return serializers.get("yaml")


# --- tuples that name results -----------------------------------------------------------------------------------------


class ResultNode(msgspec.Struct, frozen=True):
    """What a result tuple says. ``children`` is None for a task, a list (perhaps empty) for a group."""

    id: str
    parent: ResultNode | None = None
    children: list[ResultNode] | None = None


def task_tuple(id: str, parent: Any = None) -> list[Any]:
    """Return the tuple of a task's result; ``parent`` is a tuple or None."""
    return [[id, parent], None]


def group_tuple(id: str, children: Sequence[Any], parent: Any = None) -> list[Any]:
    """Return the tuple of a group's result; ``children`` are tuples."""
    return [[id, parent], list(children)]


def read_tuple(data: Any) -> ResultNode:
    """Return what a result tuple says; a plain id stands for a task. ``DecodeError`` if it is neither."""
    try:
        return _node(data)
    except (TypeError, ValueError, RecursionError) as exc:
        raise DecodeError("no result tuple") from exc


def _node(data: Any) -> ResultNode:
    if isinstance(data, str):
        return ResultNode(data)
    head, children = data
    id, parent = (head, None) if isinstance(head, str) else head
    if not isinstance(id, str):
        raise TypeError(type(id))
    return ResultNode(
        id,
        None if parent is None else _node(parent),
        None if children is None else [_node(child) for child in children],
    )
