"""Reading a task message: protocols 2, 1 and the hybrid of both.

Owns what is accepted and what is malformed. Lenient where Celery's worker runs the task; ``MalformedMessage``, and
nothing else, where it would crash, lose the message or fail half-way. Called through ``protocol``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from talo.errors import DecodeError, ImproperlyConfigured, MalformedMessage
from talo.wire import compression as _compression
from talo.wire import serializers
from talo.wire._faults import Fault, malformed
from talo.wire._headers import HEADERS, HEADERS_OF_1
from talo.wire._times import parse_iso
from talo.wire.message import Message
from talo.wire.repr import saferepr
from talo.wire.serializers import JSON

__all__ = ["Call", "TimeLimit", "decode"]

#: Hard, soft, in seconds.
TimeLimit = tuple[float | None, float | None]

_NO_LIMIT: Final[TimeLimit] = (None, None)
#: What a list may come as: pickled bodies are tuples.
_ARRAYS = (list, tuple)
#: Longer limits (thirty years) are mistakes, and more than timers take.
_LONGEST_LIMIT = 1e9


class Call(msgspec.Struct):
    """A decoded call. ``headers`` is the complete set of protocol 2 with the user's own, whatever came in."""

    task: str
    id: str
    args: list[Any]
    kwargs: dict[str, Any]
    callbacks: list[dict[str, Any]] | None
    errbacks: list[dict[str, Any]] | None
    #: Next steps in reverse order: the next one is the last.
    chain: list[dict[str, Any]] | None
    chord: dict[str, Any] | None
    headers: dict[str, Any]
    #: Epoch seconds.
    expires: float | None
    eta: float | None
    timelimit: TimeLimit
    retries: int


class _Fields(msgspec.Struct):
    """The headers that are acted on, and the types they may have: checked in one step."""

    task: str
    id: str
    eta: str | None = None
    expires: str | None = None
    timelimit: tuple[int | float | None, int | float | None] | None = None
    group: str | None = None
    group_index: int | None = None
    root_id: str | None = None
    parent_id: str | None = None
    replaced_task_nesting: int | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None


#: What a wrong field is called; any other is ``BAD_HEADERS``.
_FIELD_FAULTS = {
    "task": Fault.BAD_TASK,
    "id": Fault.BAD_ID,
    "eta": Fault.BAD_ETA,
    "expires": Fault.BAD_EXPIRES,
    "timelimit": Fault.BAD_TIMELIMIT,
}


def decode(message: Message, accept: frozenset[str], tz: dt.tzinfo = dt.UTC) -> Call:
    """Return the call that a message asks for.

    ``accept`` holds the content types that may be read (``serializers.accept``); times without an offset are read in
    ``tz``. ``MalformedMessage``, and nothing else, for what makes no call.
    """
    headers: dict[str, Any] = message.headers
    if type(headers) is not dict:
        raise malformed(Fault.BAD_HEADERS, f"headers of type {type(headers).__name__}")
    body = _read_body(message, headers, accept)
    if type(body) in _ARRAYS and len(body) == 3 and "task" in headers:
        args, kwargs, embed = body
    else:
        headers, args, kwargs, embed = _other_protocol(headers, body)
    headers = HEADERS | headers
    fields = _completed(headers)
    if type(args) is not list:
        args = _as_args(args)
    if type(kwargs) is not dict or not all(type(key) is str for key in kwargs):
        raise malformed(Fault.BAD_KWARGS, f"kwargs is no object with text keys: {saferepr(kwargs, 200)}")
    callbacks, errbacks, chain, chord = (None, None, None, None) if embed is None else _read_embed(embed)
    return Call(
        fields.task,
        fields.id,
        args,
        kwargs,
        callbacks,
        errbacks,
        chain,
        chord,
        headers,
        None if fields.expires is None else _read_time(fields.expires, tz, Fault.BAD_EXPIRES),
        None if fields.eta is None else _read_time(fields.eta, tz, Fault.BAD_ETA),
        fields.timelimit or _NO_LIMIT,
        headers["retries"],
    )


def _read_body(message: Message, headers: Mapping[str, Any], accept: frozenset[str]) -> Any:
    kind = message.content_type
    if kind not in accept:
        if not kind:
            raise malformed(Fault.NO_CONTENT_TYPE, "the message names no content type")
        raise malformed(
            Fault.CONTENT_REFUSED, f"content type {saferepr(kind, 80)} is not among those that the app accepts"
        )
    compression = headers.get("compression")
    body = message.body if compression is None else _decompressed(message.body, compression)
    try:
        return (JSON if kind == JSON.content_type else serializers.get(kind)).loads(body)
    except DecodeError as exc:
        raise malformed(Fault.UNREADABLE, str(exc)) from exc
    except ImproperlyConfigured as exc:
        raise malformed(Fault.UNKNOWN_CONTENT_TYPE, str(exc)) from exc


def _decompressed(body: bytes, name: Any) -> bytes:
    if not isinstance(name, str):
        raise malformed(Fault.UNKNOWN_COMPRESSION, f"compression {saferepr(name, 80)}")
    try:
        return _compression.decompress(body, name)
    except DecodeError as exc:
        raise malformed(Fault.BAD_COMPRESSION, str(exc)) from exc
    except ImproperlyConfigured as exc:
        raise malformed(Fault.UNKNOWN_COMPRESSION, str(exc)) from exc


