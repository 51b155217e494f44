"""Result documents beyond the recorded ones: what is stored, what is read, what is refused."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from talo import states
from talo.errors import DecodeError, EncodeError, ImproperlyConfigured, SecurityError, TaskRevokedError
from talo.wire import decode_result, encode_result, group_tuple, read_tuple, task_tuple
from tests.unit.wire.samples import EVERYTHING, JSON_ONLY


def test_a_plain_success_has_celerys_fields() -> None:
    assert json.loads(encode_result("an-id", states.SUCCESS, 5, date_done=1795254467.5)) == {
        "status": "SUCCESS",
        "result": 5,
        "traceback": None,
        "children": [],
        "date_done": "2026-11-21T09:47:47.500000+00:00",
        "task_id": "an-id",
    }


def test_group_parent_and_further_fields_appear_when_there_are_any() -> None:
    # When
    data = encode_result(
        "an-id",
        states.SUCCESS,
        5,
        children=(task_tuple("child"),),
        group_id="g",
        parent_id="p",
        extended={"name": "t.add", "args": [1], "retries": 2, "stamped_headers": ["tenant"], "tenant": "acme"},
    )
    doc = decode_result(data, JSON_ONLY)
    # Then
    assert (doc.group_id, doc.parent_id, doc.name, doc.args, doc.retries) == ("g", "p", "t.add", [1], 2)
    assert doc.children == [[["child", None], None]]
    assert doc.extra == {"stamped_headers": ["tenant"], "tenant": "acme"}


@pytest.mark.parametrize("codec", ["json", "msgpack", "yaml", "pickle"])
@pytest.mark.parametrize("compression", [None, "gzip", "zstd", "xz"])
def test_a_failure_is_read_as_its_exception(codec: str, compression: str | None) -> None:
    # When
    data = encode_result("an-id", states.FAILURE, KeyError("k", 5), codec=codec, compression=compression)
    doc = decode_result(data, EVERYTHING)
    # Then
    assert type(doc.value) is KeyError
    assert doc.value.args == ("k", 5)


def test_what_is_no_failure_stays_what_it_is() -> None:
    looks = {"exc_type": "KeyError", "exc_message": ["k"], "exc_module": "builtins"}
    assert decode_result(encode_result("an-id", states.SUCCESS, looks), JSON_ONLY).value == looks
    assert decode_result(encode_result("an-id", states.RETRY, None), JSON_ONLY).value is None


def test_a_revocation_carries_celerys_name() -> None:
    data = encode_result("an-id", states.REVOKED, TaskRevokedError("terminated"), children=None)
    document = json.loads(data)
    assert document["result"] == {
        "exc_type": "TaskRevokedError",
        "exc_message": ["terminated"],
        "exc_module": "celery.exceptions",
    }
    assert document["children"] is None


def test_a_result_that_cannot_be_written_is_named_with_its_place() -> None:
    with pytest.raises(EncodeError, match=r"^result\.rows\[1\]: object of type object"):
        encode_result("an-id", states.SUCCESS, {"rows": [1, object()]})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"null",
        b"[]",
        b"{}",
        b'{"status": "SUCCESS"}',
        b'{"task_id": 5, "status": "SUCCESS"}',
        b'{"task_id": "x", "status": null}',
        b'{"task_id": "x", "status": "SUCCESS", "children": "none"}',
        b'{"task_id": "x", "status": "SUCCESS", "result": {"__type__": "os", "__value__": 1}}',
        b'{"task_id": ',
        b"\x81\xc0",
        b"\x80\x04\x95",
        b"\0celery-compressed\0application/x-gzip\0junk",
        b"- a\n- b",
    ],
)
def test_what_is_no_result_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_result(data, EVERYTHING)


def test_a_result_of_an_unknown_compression_says_so() -> None:
    with pytest.raises(ImproperlyConfigured, match="no compression"):
        decode_result(b"\0celery-compressed\0zap\0junk", EVERYTHING)


@pytest.mark.parametrize("codec", ["pickle", "yaml", "msgpack"])
def test_a_format_that_the_app_did_not_opt_in_to_is_not_read(codec: str) -> None:
    with pytest.raises(SecurityError, match=f"written as {codec}"):
        decode_result(encode_result("an-id", states.SUCCESS, 5, codec=codec), JSON_ONLY)


def test_the_codec_can_be_told() -> None:
    assert decode_result(b'{"task_id": "x", "status": "SUCCESS"}', EVERYTHING, "yaml").task_id == "x"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T09:47:47+00:00", dt.datetime(2026, 11, 21, 9, 47, 47, tzinfo=dt.UTC)),
        ("2026-11-21T09:47:47", dt.datetime(2026, 11, 21, 9, 47, 47, tzinfo=dt.UTC)),
        ("soon", None),
        (None, None),
    ],
)
def test_the_end_is_an_aware_time(text: str | None, moment: dt.datetime | None) -> None:
    data = json.dumps({"task_id": "x", "status": "SUCCESS", "date_done": text}).encode()
    assert decode_result(data, JSON_ONLY).done_at == moment


def test_a_time_stored_as_such_is_read_as_text() -> None:
    when = {"__type__": "datetime", "__value__": "2026-11-21T09:47:47+00:00"}
    data = json.dumps({"task_id": "x", "status": "SUCCESS", "date_done": when}).encode()
    assert decode_result(data, JSON_ONLY).date_done == "2026-11-21T09:47:47+00:00"


def test_result_tuples_name_tasks_and_groups() -> None:
    # Given
    first = task_tuple("first")
    group = group_tuple("group", [task_tuple("a", first), task_tuple("b")], first)
    # When
    node = read_tuple(json.loads(json.dumps(group)))
    # Then
    assert first == [["first", None], None]
    assert node.id == "group"
    assert node.parent is not None
    assert (node.parent.id, node.parent.children) == ("first", None)
    assert [child.id for child in node.children or []] == ["a", "b"]
    assert read_tuple("plain").id == "plain"


def deep(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [["x", value], None]
    return value


@pytest.mark.parametrize(
    "data", [None, 5, {}, [], ["a"], [[], None], [[5, None], None], [["a", None], 5], deep(5000)], ids=range(9)
)
def test_what_is_no_result_tuple_is_a_decode_error(data: Any) -> None:
    with pytest.raises(DecodeError):
        read_tuple(data)
