"""The supervisor's processes: who is alive, on which share, and what has been done to them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from talo.worker.share import Share

__all__ = ["Family", "Member"]


class Member:
    """One process of a worker."""

    __slots__ = (
        "cancelled", "deadline", "killed", "leaving", "patience", "pid", "share", "started", "up", "victim", "warned",
        "why",
    )  # fmt: skip

    def __init__(self, pid: int, share: Share | None, started: float, patience: float = math.inf) -> None:
        self.pid = pid
        self.share = share
        self.started = started
        #: Seconds that its start may take, and whether it was seen to be over.
        self.patience = patience
        self.up = False
        #: We killed it on purpose.
        self.killed = False
        #: It was told to end after its tasks, and does not count any more.
        self.leaving = False
        #: The token for whose sake it was killed, and why: it was over its hard limit, or terminated.
        self.victim = 0
        self.why = ""
        #: Tokens that are to stop, and until when they may do it by themselves (monotonic).
        self.cancelled: dict[int, float] = {}
        #: (token, command) it has been told already.
        self.warned: set[tuple[int, int]] = set()
        self.deadline = 0.0


class Family:
    """The living children, by pid."""

    def __init__(self) -> None:
        self._members: dict[int, Member] = {}

    def add(self, member: Member) -> None:
        """One is born."""
        self._members[member.pid] = member

    def pop(self, pid: int) -> Member | None:
        """One has died."""
        return self._members.pop(pid, None)

    def of_share(self, number: int) -> Member | None:
        """The child that a share serves."""
        return next((m for m in self if m.share is not None and m.share.number == number), None)

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))

    def __len__(self) -> int:
        return len(self._members)