def _other_protocol(headers: dict[str, Any], body: Any) -> tuple[dict[str, Any], Any, Any, Any]:
    """Map protocol 1 (all in the body) and the hybrid (its body, headers of 2) to headers, args, kwargs, embed."""
    if not isinstance(body, dict):
        if "task" in headers:
            raise malformed(Fault.BAD_BODY, f"the body is no list of three: {saferepr(body, 200)}")
        raise malformed(Fault.UNKNOWN_MESSAGE, f"no task in the headers, and the body is {saferepr(body, 200)}")
    if "task" not in headers and "task" not in body:
        raise malformed(Fault.UNKNOWN_MESSAGE, f"no task in headers or body: {saferepr(body, 200)}")
    if "task" in headers and "args" not in body:
        raise malformed(Fault.BAD_BODY, f"the body has no args: {saferepr(body, 200)}")
    merged = headers | {name: body[name] for name in HEADERS_OF_1 if name in body}
    if merged.get("group") is None:
        merged["group"] = body.get("taskset")
    embed = {name: body.get(name) for name in ("callbacks", "errbacks", "chord")}
    return merged, body.get("args", []), body.get("kwargs", {}), embed


def _completed(headers: dict[str, Any]) -> _Fields:
    """Check the headers that are acted on and put what follows from others in place of their nulls."""
    try:
        fields = msgspec.convert(headers, _Fields)
    except msgspec.ValidationError as exc:
        raise _header_fault(headers) from exc
    limits = fields.timelimit
    if limits is None:
        headers["timelimit"] = [None, None]
    elif not all(limit is None or 0 <= limit <= _LONGEST_LIMIT for limit in limits):
        raise malformed(Fault.BAD_TIMELIMIT, f"time limits of {saferepr(limits, 80)} seconds")
    for name in ("task", "id", "group", "root_id", "parent_id"):
        text = headers[name]
        if text is not None and (not text or not text.isascii() or "\0" in text):
            _check_name(headers, name)
    if headers["root_id"] is None:
        headers["root_id"] = fields.id
    if type(headers["retries"]) is not int:
        headers["retries"] = _as_count(headers["retries"])
    if fields.stamps is None:
        headers["stamps"] = {}
    return fields


def _check_name(headers: dict[str, Any], name: str) -> None:
    """These become keys of stores, which hold neither half characters nor zeros. Empty means none."""
    text: str = headers[name]
    fault = _FIELD_FAULTS.get(name, Fault.BAD_HEADERS)
    if not text:
        if name in ("task", "id"):
            raise malformed(fault, f"{name} is empty")
        headers[name] = None
    if "\0" in text:
        raise malformed(fault, f"{name} holds a zero: {text[:200]!a}")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise malformed(fault, f"{name} is no text: {text[:200]!a}") from exc


def _header_fault(headers: dict[str, Any]) -> MalformedMessage:
    """Find the field that was refused, one by one: this is rare, and the checker's words are not to be relied on."""
    if headers["id"] is None:
        return malformed(Fault.NO_ID, "the message has no id")
    for field in msgspec.structs.fields(_Fields):
        try:
            msgspec.convert(headers[field.name], field.type)
        except msgspec.ValidationError as exc:
            fault = _FIELD_FAULTS.get(field.name, Fault.BAD_HEADERS)
            return malformed(fault, f"{field.name} is {saferepr(headers.get(field.name), 200)}: {exc}")
    return malformed(Fault.BAD_HEADERS, f"headers are no object with text keys: {saferepr(headers, 200)}")


def _read_time(text: str, tz: dt.tzinfo, fault: Fault) -> float:
    try:
        return parse_iso(text, tz)
    except ValueError as exc:
        raise malformed(fault, f"{text[:80]!a} is no ISO 8601 time") from exc


def _as_args(args: Any) -> list[Any]:
    if type(args) in _ARRAYS:
        return list(args)
    raise malformed(Fault.BAD_ARGS, f"args is no list: {saferepr(args, 200)}")


def _as_count(value: Any) -> int:
    """Celery runs a task whatever stands in ``retries``, so it counts from zero where nothing can be counted."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def _read_embed(embed: Any) -> tuple[Any, Any, Any, Any]:
    if not isinstance(embed, dict):
        raise malformed(Fault.BAD_EMBED, f"the third part of the body is no object: {saferepr(embed, 200)}")
    callbacks, errbacks = embed.get("callbacks"), embed.get("errbacks")
    chain, chord = embed.get("chain"), embed.get("chord")
    if callbacks is not None:
        callbacks = _signatures("callbacks", callbacks)
    if errbacks is not None:
        errbacks = _signatures("errbacks", errbacks)
    if chain is not None:
        chain = _signatures("chain", chain)
    if chord is not None:
        _check_signature("chord", chord)
    return callbacks, errbacks, chain, chord


def _signatures(name: str, value: Any) -> list[dict[str, Any]]:
    # A single signature stands for a list of one.
    signatures = list(value) if type(value) in _ARRAYS else [value]
    for signature in signatures:
        _check_signature(name, signature)
    return signatures


class _Signature(msgspec.Struct):
    """What a signature must have; other keys are the canvas's matter."""

    task: str
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    subtask_type: str | None = None


def _check_signature(name: str, value: Any) -> None:
    try:
        if isinstance(value, dict):
            msgspec.convert(dict(value), _Signature)
            return
    except msgspec.ValidationError as exc:
        raise malformed(Fault.BAD_SIGNATURE, f"{name} holds {saferepr(value, 200)}: {exc}") from exc
    raise malformed(Fault.BAD_SIGNATURE, f"{name} holds no signature: {saferepr(value, 200)}")
