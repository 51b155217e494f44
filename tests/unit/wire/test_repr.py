"""What people read of arguments is like ``repr``, but bounded and harmless."""

from __future__ import annotations

import collections
from typing import Any

import pytest

from talo.wire import saferepr


@pytest.mark.parametrize(
    "value",
    [
        (),
        (2, 3),
        ("x",),
        [1, 2.5, None, True],
        {},
        {"a": 1, "b": "é"},
        {1: [2]},
        {1},
        set(),
        frozenset({1}),
        b"x\xff",
        "it's",
        (1, [2, {"a": 3}]),
        collections.OrderedDict(a=1),
        float("nan"),
        10**100,
    ],
)
def test_small_values_look_like_repr(value: Any) -> None:
    assert saferepr(value) == repr(value)


@pytest.mark.parametrize(
    "value", ["x" * 5000, ["x" * 5000], list(range(5000)), {str(i): i for i in range(5000)}, b"x" * 5000]
)
@pytest.mark.parametrize("maxlen", [20, 1024])
def test_long_values_are_cut(value: Any, maxlen: int) -> None:
    text = saferepr(value, maxlen)
    assert len(text) == maxlen
    assert text.endswith("...")
    assert text[:-3] == repr(value)[: maxlen - 3]


def test_deep_values_are_cut() -> None:
    assert saferepr([[[[1]]]]) == "[[[[...]]]]"
    assert saferepr({"a": {"b": {"c": {"d": 1}}}}, maxlevels=1) == "{'a': {...}}"


def test_a_value_that_holds_itself_ends() -> None:
    value: list[Any] = []
    value.append(value)
    assert saferepr(value) == "[[[[...]]]]"


def test_only_what_is_shown_is_looked_at() -> None:
    # Given
    seen = []

    class Told:
        def __repr__(self) -> str:
            seen.append(self)
            return "told"

    # When
    saferepr([Told() for _ in range(100_000)], 100)
    # Then
    assert len(seen) < 30


def test_a_repr_that_raises_is_described() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert saferepr([1, Broken()]).endswith("Broken: its repr raised RuntimeError>]")


def test_an_endless_integer_is_described() -> None:
    assert saferepr([10**5000]) == "[<int of 16610 bits>]"
