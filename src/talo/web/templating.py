"""Jinja's environment: escaping on, and filters for times, ages, numbers.

Owns how values look on pages. Used by ``answering`` and ``pages``."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["STATIC", "environment", "fingerprint"]

STATIC = Path(__file__).parent / "static"


def fingerprint() -> str:
    """A text that changes when a static file does: part of their addresses, so they may be kept for ever."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def age(seconds: Any, none: str = "–") -> str:
    """``0.8 ms``, ``12 s``, ``3 min``, ``2 h 5 min``, ``4 d``."""
    if seconds is None:
        return none
    if seconds < 0:
        return "0 s"
    if seconds < 0.001:
        return f"{seconds * 1_000_000:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    if minutes < 60 * 36:
        hours, rest = divmod(round(minutes), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{minutes / 1440:.0f} d"


def bound(seconds: Any) -> str:
    """A time that is an upper bound, as quantiles of a histogram are."""
    return "–" if seconds is None else f"≤ {age(seconds)}"


def each(step: int) -> str:
    """What a bar of a chart stands for."""
    return {60: "minute", 300: "5 minutes", 7200: "2 hours", 21600: "6 hours"}.get(step, f"{step} s")


def number(value: Any, none: str = "–") -> str:
    """``12,345``; fractions with two digits that count."""
    if value is None:
        return none
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def rate(value: Any) -> str:
    """Per second, or per minute or hour if it is that little."""
    if value is None:
        return "–"
    for factor, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if value * factor >= 1 or unit == "h":
            return f"{number(float(f'{value * factor:.3g}'))} / {unit}"
    raise AssertionError


def percent(value: Any) -> str:
    """A share as ``0.4 %``."""
    return "–" if value is None else f"{100 * value:.2g} %" if 0 < value < 0.1 else f"{100 * value:.0f} %"


def memory(value: Any) -> str:
    """Bytes as MiB."""
    return "–" if value is None else f"{value / 1048576:,.0f} MiB"


def iso(epoch: Any) -> str:
    """A moment for the ``datetime`` of a ``<time>``."""
    return "" if epoch is None else dt.datetime.fromtimestamp(epoch, dt.UTC).isoformat(timespec="milliseconds")


def moment(epoch: Any) -> str:
    """A moment for people, in the server's zone; the browser turns it into its own."""
    return "–" if epoch is None else dt.datetime.fromtimestamp(epoch).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def query(values: dict[str, Any], **changes: Any) -> str:
    """A query of what is set among ``values`` and ``changes``."""
    merged = {**values, **changes}
    return urlencode({name: value for name, value in merged.items() if value not in (None, "", False)}, doseq=True)


def short(text: Any, length: int = 80) -> str:
    """One line of a text."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= length else line[: length - 1] + "…"


def short_name(name: Any) -> str:
    """The last two parts of a dotted name."""
    return ".".join(str(name or "?").split(".")[-2:])


def line_json(value: Any) -> str:
    """JSON in one line."""
    return json.dumps(value, ensure_ascii=False, default=str)


def environment() -> Environment:
    """The environment of all pages."""
    found = Environment(
        loader=PackageLoader("talo.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (age, bound, each, number, rate, percent, memory, iso, moment, query, short, short_name, line_json)
    found.filters |= {filter.__name__: filter for filter in filters}
    return found
