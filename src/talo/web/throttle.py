"""A bound on guessing passwords: after some failures in a row a name or an address has to wait.

Owns the counting, in memory. Called by ``login``; times are monotonic seconds that the caller passes in."""

from __future__ import annotations

import threading

__all__ = ["Throttle"]


class Throttle:
    """Counts failures by key. Whoever is over the bound waits until his oldest failure is forgotten."""

    #: So many failures within so many seconds.
    MOST, WITHIN = 5, 300.0
    #: Keys that are remembered at most; beyond, the oldest go.
    KEYS = 10_000

    def __init__(self) -> None:
        self._failures: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def wait(self, *keys: str, now: float) -> float:
        """Seconds to wait before the next try; 0: none."""
        with self._lock:
            return max((self._remaining(key, now) for key in keys), default=0.0)

    def failed(self, *keys: str, now: float) -> None:
        """One more failure of each."""
        with self._lock:
            for key in keys:
                self._failures[key] = [*self._recent(self._failures.pop(key, []), now), now][-self.MOST :]
            while len(self._failures) > self.KEYS:
                del self._failures[next(iter(self._failures))]

    def succeeded(self, *keys: str) -> None:
        """Forget the failures of each."""
        with self._lock:
            for key in keys:
                self._failures.pop(key, None)

    def _recent(self, failures: list[float], now: float) -> list[float]:
        return [at for at in failures if at > now - self.WITHIN]

    def _remaining(self, key: str, now: float) -> float:
        recent = self._recent(self._failures.get(key, []), now)
        return recent[0] + self.WITHIN - now if len(recent) >= self.MOST else 0.0
