"""What makes no call is quarantined with its own reason; what Celery runs, runs; nothing else ever comes out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from talo.errors import MalformedMessage
from talo.wire import Call, Fault, Message, decode, make_message, serializers, unpack
from tests.unit.wire.samples import EVERYTHING, JSON_ONLY, items, load, names

ID = "f5d46735-55d5-525e-8a38-08988f6c3ca8"

#: 256 MB and one byte of zeros, compressed with bzip2.
BOMB = base64.b64decode(
    "QlpoOTFBWSZTWQ4J4t8BX45AAMAAAAggADCATUZCoCWpCoCXMUFZJlNZDgni3wFfjkAAwAAACCAAMIBNRkKgJakKgJcxQVkmU1kO"
    "CeLfAV+OQADAAAAIIAAwgE1GQqAlqQqAlzFBWSZTWQ4J4t8BX45AAMAAAAggADCATUZCoCWpCoCXMUFZJlNZDgni3wFfjkAAwAAA"
    "CCAAMIBNRkKgJakKgJcxQVkmU1kPjOAxASo/wADAAgAIIAAwzAUppqqoSRsAIkjxdyRThQkHpVzhoA=="
)

#: What Celery's worker ran, ended in a normal way, or holds for its time.
RUNS = {"args-mismatch", "embed-null", "expired", "far-eta", "retries-string", "timelimit-null", "unregistered"}
REFUSED = {
    "bad-base64": Fault.BAD_BASE64,
    "bad-eta": Fault.BAD_ETA,
    "bad-expires": Fault.BAD_EXPIRES,
    "body-not-json": Fault.UNREADABLE,
    "body-two-items": Fault.BAD_BODY,
    "compression-unknown": Fault.UNKNOWN_COMPRESSION,
    "no-id": Fault.NO_ID,
    "no-properties": Fault.UNREADABLE,
    "no-task-header": Fault.UNKNOWN_MESSAGE,
    "no-task-nowhere": Fault.UNKNOWN_MESSAGE,
    "not-json": Fault.NOT_JSON,
    "type-missing": Fault.NO_CONTENT_TYPE,
    "type-pickle": Fault.CONTENT_REFUSED,
    "type-unknown": Fault.CONTENT_REFUSED,
    "unknown-json-type": Fault.UNREADABLE,
}


def read(item: bytes) -> Call:
    return decode(unpack(item, "celery"), JSON_ONLY)


def message(body: Any = None, *, without: str | None = None, **headers: Any) -> Message:
    """A good message with some of its headers, or its body, replaced."""
    good = make_message("t.add", ID, (2, 3), queue="celery")
    good.headers.update(headers)
    if without:
        del good.headers[without]
    if body is not None:
        good.body = json.dumps(body).encode()
    return good


def reason_of(bad: Message, accept: frozenset[str] = JSON_ONLY) -> str:
    with pytest.raises(MalformedMessage) as caught:
        decode(bad, accept)
    assert str(caught.value).startswith(caught.value.reason)
    assert type(caught.value.reason) is str
    return caught.value.reason


def test_every_malformed_sample_is_judged_here() -> None:
    assert {name.removeprefix("malformed-redis-") for name in names("malformed-redis-*")} == RUNS | REFUSED.keys()


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_a_malformed_sample_has_its_own_reason(case: str) -> None:
    for _, item in items(load(f"malformed-redis-{case}")):
        with pytest.raises(MalformedMessage) as caught:
            read(item)
        assert caught.value.reason == REFUSED[case]


@pytest.mark.parametrize("case", sorted(RUNS))
def test_what_celery_runs_is_a_call(case: str) -> None:
    for _, item in items(load(f"malformed-redis-{case}")):
        call = read(item)
        assert call.retries == 0
        assert call.timelimit == (None, None)


def test_what_celery_loses_or_dies_of_is_kept() -> None:
    # Given: the cases in which Celery's worker on RabbitMQ died, or acknowledged what it could not read.
    cases = [
        case["case"]
        for case in load("malformed-amqp-summary")["cases"]
        if "Unrecoverable" in case["log"][0] or "Can't decode" in case["log"][0]
    ]
    # Then
    assert cases
    assert set(cases) <= REFUSED.keys()


SIGNATURE = {"task": "t.add", "args": [1], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}

BAD_HEADERS = [
    ({"task": None}, Fault.BAD_TASK),
    ({"task": 7}, Fault.BAD_TASK),
    ({"task": ""}, Fault.BAD_TASK),
    ({"task": "a\ud800"}, Fault.BAD_TASK),
    ({"id": None}, Fault.NO_ID),
    ({"id": 7}, Fault.BAD_ID),
    ({"id": ["x"]}, Fault.BAD_ID),
    ({"id": ""}, Fault.BAD_ID),
    ({"id": "a\0b"}, Fault.BAD_ID),
    ({"id": "\ud800"}, Fault.BAD_ID),
    ({"eta": 1795254467.5}, Fault.BAD_ETA),
    ({"eta": ""}, Fault.BAD_ETA),
    ({"eta": "2026-13-01T00:00:00"}, Fault.BAD_ETA),
    ({"eta": "0001-01-01T00:00:00+14:00"}, None),
    ({"expires": 60}, Fault.BAD_EXPIRES),
    ({"expires": {}}, Fault.BAD_EXPIRES),
    ({"timelimit": "30"}, Fault.BAD_TIMELIMIT),
    ({"timelimit": ["30", None]}, Fault.BAD_TIMELIMIT),
    ({"timelimit": [True, None]}, Fault.BAD_TIMELIMIT),
    ({"timelimit": [30]}, Fault.BAD_TIMELIMIT),
    ({"timelimit": [1, 2, 3]}, Fault.BAD_TIMELIMIT),
    ({"timelimit": [-1, None]}, Fault.BAD_TIMELIMIT),
    ({"timelimit": [float("nan"), None]}, Fault.BAD_TIMELIMIT),
    ({"timelimit": [None, 1e300]}, Fault.BAD_TIMELIMIT),
    ({"timelimit": [10**400, None]}, Fault.BAD_TIMELIMIT),
    ({"group": 7}, Fault.BAD_HEADERS),
    ({"group_index": "first"}, Fault.BAD_HEADERS),
    ({"root_id": {}}, Fault.BAD_HEADERS),
    ({"parent_id": "\ud800"}, Fault.BAD_HEADERS),
    ({"stamps": ["x"]}, Fault.BAD_HEADERS),
    ({"stamped_headers": "x"}, Fault.BAD_HEADERS),
    ({"replaced_task_nesting": "deep"}, Fault.BAD_HEADERS),
    ({"compression": 7}, Fault.UNKNOWN_COMPRESSION),
    ({"compression": "application/x-nope"}, Fault.UNKNOWN_COMPRESSION),
    ({"compression": "application/x-gzip"}, Fault.BAD_COMPRESSION),
    ({"compression": "application/zstd"}, Fault.BAD_COMPRESSION),
]


@pytest.mark.parametrize(("headers", "reason"), BAD_HEADERS, ids=lambda value: ascii(value)[:40])
def test_a_header_that_cannot_be_acted_on_is_refused(headers: dict[str, Any], reason: Fault | None) -> None:
    bad = message(**headers)
    if reason is None:
        assert decode(bad, JSON_ONLY).id == ID
    else:
        assert reason_of(bad) == reason


BAD_BODIES = [
    ({}, Fault.BAD_BODY),
    ({"kwargs": {}}, Fault.BAD_BODY),
    ("text", Fault.BAD_BODY),
    (7, Fault.BAD_BODY),
    ([], Fault.BAD_BODY),
    ([[], {}], Fault.BAD_BODY),
    ([[], {}, None, None], Fault.BAD_BODY),
    (["ab", {}, None], Fault.BAD_ARGS),
    ([None, {}, None], Fault.BAD_ARGS),
    ([{}, {}, None], Fault.BAD_ARGS),
    ([[], [], None], Fault.BAD_KWARGS),
    ([[], None, None], Fault.BAD_KWARGS),
    ([[], "x", None], Fault.BAD_KWARGS),
    ([[], {}, []], Fault.BAD_EMBED),
    ([[], {}, "x"], Fault.BAD_EMBED),
    ([[], {}, {"callbacks": "t.add"}], Fault.BAD_SIGNATURE),
    ([[], {}, {"callbacks": [None]}], Fault.BAD_SIGNATURE),
    ([[], {}, {"callbacks": [{}]}], Fault.BAD_SIGNATURE),
    ([[], {}, {"errbacks": [{"task": 7}]}], Fault.BAD_SIGNATURE),
    ([[], {}, {"chain": [{"task": "a", "args": "xyz"}]}], Fault.BAD_SIGNATURE),
    ([[], {}, {"chain": 3}], Fault.BAD_SIGNATURE),
    ([[], {}, {"chord": [SIGNATURE]}], Fault.BAD_SIGNATURE),
    ([[], {}, {"chord": {"task": "a", "options": 1}}], Fault.BAD_SIGNATURE),
]


@pytest.mark.parametrize(("body", "reason"), BAD_BODIES, ids=lambda value: str(value)[:40])
def test_a_body_that_makes_no_call_is_refused(body: Any, reason: Fault) -> None:
    assert reason_of(message(body)) == reason


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 100_000, b"[[], {}, ", b'"\\ud8', b"9" * 5000])
def test_a_body_that_is_no_json_is_refused(data: bytes) -> None:
    bad = message()
    bad.body = data
    assert reason_of(bad) == Fault.UNREADABLE


def test_a_body_that_unpacks_to_more_than_memory_is_refused() -> None:
    # Given
    bad = message()
    bad.body, bad.headers["compression"] = BOMB, "application/x-bz2"
    # Then
    assert reason_of(bad) == Fault.BAD_COMPRESSION


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("", Fault.NO_CONTENT_TYPE),
        ("application/x-python-serialize", Fault.CONTENT_REFUSED),
        ("application/x-yaml", Fault.CONTENT_REFUSED),
        ("application/json; charset=utf-8", Fault.CONTENT_REFUSED),
        ("text/plain", Fault.CONTENT_REFUSED),
    ],
)
def test_a_format_that_the_app_did_not_opt_in_to_is_refused(kind: str, reason: Fault) -> None:
    bad = message()
    bad.content_type = kind
    assert reason_of(bad) == reason


def test_an_accepted_format_without_codec_is_refused() -> None:
    bad = message()
    bad.content_type = "application/x-own"
    assert reason_of(bad, JSON_ONLY | {"application/x-own"}) == Fault.UNKNOWN_CONTENT_TYPE


def test_what_another_codec_cannot_read_is_refused_alike() -> None:
    for name in ("msgpack", "yaml", "pickle", "text", "raw"):
        bad = message()
        bad.content_type, bad.body = serializers.get(name).content_type, b"\xc1\xff{"
        accept = EVERYTHING | serializers.accept(["text", "raw"])
        assert reason_of(bad, accept) in (Fault.UNREADABLE, Fault.BAD_BODY)


def test_keyword_names_that_are_no_text_are_refused() -> None:
    bad = message()
    bad.content_type, bad.body = "application/x-python-serialize", serializers.get("pickle").dumps(((), {1: 2}, None))
    assert reason_of(bad, EVERYTHING) == Fault.BAD_KWARGS


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (b"", Fault.NOT_JSON),
        (b"\0\xff", Fault.NOT_JSON),
        (b"[]", Fault.NOT_OBJECT),
        (b'"x"', Fault.NOT_OBJECT),
        (b"null", Fault.NOT_OBJECT),
        (b"{}", Fault.BAD_BODY),
        (b'{"body": 7}', Fault.BAD_BODY),
        (b'{"body": "", "headers": []}', Fault.BAD_HEADERS),
        (b'{"body": "", "headers": {}, "properties": 1}', Fault.BAD_PROPERTIES),
        (b'{"body": "abcde", "properties": {"body_encoding": "base64"}}', Fault.BAD_BASE64),
        ('{"body": "é", "properties": {"body_encoding": "base64"}}'.encode(), Fault.BAD_BASE64),
        (b'{"body": "\\ud800"}', Fault.BAD_BODY),
    ],
)
def test_a_list_item_that_is_no_message_is_refused(item: bytes, reason: Fault) -> None:
    with pytest.raises(MalformedMessage) as caught:
        unpack(item, "celery")
    assert caught.value.reason == reason


def test_an_envelope_without_the_unneeded_is_a_message() -> None:
    # Given: what a frugal client of another language may send.
    item = json.dumps(
        {
            "body": json.dumps([[1], {}, {}]),
            "headers": {"task": "t.add", "id": ID},
            "content-type": "application/json",
            "properties": {"priority": "high", "delivery_info": None},
        }
    ).encode()
    # When
    found = unpack(item, "celery")
    call = decode(found, JSON_ONLY)
    # Then
    assert (call.task, call.args, found.priority, found.queue) == ("t.add", [1], 0, "celery")
    assert call.headers["root_id"] == ID
    assert call.headers["stamps"] == {}
    assert call.headers["timelimit"] == [None, None]
    assert call.headers["replaced_task_nesting"] == 0


@pytest.mark.parametrize(
    ("text", "retries"), [("many", 0), ("3", 3), (None, 0), (2.0, 2), (float("inf"), 0), ([], 0), (True, 1)]
)
def test_retries_of_any_kind_are_counted_from_somewhere(text: Any, retries: int) -> None:
    call = decode(message(retries=text), JSON_ONLY)
    assert call.retries == call.headers["retries"] == retries


def test_empty_names_of_optional_things_mean_none() -> None:
    call = decode(message(group="", parent_id="", root_id=""), JSON_ONLY)
    assert call.headers["group"] is None
    assert call.headers["parent_id"] is None
    assert call.headers["root_id"] == ID


def test_a_single_signature_stands_for_a_list_of_one() -> None:
    call = decode(message([[], {}, {"callbacks": SIGNATURE}]), JSON_ONLY)
    assert call.callbacks == [SIGNATURE]


def test_headers_of_the_wrong_kind_are_refused() -> None:
    bad = message()
    bad.headers = [("id", ID)]  # type: ignore[assignment]
    assert reason_of(bad) == Fault.BAD_HEADERS


def test_header_names_that_are_no_text_are_refused() -> None:
    bad = message()
    bad.headers[7] = "x"  # type: ignore[index]
    assert reason_of(bad) == Fault.BAD_HEADERS


def test_reading_leaves_the_message_as_it_was() -> None:
    # Given
    sent = message(without="stamps", retries="many")
    before = dict(sent.headers)
    # When
    call = decode(sent, JSON_ONLY)
    call.headers["mine"] = 1
    # Then
    assert sent.headers == before
