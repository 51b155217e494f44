"""What was summed up before: so that a page over a million runs costs what has changed since the last.

Owns two caches of the history's numbers, in memory: counters of periods that are over, and counts by state. Called by
the operations through ``desk``."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable

from talo.stores.history import Count, History, RunQuery

__all__ = ["Counters", "StateCounts"]

#: Periods of one width that are remembered at most.
_PERIODS = 200
#: Searches whose counts are remembered, and the seconds for which a page waits for a count.
_SEARCHES, _WAITS = 64, 0.06
#: Counts are taken anew after so many seconds, or this many times what taking them took.
_FRESH, _SHARE = 2.0, 30.0


class Counters:
    """Counters by width of period. Those of the last two periods are read anew each time: an end may come a little
    late, but not by a period."""

    def __init__(self) -> None:
        #: Width -> (beginning, end, counts between them).
        self._kept: dict[int, tuple[float, float, list[Count]]] = {}

    def since(self, history: History, since: float, step: int, now: float) -> list[Count]:
        """The same as ``History.counters`` up to now."""
        first = since // step * step
        over = now // step * step - step
        kept = self._kept.get(step)
        if kept is not None and kept[0] <= first <= kept[1]:
            before = kept[2]
            counts = before + history.counters(kept[1], now + 1, step)
            begin = max(kept[0], now // step * step - _PERIODS * step)
        else:
            counts = history.counters(first, now + 1, step)
            begin = first
        if over > begin:
            self._kept[step] = (begin, over, [count for count in counts if begin <= count.start < over])
        return [count for count in counts if count.start >= first]


class StateCounts:
    """Counts by state of searches. Where they take long they are taken in the background."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Search -> (counts, when they were taken, how long that took).
        self._kept: dict[Hashable, tuple[dict[str, int], float, float]] = {}
        self._taking: dict[Hashable, threading.Thread] = {}

    def latest(self, history: History, search: Hashable, query: RunQuery) -> dict[str, int] | None:
        """The counts of a search as they were a moment ago; None while they are taken for the first time."""
        with self._lock:
            kept = self._kept.get(search)
            if kept is not None and time.monotonic() - kept[1] < max(_FRESH, _SHARE * kept[2]):
                return kept[0]
            taking = self._taking.get(search)
            if taking is None:
                taking = threading.Thread(
                    target=self._take, args=(history, search, query), name="talo-web-counts", daemon=True
                )
                self._taking[search] = taking
                taking.start()
        # Small numbers are exact at once; of large ones those before are shown until there are new ones.
        taking.join(_WAITS if kept is None or kept[2] < _WAITS else 0)
        with self._lock:
            kept = self._kept.get(search)
        return kept[0] if kept is not None else None

    def _take(self, history: History, search: Hashable, query: RunQuery) -> None:
        began = time.monotonic()
        try:
            counts = history.count(query)
        finally:
            with self._lock:
                del self._taking[search]
        now = time.monotonic()
        with self._lock:
            self._kept[search] = (counts, now, now - began)
            while len(self._kept) > _SEARCHES:
                del self._kept[next(iter(self._kept))]
