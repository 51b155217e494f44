"""Every recorded message and result of Celery is read, and written back to the same meaning."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from talo.wire import (
    Call,
    Message,
    ResultDoc,
    decode,
    decode_result,
    encode_result,
    make_message,
    pack,
    read_tuple,
    serializers,
    unpack,
)
from tests.unit.wire.samples import EVERYTHING, as_expected, items, load, messages, names, payload

TASKS = [
    *(name for kind in ("task", "canvas", "follow", "stamp") for name in names(f"*-{kind}-*")),
    *("redis-restored", "redis-unacked", "redis-keyprefix", "redis-beat-task"),
]
TASKS = sorted({name for name in TASKS if name.startswith(("redis-", "amqp-"))})
STANDARD = {"lang", "task", "id", "eta", "expires", "compression"}
FIELDS = (
    "shadow group group_index retries timelimit root_id parent_id argsrepr kwargsrepr origin ignore_result "
    "replaced_task_nesting stamped_headers stamps"
).split()


def embed_of(call: Call) -> dict[str, Any]:
    return {"callbacks": call.callbacks, "errbacks": call.errbacks, "chain": call.chain, "chord": call.chord}


def rebuilt(message: Message, call: Call) -> Message:
    """Write the call again with Talo, from what reading it gave."""
    expiration = message.properties.get("expiration")
    own = {name: value for name, value in call.headers.items() if name not in STANDARD and name not in FIELDS}
    return make_message(
        call.task,
        call.id,
        call.args,
        call.kwargs,
        queue=message.queue,
        exchange=message.exchange,
        routing_key=message.routing_key,
        priority=message.priority,
        reply_to=message.properties.get("reply_to"),
        delivery_mode=message.properties["delivery_mode"],
        eta=call.eta,
        expires=call.expires,
        now=None if call.expires is None else call.expires - int(expiration or 0) / 1000,
        embed=embed_of(call),  # type: ignore[arg-type]
        codec=message.content_type,
        compression=message.headers.get("compression"),
        task_protocol=2 if message.headers else 1,
        headers=own,
        **{name: call.headers[name] for name in FIELDS},  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("name", TASKS)
def test_a_message_of_celery_gives_the_call_that_was_made(name: str) -> None:
    # Given
    sample = load(name)
    expected = sample.get("expect", {})
    # When
    found = messages(sample)
    calls = [decode(message, EVERYTHING) for message in found]
    # Then
    assert calls
    for key in ("task", "id"):
        assert getattr(calls[0], key) == expected.get(key, getattr(calls[0], key))
    for key in ("args", "kwargs"):
        assert as_expected(getattr(calls[0], key)) == expected.get(key, as_expected(getattr(calls[0], key)))
    for call, message, body in zip(calls, found, expected.get("bodies", []), strict="bodies" in expected):
        if message.headers:
            assert as_expected([call.args, call.kwargs, embed_of(call)]) == body
            assert call.headers.items() >= message.headers.items()
        else:
            assert {**call.headers, **embed_of(call)}.items() >= {
                key: value for key, value in body.items() if key not in ("args", "kwargs", "utc", "taskset")
            }.items()


@pytest.mark.parametrize("name", TASKS)
def test_a_message_written_again_means_the_same(name: str) -> None:
    for message in messages(load(name)):
        # Given
        call = decode(message, EVERYTHING)
        # When
        again = rebuilt(message, call)
        # Then
        assert decode(again, EVERYTHING) == call
        assert again.headers == message.headers
        assert again.content_type == message.content_type
        assert again.content_encoding == message.content_encoding
        old = {key: value for key, value in message.properties.items() if key in again.properties}
        assert again.properties == old
        # What a sender leaves behind beyond the standard is the store's or an accident.
        assert message.properties.keys() - old.keys() <= {
            "delivery_tag",
            "delivery_info",
            "origin",
            "argsrepr",
            "kwargsrepr",
        }


@pytest.mark.parametrize("name", [name for name in TASKS if name.startswith("redis-")])
def test_an_envelope_written_again_is_the_same_document(name: str) -> None:
    for queue, item in items(load(name)):
        # When
        again = pack(unpack(item, queue))
        # Then: the spacing aside, and the base64 of the same bytes.
        assert json.loads(again) == json.loads(item)


def results_of(name: str) -> list[bytes]:
    sample = load(name)
    if sample["transport"] == "amqp-result":
        return [payload(message, "body") for message in sample["messages"]]
    return [
        payload(message, "value")
        for message in sample["messages"]
        if message["key"].startswith("celery-task-meta-") and message["value"] is not None
    ]


RESULTS = [name for name in [*names("result-redis-*"), *names("result-rpc-*")] if results_of(name)]


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_of_celery_is_read(name: str) -> None:
    # Given
    expected = load(name).get("expect", {})
    for data in results_of(name):
        # When
        found = decode_result(data, EVERYTHING)
        # Then
        if data.startswith(b"{"):
            document = json.loads(data)
            assert as_expected(found.result) == document["result"]
            fields = {key: getattr(found, key, found.extra.get(key)) for key in document}
            assert as_expected(fields) == document
        assert found.status == expected.get("status", found.status)
        assert found.result == expected.get("result", found.result)


#: JSON and pickle carry every result; msgpack and yaml, as Celery's do, plain data only.
REWRITTEN = [
    (name, codec)
    for name in RESULTS
    for codec in ("json", "msgpack", "yaml", "pickle")
    if codec in ("json", "pickle") or "rich" not in name
]


@pytest.mark.parametrize(("name", "codec"), REWRITTEN)
def test_a_result_written_again_means_the_same(name: str, codec: str) -> None:
    for data in results_of(name):
        # Given
        doc = decode_result(data, EVERYTHING)
        further = {key: getattr(doc, key) for key in ("name", "args", "kwargs", "worker", "retries", "queue")}
        # When
        again = encode_result(
            doc.task_id,
            doc.status,
            doc.result,
            traceback=doc.traceback,
            children=doc.children,
            date_done=None if doc.date_done is None else dt.datetime.fromisoformat(doc.date_done).timestamp(),
            group_id=doc.group_id,
            parent_id=doc.parent_id,
            extended=({**further, **doc.extra} if doc.name else None),
            codec=codec,
        )
        # Then
        assert decode_result(again, EVERYTHING) == doc
        if codec == "json" and data.startswith(b"{"):
            assert json.loads(again) == json.loads(data)


def test_a_compressed_result_is_written_as_celery_does() -> None:
    # Given
    (data,) = results_of("result-redis-compressed-gzip")
    doc = decode_result(data, EVERYTHING)
    # When
    again = encode_result(doc.task_id, doc.status, doc.result, compression="gzip")
    # Then
    start = b"\0celery-compressed\0application/x-gzip\0"
    assert data.startswith(start)
    assert again.startswith(start)
    assert decode_result(again, EVERYTHING).result == doc.result


def test_a_saved_group_names_its_children() -> None:
    # Given
    sample = load("result-redis-group-saved")
    # When
    node = read_tuple(serializers.JSON.loads(payload(sample["messages"][0], "value"))["result"])
    # Then
    assert node.id == sample["expect"]["group"]
    assert [child.id for child in node.children or []] == sample["expect"]["ids"]


def test_results_in_the_database_are_values_of_the_same_codec() -> None:
    # Given
    rows = load("result-db")["rows"]["celery_taskmeta"]
    # When
    found = [
        ResultDoc(
            task_id=row["task_id"], status=row["status"], result=serializers.JSON.loads(row["result"]["bytes"].encode())
        )
        for row in rows
    ]
    # Then
    assert [doc.value for doc in found if doc.status == "SUCCESS"] == [5, 2, 2, 4, 1, 2, 4, 6]
    assert [repr(doc.value) for doc in found if doc.status == "FAILURE"] == ["ValueError('bad thing', 42)"]
