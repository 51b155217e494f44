"""The stop ladder: quiet, drain, soft, kill. Which rung it is time for; taking it is the supervisor's."""

from __future__ import annotations

import enum
import sys

__all__ = ["Ladder", "Rung"]

#: What is asked softly gets so long to let go.
SOFT_GRACE = 2.0


class Rung(enum.IntEnum):
    """How far the stop has gone."""

    UP = 0
    #: Fetch nothing, give back what has not started, let run what runs.
    DRAIN = 1
    #: Hand back what runs.
    SOFT = 2
    KILL = 3


class Ladder:
    """Where a worker stands on its way down. ``stop`` may be called from signal handlers, any number of times."""

    def __init__(self, grace: float | None, soft_shutdown: float) -> None:
        self._grace = grace
        self._soft_shutdown = soft_shutdown
        self._wanted = Rung.UP
        self._at = Rung.UP
        self._until: float | None = None
        self.exit_code = 0
        #: The name of the signal that asked for the stop; None if the worker itself did.
        self.signal: str | None = None

    @property
    def stopping(self) -> bool:
        """Whether a stop has been asked for."""
        return self._wanted is not Rung.UP

    @property
    def how(self) -> str:
        """What the stop that was asked for is called."""
        return "Cold" if self._wanted >= Rung.SOFT else "Warm"

    def stop(self, rung: Rung, *, exit_code: int, says: str = "", signal: str | None = None) -> None:
        """Ask for a stop that begins at this rung; a later call can only hasten it."""
        if says:
            print(f"worker: {says}", file=sys.__stdout__, flush=True)
        if rung > self._wanted:
            self._wanted = rung
            self.exit_code = exit_code
            self.signal = signal

    def climb(self, now: float, *, alone: bool) -> Rung | None:
        """Return the rung to take now, or None. ``alone``: no child is left."""
        if alone or self._wanted is Rung.UP:
            return None
        if self._at is Rung.UP:
            self._at = Rung.DRAIN
            if self._wanted is Rung.SOFT:
                self._until = now + self._soft_shutdown
            elif self._grace is not None:
                self._until = now + max(0.0, self._grace - SOFT_GRACE)
            return Rung.DRAIN
        if self._at is Rung.DRAIN:
            hastened = self._wanted is Rung.SOFT and (self._until is None or self._until > now + self._soft_shutdown)
            if hastened:
                self._until = now + self._soft_shutdown
            if self._until is None or now < self._until:
                return None
            self._at, self._until = Rung.SOFT, now + SOFT_GRACE
            return Rung.SOFT
        if self._at is Rung.SOFT and self._until is not None and now >= self._until:
            self._at = Rung.KILL
            return Rung.KILL
        return None
