"""Properties of the wire: what is written is read, and junk is nothing but malformed."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import uuid
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from talo.errors import DecodeError, ImproperlyConfigured, MalformedMessage, SecurityError
from talo.wire import (
    JSON,
    Message,
    decode,
    decode_result,
    decompress,
    encode_result,
    exception_from_data,
    exception_to_data,
    make_message,
    pack,
    read_tuple,
    saferepr,
    serializers,
    unpack,
)

JSON_ONLY = serializers.accept(["json"])
EVERY_SAFE = serializers.accept(["json", "msgpack", "yaml", "raw", "text"])

quick = settings(max_examples=150, deadline=None)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
zones = st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=-3, minutes=30))])
extended = (
    st.datetimes(timezones=zones)
    | st.dates()
    | st.times()
    | st.binary(max_size=20)
    | st.uuids()
    | st.decimals(allow_nan=False)
)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    )


def same(left: Any, right: Any) -> bool:
    """Equal in type and value, NaN being equal to itself and a marker key never in question."""
    if isinstance(left, float) and isinstance(right, float):
        return repr(left) == repr(right)
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


@quick
@given(nested(scalars | extended))
@example([float("nan"), -0.0, 2**64, "\ud800"])
@example({"a": decimal.Decimal("1E+400"), "b": uuid.UUID(int=0)})
def test_json_gives_back_what_it_was_given(value: Any) -> None:
    assert same(JSON.loads(JSON.dumps(value)), value)


@quick
@given(nested(scalars))
def test_our_json_and_pythons_are_each_others(value: Any) -> None:
    assert same(json.loads(JSON.dumps(value)), value)
    assert same(JSON.loads(json.dumps(value).encode()), value)


@quick
@given(
    nested(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=20)
    )
)
def test_msgpack_gives_back_what_it_was_given(value: Any) -> None:
    codec = serializers.get("msgpack")
    assert same(codec.loads(codec.dumps(value)), value)


json_values = nested(scalars)
names = st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text)


@quick
@given(
    names,
    names,
    st.lists(json_values, max_size=3),
    st.dictionaries(st.text(max_size=8), json_values, max_size=3),
    st.sampled_from([None, "gzip", "xz"]),
    st.sampled_from([1, 2]),
)
def test_a_call_arrives_as_it_was_made(
    task: str, id: str, args: list[Any], kwargs: dict[str, Any], compression: str | None, protocol: int
) -> None:
    # Given
    sent = make_message(task, id, args, kwargs, queue="q", compression=compression, task_protocol=protocol)
    # When
    found = unpack(pack(sent), "q")
    call = decode(found, JSON_ONLY)
    # Then
    assert (call.task, call.id) == (task, id)
    assert same(call.args, args)
    assert same(call.kwargs, kwargs)
    assert found.headers == sent.headers
    assert found.body == sent.body


junk_headers = st.dictionaries(
    st.sampled_from(
        "task id eta expires group group_index retries timelimit root_id parent_id compression stamps stamped_headers "
        "replaced_task_nesting shadow lang".split()
    )
    | st.text(max_size=5),
    json_values | st.sampled_from(["gzip", "application/x-gzip", "2026-11-21T09:36:44Z", [None, 5]]),
    max_size=8,
)
good_headers = make_message("t.add", "an-id", queue="q").headers
embeds = st.none() | st.dictionaries(
    st.sampled_from(["callbacks", "errbacks", "chain", "chord"]),
    json_values | st.lists(st.dictionaries(st.sampled_from(["task", "args", "kwargs", "options"]), json_values)),
)
bodies = (
    st.binary(max_size=60)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.tuples(json_values | st.lists(json_values), json_values | st.just({}), embeds).map(
        lambda value: json.dumps(value).encode()
    )
)
content_types = st.sampled_from([*sorted(EVERY_SAFE), "application/x-python-serialize", "", "x/y"]) | st.text(
    max_size=5
)


@settings(max_examples=400, deadline=None)
@given(junk_headers, st.booleans(), bodies, content_types)
def test_a_message_is_a_call_or_malformed(headers: dict[str, Any], good: bool, body: bytes, content_type: str) -> None:
    # Given
    found = Message(
        queue="q", headers={**good_headers, **headers} if good else headers, body=body, content_type=content_type
    )
    # When
    try:
        call = decode(found, EVERY_SAFE)
    except MalformedMessage as fault:
        assert fault.reason
        return
    # Then: everything has the type that those who run it rely on.
    assert call.task.encode()
    assert call.id.encode()
    assert type(call.args) is list
    assert type(call.kwargs) is dict
    assert type(call.retries) is int
    assert call.eta is None or math.isfinite(call.eta)
    assert all(limit is None or limit >= 0 for limit in call.timelimit)
    for signatures in (call.callbacks, call.errbacks, call.chain):
        assert signatures is None or all(isinstance(each["task"], str) for each in signatures)


envelopes = st.fixed_dictionaries(
    {},
    optional={
        "body": json_values | st.just("W10="),
        "headers": junk_headers | json_values,
        "properties": json_values
        | st.fixed_dictionaries(
            {}, optional={"body_encoding": json_values, "priority": json_values, "delivery_info": json_values}
        ),
        "content-type": json_values,
        "content-encoding": json_values,
    },
)


@quick
@given(st.binary(max_size=60) | json_values.map(JSON.dumps) | envelopes.map(JSON.dumps))
@example(b"garbage{")
@example(b'{"__type__": "x", "__value__": 1}')
def test_a_list_item_is_a_message_or_malformed(raw: bytes) -> None:
    try:
        found = unpack(raw, "q")
    except MalformedMessage as fault:
        assert fault.reason
        return
    assert type(found.headers) is dict
    assert type(found.properties) is dict
    assert type(found.content_type) is str
    assert 0 <= found.priority <= 255
    try:
        decode(found, EVERY_SAFE)
    except MalformedMessage as fault:
        assert fault.reason


@quick
@given(
    st.binary(max_size=60)
    | json_values.map(JSON.dumps)
    | st.binary(max_size=30).map(lambda data: b"\0celery-compressed\0application/x-gzip\0" + data)
)
def test_a_stored_result_is_a_document_or_an_error_of_ours(payload: bytes) -> None:
    try:
        doc = decode_result(payload, EVERY_SAFE)
    except (DecodeError, SecurityError, ImproperlyConfigured) as exc:
        assert str(exc)
        return
    assert type(doc.task_id) is str


@quick
@given(nested(scalars | extended))
def test_a_result_comes_back(value: Any) -> None:
    assert same(decode_result(encode_result("an-id", "SUCCESS", value), JSON_ONLY).value, value)


exception_data = st.fixed_dictionaries(
    {},
    optional={
        "exc_type": json_values | st.sampled_from(["ValueError", "OSError", "UnicodeDecodeError", "ExceptionGroup"]),
        "exc_module": json_values | st.sampled_from(["builtins", "exceptions", "celery.exceptions", "talo.errors"]),
        "exc_message": json_values | st.lists(json_values, max_size=4),
    },
)


@quick
@given(exception_data | json_values)
def test_any_data_is_an_exception_that_can_be_stored(data: Any) -> None:
    exc = exception_from_data(data)
    assert isinstance(exc, Exception)
    again = exception_from_data(JSON.loads(JSON.dumps(exception_to_data(exc))))
    assert type(again) is type(exc)
    assert same(list(again.args), list(exc.args))


@quick
@given(st.binary(max_size=200), st.sampled_from(["gzip", "bzip2", "xz", "brotli", "zstd"]))
def test_compressed_junk_is_a_decode_error_or_bounded(data: bytes, kind: str) -> None:
    try:
        assert len(decompress(data, kind, limit=1000)) <= 1000
    except DecodeError as exc:
        assert str(exc)


@quick
@given(json_values)
def test_a_result_tuple_is_one_or_a_decode_error(data: Any) -> None:
    try:
        assert read_tuple(data).id is not None
    except DecodeError as exc:
        assert str(exc)


@quick
@given(nested(scalars | extended), st.integers(10, 200), st.integers(0, 5))
def test_a_safe_repr_is_bounded(value: Any, maxlen: int, maxlevels: int) -> None:
    text = saferepr(value, maxlen, maxlevels)
    assert len(text) <= maxlen
    if len(repr(value)) <= maxlen and maxlevels == 5 and "..." not in text:
        assert text == repr(value)
