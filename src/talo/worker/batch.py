"""How many tasks a child asks for: as many as it should finish in about a tenth of a second.

Few when tasks are long, so that no task waits behind a long one; many when they are short, so that a round trip is
shared by hundreds."""

from __future__ import annotations

__all__ = ["BatchSize"]

#: What one turn may bring at most: a message of a kilobyte each makes a quarter of a megabyte, and the token pipe
#: takes 500 in one piece.
LARGEST = 256
#: Seconds: some times what a wake-up and a round trip take.
QUICK = 0.002


class BatchSize:
    """Learns from the batches that were run. ``slots`` tasks run at a time; ``prefetch`` caps the fetched ones per
    slot."""

    __slots__ = ("_cap", "_horizon", "_last", "_mean", "_slots")

    def __init__(self, slots: int, horizon: float, prefetch: int | None) -> None:
        self._slots = slots
        self._horizon = horizon
        self._cap = min(LARGEST, max(1, prefetch) * slots) if prefetch is not None else LARGEST
        self._mean: float | None = None
        self._last = slots

    def note(self, runs: int, seconds: float) -> None:
        """So many runs took so many seconds of one slot in all."""
        if runs:
            mean = seconds / runs
            # Long runs count at once, short ones slowly: asking for too many hurts, asking for too few costs a round
            # trip.
            self._mean = mean if self._mean is None or mean > self._mean else self._mean * 0.7 + mean * 0.3

    def takes_long(self, runs: int) -> bool:
        """Whether so many runs may take longer than it takes to wake another process."""
        return self._mean is None or self._mean * runs / self._slots > QUICK

    def limit(self) -> int:
        """Return how many tasks a child that has none left should ask for."""
        if self._mean is None:
            return min(self._slots, self._cap)
        fitting = int(self._slots * self._horizon / max(self._mean, 1e-6))
        # At most four times the last batch: one quick task says little about the next hundred.
        self._last = max(self._slots, min(fitting, self._last * 4, self._cap))
        return min(self._last, self._cap)
