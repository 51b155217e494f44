"""Messages are written with the names, the order of meaning and the defaults of Celery's clients."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import uuid
from typing import Any

import pytest

from talo.errors import EncodeError, ImproperlyConfigured
from talo.wire import decode, encode_body, make_message, new_id, origin, pack, serializers, unpack
from tests.unit.wire.samples import EVERYTHING, JSON_ONLY

ID = "f5d46735-55d5-525e-8a38-08988f6c3ca8"
NOW = 1795254467.25


def test_a_call_without_options_has_every_header_with_its_default() -> None:
    # When
    sent = make_message("t.add", ID, (2, 3), queue="celery")
    # Then
    assert sent.headers == {
        "lang": "py",
        "task": "t.add",
        "id": ID,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": ID,
        "parent_id": None,
        "argsrepr": "(2, 3)",
        "kwargsrepr": "{}",
        "origin": f"gen{os.getpid()}@{socket.gethostname()}",
        "ignore_result": None,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    assert json.loads(sent.body) == [
        [2, 3],
        {},
        {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
    ]
    assert sent.properties == {"correlation_id": ID, "reply_to": None, "delivery_mode": 2}
    assert (sent.queue, sent.exchange, sent.routing_key, sent.priority) == ("celery", "", "celery", 0)
    assert (sent.content_type, sent.content_encoding, sent.due) == ("application/json", "utf-8", None)


def test_messages_share_nothing_that_can_be_changed() -> None:
    # Given
    first = make_message("t.add", ID, queue="q")
    # When
    first.headers["stamps"]["x"] = 1
    first.headers["timelimit"][0] = 5
    first.properties["more"] = 1
    # Then
    second = make_message("t.add", ID, queue="q")
    assert second.headers["stamps"] == {}
    assert second.headers["timelimit"] == [None, None]
    assert "more" not in second.properties


@pytest.mark.parametrize(
    "eta",
    [
        NOW,
        dt.datetime.fromtimestamp(NOW, dt.UTC),
        dt.datetime.fromtimestamp(NOW, dt.timezone(dt.timedelta(hours=5))),
        dt.datetime.fromtimestamp(NOW, dt.timezone(dt.timedelta(hours=-3))).replace(tzinfo=None),
    ],
)
def test_times_are_written_aware_and_in_utc(eta: Any) -> None:
    # When
    sent = make_message(
        "t.add", ID, queue="q", eta=eta, expires=eta, now=NOW - 60, tz=dt.timezone(dt.timedelta(hours=-3))
    )
    # Then
    assert sent.headers["eta"] == sent.headers["expires"] == "2026-11-21T09:47:47.250000+00:00"
    assert sent.properties["expiration"] == "60000"
    assert sent.due == NOW


def test_what_is_over_when_it_is_sent_expires_at_once() -> None:
    assert make_message("t.add", ID, queue="q", expires=NOW - 5, now=NOW).properties["expiration"] == "0"


def test_headers_of_the_user_stand_beside_the_standard_ones_and_win() -> None:
    sent = make_message("t.add", ID, queue="q", headers={"x-tenant": "acme", "shadow": "theirs"}, shadow="mine")
    assert sent.headers["x-tenant"] == "acme"
    assert sent.headers["shadow"] == "theirs"


def test_a_compressed_body_is_named_in_the_headers() -> None:
    # When
    sent = make_message("t.add", ID, ["x" * 1000], queue="q", compression="gzip")
    # Then
    assert sent.headers["compression"] == "application/x-gzip"
    assert len(sent.body) < 200
    assert decode(sent, JSON_ONLY).args == ["x" * 1000]


def test_an_unknown_codec_or_compression_is_refused_when_sending() -> None:
    with pytest.raises(ImproperlyConfigured, match="no serializer 'jsn'"):
        make_message("t.add", ID, queue="q", codec="jsn")
    with pytest.raises(ImproperlyConfigured, match="no compression 'zap'"):
        make_message("t.add", ID, queue="q", compression="zap")


class User:
    """What people pass by mistake."""


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("protocol", [1, 2])
def test_arguments_that_cannot_be_written_are_named(codec: str, protocol: int) -> None:
    for args, kwargs, place in (
        ([1, {"user": User()}], {}, "args[1]"),
        ([], {"to": [User()]}, "kwargs"),
    ):
        with pytest.raises(EncodeError) as caught:
            make_message("t.add", ID, args, kwargs, queue="q", codec=codec, task_protocol=protocol)
        assert str(caught.value).startswith(place)
        assert "User" in str(caught.value)


def test_a_callback_that_cannot_be_written_is_named() -> None:
    with pytest.raises(EncodeError, match=r"^callbacks\[0\]\.args\[0\]: object of type .*User cannot be written"):
        encode_body((), {}, callbacks=[{"task": "t.add", "args": [User()]}])


def test_what_follows_is_written_beside_the_call() -> None:
    # Given
    step = {"task": "t.add", "args": [1]}
    # When
    body, headers = encode_body((1,), {"k": 2}, chain=[step], chord=step, compression="zstd")
    sent = make_message("t.add", ID, queue="q")
    sent.body, sent.headers = body, {**sent.headers, **headers}
    call = decode(sent, JSON_ONLY)
    # Then
    assert headers == {"compression": "application/zstd"}
    assert (call.args, call.kwargs, call.chain, call.chord) == ([1], {"k": 2}, [step], step)
    assert call.callbacks is call.errbacks is None


def test_protocol_1_has_everything_in_its_body() -> None:
    # When
    sent = make_message(
        "t.add",
        ID,
        (1,),
        {"k": 2},
        queue="q",
        eta=NOW,
        group="g",
        group_index=3,
        retries=2,
        timelimit=(30, 20.5),
        embed={"errbacks": [{"task": "t.err"}]},
        headers={"x-tenant": "acme"},
        task_protocol=1,
    )
    # Then
    assert sent.headers == {"x-tenant": "acme"}
    assert json.loads(sent.body) == {
        "task": "t.add",
        "id": ID,
        "args": [1],
        "kwargs": {"k": 2},
        "group": "g",
        "group_index": 3,
        "retries": 2,
        "eta": "2026-11-21T09:47:47.250000+00:00",
        "expires": None,
        "utc": True,
        "callbacks": None,
        "errbacks": [{"task": "t.err"}],
        "timelimit": [30, 20.5],
        "taskset": "g",
        "chord": None,
    }
    call = decode(sent, JSON_ONLY)
    assert (call.eta, call.retries, call.timelimit, call.chain) == (NOW, 2, (30, 20.5), None)
    assert call.headers["group"] == "g"
    assert call.headers["x-tenant"] == "acme"


def test_protocol_1_refuses_the_chain_that_it_would_lose() -> None:
    with pytest.raises(EncodeError, match=r"^chain: "):
        make_message("t.add", ID, queue="q", embed={"chain": [{"task": "t.next"}]}, task_protocol=1)


def test_the_group_of_protocol_1_may_be_its_taskset() -> None:
    sent = make_message("t.add", ID, queue="q", task_protocol=1)
    sent.body = json.dumps({"task": "t.add", "id": ID, "taskset": "g"}).encode()
    call = decode(sent, JSON_ONLY)
    assert (call.headers["group"], call.args, call.kwargs) == ("g", [], {})


def test_the_hybrid_of_both_protocols_is_read() -> None:
    # Given
    sent = make_message("t.add", ID, queue="q")
    sent.body = json.dumps(
        {"task": "t.add", "id": ID, "args": [1], "kwargs": {"k": 2}, "retries": 4, "callbacks": [{"task": "t.next"}]}
    ).encode()
    # When
    call = decode(sent, JSON_ONLY)
    # Then
    assert (call.task, call.id, call.args, call.kwargs, call.retries) == ("t.add", ID, [1], {"k": 2}, 4)
    assert call.callbacks == [{"task": "t.next"}]
    assert call.headers["argsrepr"] == "()"


@pytest.mark.parametrize("codec", ["json", "msgpack", "yaml", "pickle"])
def test_every_codec_carries_a_call(codec: str) -> None:
    # When
    sent = make_message("t.add", ID, (1, "é", [None]), {"k": {"x": 2.5}}, queue="q", codec=codec)
    # Then
    assert sent.content_type == serializers.get(codec).content_type
    call = decode(unpack(pack(sent), "q"), EVERYTHING)
    assert (call.args, call.kwargs) == ([1, "é", [None]], {"k": {"x": 2.5}})


def test_an_envelope_has_the_fields_of_kombu() -> None:
    # Given
    sent = make_message("t.add", ID, (2, 3), queue="hot", exchange="ex", routing_key="a.b", priority=5, reply_to="me")
    # When
    item = json.loads(pack(sent))
    # Then
    tag = item["properties"].pop("delivery_tag")
    assert uuid.UUID(tag).version == 4
    assert item["properties"] == {
        "correlation_id": ID,
        "reply_to": "me",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "ex", "routing_key": "a.b"},
        "priority": 5,
        "body_encoding": "base64",
    }
    assert item.keys() == {"body", "content-encoding", "content-type", "headers", "properties"}
    assert item["headers"] == sent.headers


def test_a_message_put_back_keeps_its_tag_and_what_we_do_not_know() -> None:
    # Given
    item = json.loads(pack(make_message("t.add", ID, queue="q")))
    item["properties"] |= {
        "app_id": "theirs",
        "delivery_info": {"exchange": "", "routing_key": "q", "redelivered": True},
    }
    item["headers"] |= {"redelivered": True, "x-own": {"deep": [1]}}
    raw = json.dumps(item).encode()
    # When
    again = json.loads(pack(unpack(raw, "q")))
    # Then
    assert again == item


def test_two_packed_messages_have_two_tags() -> None:
    sent = make_message("t.add", ID, queue="q")
    tags = {json.loads(pack(sent))["properties"]["delivery_tag"] for _ in range(10)}
    assert len(tags) == 10


def test_a_body_that_is_plain_text_in_its_envelope_is_read() -> None:
    # Given: what kombu writes when base64 is switched off.
    item = json.loads(pack(make_message("t.add", ID, queue="q")))
    item["body"] = '[["é"], {}, null]'
    item["properties"]["body_encoding"] = "utf-8"
    # Then
    assert decode(unpack(json.dumps(item).encode(), "q"), JSON_ONLY).args == ["é"]


def test_headers_of_extension_types_survive_the_envelope() -> None:
    # Given
    when = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    sent = make_message("t.add", ID, queue="q", headers={"when": when})
    # Then
    assert unpack(pack(sent), "q").headers["when"] == when


def test_ids_are_uuids_of_version_4() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    for each in ids:
        parsed = uuid.UUID(each)
        assert (str(parsed), parsed.version, parsed.variant) == (each, 4, uuid.RFC_4122)


def test_a_forked_child_has_ids_and_an_origin_of_its_own() -> None:
    # Given a process that has named itself and drawn ids
    ours = origin()
    new_id()
    reader, writer = os.pipe()

    # When it forks, and both draw
    pid = os.fork()
    if pid == 0:
        os.write(writer, f"{origin()} {' '.join(new_id() for _ in range(600))}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        theirs, *drawn = stream.read().split()
    os.waitpid(pid, 0)

    # Then they share none
    assert len(set(drawn)) == 600
    assert {new_id() for _ in range(600)}.isdisjoint(drawn)
    assert theirs == ours.replace(str(os.getpid()), str(pid))


def test_the_origin_is_the_process_and_its_host() -> None:
    assert origin() == f"gen{os.getpid()}@{socket.gethostname()}"
