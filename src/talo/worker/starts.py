"""What is expected of processes at their start: how long one may take, and how many may fail in a row.

Owns these two judgements; what follows from them is the supervisor's, the only caller. See
``docs/internals/boot.md``."""

from __future__ import annotations

__all__ = ["BUDGET", "QUICK", "Starts"]

#: Starts that may fail in a row before the worker gives up.
BUDGET = 5
#: Seconds from its start for which the end of a process is a failed start, whoever it is that is to blame.
QUICK = 1.0


class Starts:
    """The starts of one kind of process, of which there are ``number`` at a time. ``patience``: seconds that a start
    may take."""

    def __init__(self, number: int = 1, patience: float = float("inf")) -> None:
        # One blow may hit all of them at once, and is one failure.
        self._most = BUDGET + number - 1
        self._least = self.patience = patience
        self._failed = 0

    def came_up(self, seconds: float) -> None:
        """One has started, and took so long."""
        self.patience = max(self._least, 2 * seconds)

    def was_late(self, seconds: float) -> None:
        """One was given so long and did not come up. Later ones are given twice that: whatever can start in the end
        does."""
        self.patience = max(self.patience, 2 * seconds)

    def spent(self, *, failed: bool) -> bool:
        """One has ended, at its start or otherwise. Return whether so many starts have failed in a row that another
        one would, too."""
        self._failed = self._failed + 1 if failed else 0
        return self._failed >= self._most
