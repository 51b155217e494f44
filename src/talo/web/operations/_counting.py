"""Sums over the history's counters: rates, shares of failures, quantiles.

Owns the arithmetic that overview, tasks and queues share; the counters are the store's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from talo.stores.history import Count, quantile

__all__ = ["ATTENTION", "WINDOWS", "Total", "series", "window"]

#: Name -> (seconds, seconds of a bar). Bars of more than an hour are summed from hours.
WINDOWS: dict[str, tuple[int, int]] = {
    "1h": (3600, 60),
    "6h": (21600, 300),
    "24h": (86400, 7200),
    "7d": (604800, 21600),
}
#: States that call for attention.
ATTENTION = frozenset({"FAILURE", "LOST", "REJECTED"})
#: An attempt that was not the last is no end.
_PASSING = frozenset({"RETRY", "LOST"})


class Total(msgspec.Struct):
    """Sums of some counters."""

    ended: int = 0
    failed: int = 0
    retried: int = 0
    by_state: dict[str, int] = {}
    seconds: float = 0.0
    run_buckets: dict[int, int] = {}
    wait_buckets: dict[int, int] = {}

    def add(self, count: Count) -> None:
        """Add one counter."""
        self.by_state[count.state] = self.by_state.get(count.state, 0) + count.count
        self.ended += 0 if count.state in _PASSING else count.count
        self.failed += count.count if count.state in ATTENTION else 0
        self.retried += count.count if count.state == "RETRY" else 0
        self.seconds += count.seconds
        for ours, theirs in ((self.run_buckets, count.run_buckets), (self.wait_buckets, count.wait_buckets)):
            for bucket, number in theirs.items():
                ours[bucket] = ours.get(bucket, 0) + number

    def facts(self) -> dict[str, Any]:
        """As JSON tells them; times in seconds, None where nothing is known."""
        tried = sum(self.by_state.values())
        return {
            "ended": self.ended,
            "failed": self.failed,
            "retried": self.retried,
            "by_state": self.by_state,
            "failure_rate": self.failed / tried if tried else None,
            "seconds": self.seconds,
            "run": _quantiles(self.run_buckets),
            "wait": _quantiles(self.wait_buckets),
        }


def _quantiles(buckets: dict[int, int]) -> dict[str, float | None]:
    return {f"p{share}": quantile(buckets, share / 100) for share in (50, 95, 99)}


def window(name: str, now: float) -> tuple[float, int, int]:
    """Return (since, step, bars) of a window that ends with the period of ``now``."""
    seconds, step = WINDOWS.get(name, WINDOWS["1h"])
    bars = seconds // step
    return (now // step - bars + 1) * step, step, bars


def series(counts: Iterable[Count], since: float, step: int, bars: int) -> list[dict[str, Any]]:
    """Return a bar for every period: when it starts, what succeeded and what calls for attention."""
    found = [{"start": since + at * step, "good": 0, "bad": 0} for at in range(bars)]
    for count in counts:
        at = int((count.start - since) // step)
        if 0 <= at < bars and count.state != "RETRY":
            found[at]["bad" if count.state in ATTENTION else "good"] += count.count
    return found
