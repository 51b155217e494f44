"""JSON is written and read as kombu does, whichever of the two paths it takes."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import json
import uuid
from typing import Any, NamedTuple

import msgspec
import pytest

from talo.errors import DecodeError, EncodeError
from talo.wire import JSON, _json, register_type

ZONE = dt.timezone(dt.timedelta(hours=1))

EXTENSIONS = [
    (dt.datetime(2026, 1, 2, 3, 4, 5, 678900), "datetime", "2026-01-02T03:04:05.678900"),
    (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "datetime", "2026-01-02T03:04:05+00:00"),
    (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=ZONE), "datetime", "2026-01-02T03:04:05+01:00"),
    (dt.date(2026, 1, 2), "date", "2026-01-02"),
    (dt.time(3, 4, 5), "time", "03:04:05"),
    (decimal.Decimal("1.50"), "decimal", "1.50"),
    (uuid.UUID(int=0x1234), "uuid", {"hex": "00000000000000000000000000001234"}),
    (b"abc", "bytes", "abc"),
    (b"\xff\0\1", "base64", "/wAB"),
]


@pytest.mark.parametrize(("value", "marker", "form"), EXTENSIONS, ids=lambda value: str(value)[:20])
def test_extension_types_have_their_form_wherever_they_stand(value: Any, marker: str, form: Any) -> None:
    for wrap in (lambda v: v, lambda v: [1, v], lambda v: {"a": {"b": v}}, lambda v: (v, v)):
        # When
        data = JSON.dumps(wrap(value))
        # Then
        written = json.loads(data)
        assert written == json.loads(json.dumps(wrap({"__type__": marker, "__value__": form})))
        assert JSON.loads(data) == json.loads(json.dumps(wrap(0)), parse_int=lambda n: value if n == "0" else int(n))


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.IntEnum):
    RED = 1


class Word(enum.StrEnum):
    YES = "yes"


class Safe(str):
    pass


class Own:
    def __json__(self) -> Any:
        return {"own": [1]}


class Lazy:
    """As Django's lazy texts look from outside."""

    def _proxy____cast(self) -> str:
        return "late"

    def __str__(self) -> str:
        return self._proxy____cast()


PLAIN = [
    (Point(1, 2), [1, 2]),
    ((1, (2,)), [1, [2]]),
    (Colour.RED, 1),
    (Word.YES, "yes"),
    (Safe("x"), "x"),
    (collections.OrderedDict(a=1), {"a": 1}),
    (collections.defaultdict(int, b=2), {"b": 2}),
    ({1: 2, None: 3, 1.5: 5}, {"1": 2, "null": 3, "1.5": 5}),
    ({True: 4}, {"true": 4}),
    ({Colour.RED: 1}, {"1": 1}),
    (Own(), {"own": [1]}),
    ([Lazy()], ["late"]),
    (2**64, 2**64),
    (-(10**80), -(10**80)),
    ("\ud800", "\ud800"),
    ("é\0\u2028", "é\0\u2028"),
    (-0.0, -0.0),
    (1e-7, 1e-7),
]


@pytest.mark.parametrize(("value", "form"), PLAIN, ids=lambda value: ascii(value)[:30])
def test_what_is_like_plain_data_is_written_as_that(value: Any, form: Any) -> None:
    for wrap in (lambda v: v, lambda v: [v, {"k": v}]):
        data = JSON.dumps(wrap(value))
        assert repr(JSON.loads(data)) == repr(wrap(form))
        assert json.loads(data) == wrap(form)


def test_numbers_that_json_has_not_are_written_as_python_does() -> None:
    # When
    data = JSON.dumps([float("nan"), float("inf"), float("-inf")])
    # Then
    assert data == b"[NaN,Infinity,-Infinity]"
    assert repr(JSON.loads(data)) == "[nan, inf, -inf]"


class Plain(msgspec.Struct):
    a: int = 1


REFUSED = [
    ({1, 2}, "$: object of type set"),
    ([1, {"user": Plain()}], "$[1].user: object of type tests.unit.wire.test_json.Plain"),
    ({"a b": [dt.timedelta(1)]}, "$['a b'][0]: object of type datetime.timedelta"),
    ({(1, 2): 3}, "$: key of type tuple"),
    (enum.Enum("E", "A").A, "$: object of type tests.unit.wire.test_json.E"),
    (bytearray(b"x"), "$: object of type bytearray"),
    (10**5000, "$: an integer of 16610 bits"),
]


