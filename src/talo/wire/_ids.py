"""Identity on the wire: task ids, delivery tags, and who sent a message.

``new_id`` is uuid4 text like the standard library's at half its cost; a message needs up to two.
"""

from __future__ import annotations

import os
import socket

__all__ = ["new_id", "origin"]

#: The variant bits (10xx) for each random digit.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}

_host = ""


def new_id() -> str:
    """Return a random UUID (version 4) as text, from the system's secure source."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def origin() -> str:
    """Return this process as senders are named: ``gen<pid>@<host>``."""
    global _host
    if not _host:
        _host = socket.gethostname()
    return f"gen{os.getpid()}@{_host}"
