"""Rates as people write them: ``10/s``, ``100/m``, ``5/h``, or a number a second. Pure; used wherever a rate limit is
read."""

from __future__ import annotations

import math

__all__ = ["rate_of"]

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def rate_of(value: str | float | None) -> float:
    """Return starts a second; 0: no limit. ``ValueError`` for what is no rate."""
    if value is None or value == "":
        return 0.0
    number, _, unit = str(value).partition("/")
    if unit.strip() not in ("", *_SECONDS):
        raise ValueError(f"{value!r} is no rate: write 10/s, 100/m or 5/h")
    try:
        rate = float(number) / _SECONDS[unit.strip() or "s"]
    except ValueError:
        raise ValueError(f"{value!r} is no rate: write 10/s, 100/m or 5/h") from None
    if not 0 <= rate < math.inf:
        raise ValueError(f"{value!r} is no rate: it is a number of starts from 0 up")
    return rate
