"""A bound on guessing passwords: after some failures in a row one has to wait.

Owns the counting, in memory. Called by ``login``; times are monotonic seconds that the caller passes in."""

from __future__ import annotations

import threading

__all__ = ["Throttle"]


class Throttle:
    """Counts failures by key. Whoever is over the bound waits until his oldest failure is forgotten."""

    #: Seconds for which a failure counts.
    WITHIN = 300.0
    #: Keys that are remembered at most; beyond, the oldest go.
    KEYS = 10_000

    def __init__(self, most: int) -> None:
        """``most``: so many failures, and then waiting."""
        self._most = most
        self._failures: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def wait(self, key: str, now: float) -> float:
        """Seconds to wait before the next try; 0: none."""
        with self._lock:
            recent = self._recent(self._failures.get(key, []), now)
        return recent[0] + self.WITHIN - now if len(recent) >= self._most else 0.0

    def failed(self, key: str, now: float) -> None:
        """One more failure."""
        with self._lock:
            self._failures[key] = [*self._recent(self._failures.pop(key, []), now), now][-self._most :]
            while len(self._failures) > self.KEYS:
                del self._failures[next(iter(self._failures))]

    def succeeded(self, key: str) -> None:
        """Forget its failures."""
        with self._lock:
            self._failures.pop(key, None)

    def _recent(self, failures: list[float], now: float) -> list[float]:
        return [at for at in failures if at > now - self.WITHIN]
