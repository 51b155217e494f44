"""A command on its way to the server."""

from __future__ import annotations

from typing import Any

import pytest
from hiredis import Reader

from talo.stores.redis.connection import pack


@pytest.mark.parametrize("times", [1, 100])
def test_a_command_of_any_length_says_the_same(times: int) -> None:
    # Given parts of every kind
    parts = [b"\r\n\x00", "ü", "", 0, -7, 1.5, 1e300, b"x" * 70_000] * times

    # When they are packed, and read as the server reads
    reader = Reader()
    reader.feed(pack(*parts))

    # Then nothing was lost
    sent = [b"\r\n\x00", "ü".encode(), b"", b"0", b"-7", b"1.5", b"1e+300", b"x" * 70_000] * times
    assert reader.gets() == sent


@pytest.mark.parametrize("times", [1, 100])
def test_what_is_no_part_is_refused(times: int) -> None:
    nothing: Any = None
    with pytest.raises(TypeError):
        pack(*["SET", "key", nothing] * times)
