"""Identity on the wire: task ids, delivery tags, and who sent a message.

A message needs two ids, so they are made many at a time: one call of the system's secure source, and the text of all of
them at the speed of slices. What was drawn ahead belongs to one process; a child of ``fork`` draws its own.
"""

from __future__ import annotations

import os
import socket

__all__ = ["new_id", "origin"]

#: Ids drawn at a time: 4 KiB of randomness.
_DRAWN = 256
#: A UUID of version 4, to be filled in.
_BLANK = b"........-....-4...-....-............"
#: Place of each random digit in the text, and its number among the 32; two of them give way to version and variant.
_PLACES = tuple(
    zip(
        (place for place, mark in enumerate(_BLANK) if mark in b"." and place != 19),
        (*range(12), *range(13, 16), *range(17, 32)),
        strict=True,
    )
)
#: The variant bits (10xx) for each random digit.
_VARIANT = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)

_drawn: list[str] = []
_origin = ""


def new_id() -> str:
    """Return a random UUID (version 4) as text, from the system's secure source."""
    while True:
        try:
            return _drawn.pop()  # atomic: no two threads get the same
        except IndexError:
            _drawn.extend(_draw())


def _draw() -> list[str]:
    digits = os.urandom(16 * _DRAWN).hex().encode()
    text = bytearray(_BLANK * _DRAWN)
    for place, digit in _PLACES:
        text[place::36] = digits[digit::32]
    text[19::36] = digits[16::32].translate(_VARIANT)
    ids = text.decode()
    return [ids[at : at + 36] for at in range(0, len(ids), 36)]


def origin() -> str:
    """Return this process as senders are named: ``gen<pid>@<host>``."""
    global _origin
    if not _origin:
        _origin = f"gen{os.getpid()}@{socket.gethostname()}"
    return _origin


def _after_fork_in_child() -> None:
    global _origin
    _drawn.clear()
    _origin = ""


os.register_at_fork(after_in_child=_after_fork_in_child)
