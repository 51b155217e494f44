"""Bytes of AMQP: what Celery's client wrote is what we write and read."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from talo.errors import EncodeError
from talo.stores.rabbitmq.frames import content, method, properties, read_properties, read_table, short, table

VALUES: dict[str, Any] = {
    "text": "ü",
    "bytes": b"\xff\x00",
    "int": -5,
    "big": 2**40,
    "float": 1.5,
    "yes": True,
    "no": False,
    "none": None,
    "list": ["a", 1, None, [2.5]],
    "table": {"deep": {"er": []}},
    "money": Decimal("-12.50"),
    "when": dt.datetime(2026, 11, 21, tzinfo=dt.UTC),
}


def test_a_table_comes_back_as_it_was_written() -> None:
    data = table(VALUES)
    assert read_table(data, 0) == (VALUES, len(data))


def test_types_are_written_as_celery_s_client_writes_them() -> None:
    # As captured from Celery 5.7: text and bytes S, small integers I, floats d, None V, lists A, tables F, bool t
    captured = bytes.fromhex("016e49000000070674656e616e74530000000461636d65")
    assert table({"n": 7, "tenant": "acme"})[4:] == captured
    assert table({"f": 1.5, "t": True, "l": [None, 10]})[4:] == bytes.fromhex(
        "0166643ff800000000000001747401016c410000000656490000000a"
    )


@pytest.mark.parametrize("value", [object(), 2**70, Decimal("1e300"), {"x": object()}])
def test_what_amqp_has_no_type_for_is_refused(value: object) -> None:
    with pytest.raises(EncodeError, match="AMQP"):
        table({"x": value})


def test_names_are_at_most_255_bytes() -> None:
    assert short("x" * 255)[0] == 255
    with pytest.raises(EncodeError, match="255 bytes"):
        short("ü" * 128)


def test_a_method_is_one_frame() -> None:
    # Channel 1, queue.bind, as captured
    arguments = bytes.fromhex("0000066672616d6573066672616d6573066672616d65730000000000")
    assert method(1, 50, 20, arguments).hex() == f"01000100000020{'00320014'}{arguments.hex()}ce"


def test_properties_and_a_body_in_pieces_come_back() -> None:
    fields = {
        "content_type": "application/json",
        "headers": {"id": "1"},
        "delivery_mode": 2,
        "priority": 9,
        "correlation_id": "c",
        "expiration": "500",
        "timestamp": 1_700_000_000,
    }
    data = content(3, properties(fields), b"x" * 25, frame_max=18)
    kind, size = data[0], int.from_bytes(data[3:7], "big")
    assert (kind, data[1:3]) == (2, b"\0\x03")
    assert read_properties(data[7 : 7 + size]) == fields
    bodies = data[7 + size + 1 :]
    assert [bodies[0], bodies[18], bodies[36]] == [3, 3, 3]
    assert [int.from_bytes(bodies[at + 3 : at + 7], "big") for at in (0, 18, 36)] == [10, 10, 5]


def test_an_empty_body_has_no_frame() -> None:
    data = content(1, properties({}), b"", frame_max=4096)
    assert len(data) == 7 + 14 + 1