@pytest.mark.parametrize(("value", "text"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_written_is_named_with_its_place(value: Any, text: str) -> None:
    with pytest.raises(EncodeError) as caught:
        JSON.dumps(value)
    assert str(caught.value).startswith(text)


def test_a_mend_is_offered() -> None:
    with pytest.raises(EncodeError, match=r"pass plain data .* or give its class a __json__\(\) method"):
        JSON.dumps(object())


def test_a_value_that_holds_itself_is_refused() -> None:
    # Given
    inner: list[Any] = []
    inner.append({"again": inner})
    # Then
    with pytest.raises(EncodeError, match=r"^\$\[0\]\.again: refers to itself"):
        JSON.dumps(inner)


def test_endless_nesting_is_refused() -> None:
    # Given
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    # Then
    with pytest.raises(EncodeError, match="nested too deeply"):
        JSON.dumps(value)


def test_a_hook_that_fails_is_described() -> None:
    class Broken:
        def __json__(self) -> Any:
            raise RuntimeError("no")

    with pytest.raises(EncodeError, match=r"^\$\.a: writing an object of type .*Broken raised RuntimeError: no"):
        JSON.dumps({"a": Broken()})


UNREADABLE = [
    (b'{"__type__": "complex", "__value__": "1j"}', "unknown __type__ 'complex'"),
    (b'{"__type__": ["x"], "__value__": "1j"}', "unknown __type__"),
    (b'{"__type__": "datetime", "__value__": "soon"}', "unreadable datetime"),
    (b'{"__type__": "datetime", "__value__": 5}', "unreadable datetime"),
    (b'{"__type__": "decimal", "__value__": "x"}', "unreadable decimal"),
    (b'{"__type__": "uuid", "__value__": {"int": 5}}', "unreadable uuid"),
    (b'{"__type__": "base64", "__value__": "@"}', "unreadable base64"),
    (b'{"__type__": "os.system", "__value__": "true"}', "unknown __type__"),
    (b'{"a": {"__type__": "x", "__value__": 1}}', "unknown __type__ 'x'"),
    (b"", "not JSON"),
    (b"\xff\xfe", "not JSON"),
    (b"[1,", "not JSON"),
    (b"[" * 100_000, "nested too deeply"),
    (b'["__type__"' + b"[" * 100_000, "not JSON"),
    (b'["__type__",' + b"[" * 100_000, "nested too deeply"),
    (b"9" * 5000, "not JSON"),
]


@pytest.mark.parametrize(("data", "text"), UNREADABLE, ids=lambda value: str(value)[:40])
def test_what_cannot_be_read_is_a_decode_error(data: bytes, text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        JSON.loads(data)
    assert str(caught.value).startswith(text)


def test_an_object_that_only_looks_like_an_extension_stays_as_it_is() -> None:
    for value in ({"__type__": "datetime"}, {"__type__": "x", "__value__": 1, "more": 2}, {"note": "__type__"}):
        assert JSON.loads(json.dumps(value).encode()) == value


def test_users_register_types_of_their_own() -> None:
    # Given
    class Money:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    class Tip(Money):
        pass

    register_type(Money, "test_money", lambda money: money.cents, Money)
    register_type(Tip, "test_tip", lambda money: money.cents, Tip)
    # When
    data = JSON.dumps({"fee": Money(5), "tip": Tip(1)})
    # Then
    assert json.loads(data) == {
        "fee": {"__type__": "test_money", "__value__": 5},
        "tip": {"__type__": "test_tip", "__value__": 1},
    }
    back = JSON.loads(data)
    assert [(type(money), money.cents) for money in back.values()] == [(Money, 5), (Tip, 1)]


@pytest.mark.parametrize("value", [1, "x", None, True, 1.5, [1, [2.5, {"a": None}]], {"a": ("b",)}])
def test_plain_values_take_the_fast_path(value: Any) -> None:
    assert _json.plain(value)


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], {1: 2}, {"a": {1}}, Safe("x"), Colour.RED, Point(1, 2), b"x", dt.date.min]
)
def test_values_that_a_fast_encoder_would_write_otherwise_do_not(value: Any) -> None:
    assert not _json.plain(value)
