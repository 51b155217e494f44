"""What supervisor, agent and one child have in common: board, ring, the tokens of unstarted tasks, the bell.

Made by the supervisor before it forks; inherited. A share serves one child at a time and is used again for another
when the agent has settled what the first one left.

Tokens. Fetched tasks that have not started stand in a pipe, eight bytes each. Whoever reads a token has the task: the
child to start it, or the agent to give it back while a long task runs before it. The kernel serialises the reads, so
there is no lock to die with.

Bell. Commands stand in another pipe (child reads, supervisor writes); signal USR2 tells a child that is inside a task
to look."""

from __future__ import annotations

import enum
import mmap
import os
import signal
import struct
from collections.abc import Sequence
from typing import NamedTuple

from talo.worker import bulletin, meter, rates
from talo.worker.baton import Baton, wake
from talo.worker.board import Board
from talo.worker.bulletin import Bulletin
from talo.worker.meter import Meter
from talo.worker.rates import RateTable
from talo.worker.ring import Ring

__all__ = ["Command", "Common", "CommonHandles", "Exit", "Handles", "Share"]

#: Holds what a child finishes in about a tenth of a second with results of ordinary size; larger ones are settled at
#: once.
RING_SIZE = 1 << 20

#: Numbers, the rate limits, the bulletin.
_COMMON = mmap.PAGESIZE + rates.SIZE + bulletin.SIZE
_COMMAND = struct.Struct("<cQ")


class Command(enum.Enum):
    """What the supervisor tells a child; the argument is a token or 0."""

    #: Fetch no more, give back what has not started, finish what runs, end.
    DRAIN = b"D"
    #: Hand back what runs, too.
    BACK = b"B"
    #: Soft limit passed for the token.
    SOFT = b"S"
    #: Hard limit passed for the token.
    HARD = b"H"
    #: Stop the token: it is revoked.
    CANCEL = b"C"
    #: Start nothing new for a while, or go on.
    PAUSE = b"P"
    RESUME = b"R"
    #: Wake up: the bulletin has changed.
    LOOK = b"L"


class Exit(enum.Enum):
    """Why a process of the worker ended before the worker did; the value is its place in the common memory."""

    #: It had run as many tasks, or used as much memory, as it may; or the pool shrank.
    RECYCLED = 40
    #: The supervisor killed it, for a limit or because it was stuck.
    KILLED = 48
    #: Nobody wanted it.
    CRASHED = 56
    AGENT = 64


class CommonHandles(NamedTuple):
    """The descriptors of what all processes share."""

    memory: int
    baton_read: int
    baton_write: int
    #: -1: nothing is metered.
    meters: int = -1


class Common:
    """What all processes of a worker share: how often the set of revoked tasks has changed (the agent writes), how many
    processes there are, what ended ones had run and how they ended (the supervisor writes), the logical clock, the
    bulletin, the rate limits, the baton, and so many ``meters``."""

    def __init__(self, handles: CommonHandles | None = None, *, meters: int = 0) -> None:
        if handles is None:
            memory = os.memfd_create("talo-common")
            os.ftruncate(memory, _COMMON)
            metered = -1
            if meters:
                metered = os.memfd_create("talo-meters")
                os.ftruncate(metered, meters * meter.SIZE)
            handles = CommonHandles(memory, *os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC), metered)
        self.handles = handles
        self._memory = mmap.mmap(handles.memory, _COMMON)
        self._meters = mmap.mmap(handles.meters, 0) if handles.meters >= 0 else None
        #: Eight bytes for ``LamportClock.share``.
        self.clock = memoryview(self._memory)[8:16]
        self.rates = RateTable(self._memory, mmap.PAGESIZE, handles.memory)
        self.bulletin = Bulletin(self._memory, mmap.PAGESIZE + rates.SIZE)

    @property
    def revocations(self) -> int:
        """A number that changes whenever the revoked tasks should be read anew."""
        return int.from_bytes(self._memory[:8], "little")

    def note_revocation(self) -> None:
        """The set has changed."""
        self._memory[:8] = (self.revocations + 1).to_bytes(8, "little")

    @property
    def processes(self) -> int:
        """How many children the worker is to have."""
        return int.from_bytes(self._memory[16:24], "little")

    def note_processes(self, number: int) -> None:
        """It is to have so many from now on."""
        self._memory[16:24] = number.to_bytes(8, "little")

    @property
    def processed(self) -> int:
        """How many tasks the children had run that are gone."""
        return int.from_bytes(self._memory[24:32], "little")

    def note_processed(self, more: int) -> None:
        """One is gone that had run so many."""
        self._memory[24:32] = (self.processed + more).to_bytes(8, "little")

    @property
    def stopping(self) -> bool:
        """Whether the worker was told to stop."""
        return bool(self._memory[32])

    def note_stopping(self) -> None:
        """It was."""
        self._memory[32] = 1

    def exits(self, cause: Exit) -> int:
        """How many processes have ended for this cause."""
        return int.from_bytes(self._memory[cause.value : cause.value + 8], "little")

    def note_exit(self, cause: Exit) -> None:
        """One more has."""
        self._memory[cause.value : cause.value + 8] = (self.exits(cause) + 1).to_bytes(8, "little")

    def meter(self, share: int | None, most_tasks: int, *, times: bool = True) -> Meter | None:
        """Return the meter of the child on a share, or of the agent (None); None if nothing is metered."""
        if self._meters is None:
            return None
        offset = (0 if share is None else share + 1) * meter.SIZE
        return Meter(self._meters, offset, most_tasks, times=times)

    def baton(self) -> Baton:
        """Return this process's hand for the baton."""
        return Baton(*self.handles[:3])

    def call_for_waiter(self) -> None:
        """Nobody may be waiting for work: a child has died, perhaps with the baton, or is held up by a long task."""
        wake(self.handles.baton_write)


class Handles(NamedTuple):
    """The descriptors of a share; -1: not for this process."""

    memory: int
    tokens_read: int
    tokens_write: int
    bell_read: int
    bell_write: int


class Share:
    """One child's shared memory and pipes."""

    def __init__(self, number: int, slots: int, common: Common, handles: Handles | None = None) -> None:
        self.number = number
        self.common = common
        self.slots = slots
        size = Board.size(slots) + RING_SIZE
        if handles is None:
            self._fd = os.memfd_create(f"talo-{number}")
            os.ftruncate(self._fd, size)
            self.tokens_read, self.tokens_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            self.bell_read, self.bell_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        else:
            self._fd, self.tokens_read, self.tokens_write, self.bell_read, self.bell_write = handles
        memory = mmap.mmap(self._fd, size)
        self.board = Board(memory, 0, slots)
        self.ring = Ring(memory, Board.size(slots), RING_SIZE)

    def handles(self, *, serves: bool) -> Handles:
        """Return what a process that is not forked needs to open it: all but the supervisor's end of the bell for the
        child that it ``serves``, no end of the bell for others."""
        return Handles(self._fd, self.tokens_read, self.tokens_write, self.bell_read if serves else -1, -1)

    def reset(self) -> None:
        """Make it ready for a new child."""
        self.board.wipe()
        self.ring.wipe()
        self.take_tokens()
        _close(self.bell_read, self.bell_write)
        self.bell_read, self.bell_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    # -- tokens ------------------------------------------------------------------------------------------------------

    def put_tokens(self, tokens: Sequence[int]) -> None:
        """Let these tasks be claimed, in this order. At most 500 at a time: a pipe takes 4096 bytes in one piece."""
        if tokens:
            os.write(self.tokens_write, struct.pack(f"<{len(tokens)}Q", *tokens))

    def claim(self) -> int:
        """Take the next unstarted token; 0 when none is left."""
        try:
            return int.from_bytes(os.read(self.tokens_read, 8), "little")
        except BlockingIOError:
            return 0

    def take_tokens(self) -> list[int]:
        """Take every unstarted token."""
        tokens = []
        while token := self.claim():
            tokens.append(token)
        return tokens

    # -- bell --------------------------------------------------------------------------------------------------------

    def ring_bell(self, pid: int, command: Command, token: int = 0) -> None:
        """Tell the child something."""
        try:
            os.write(self.bell_write, _COMMAND.pack(command.value, token))
            os.kill(pid, signal.SIGUSR2)
        except (BrokenPipeError, BlockingIOError, ProcessLookupError):
            # It is dead or dying; the supervisor learns that from its exit.
            return

    def commands(self) -> list[tuple[Command, int]]:
        """Return the commands that have come. When the supervisor is gone, that is a command to drain."""
        found: list[tuple[Command, int]] = []
        while True:
            try:
                data = os.read(self.bell_read, _COMMAND.size)
            except BlockingIOError:
                return found
            if not data:
                return [*found, (Command.DRAIN, 0)]
            op, token = _COMMAND.unpack(data)
            found.append((Command(op), token))

    # -- after the fork ----------------------------------------------------------------------------------------------

    def keep_as_child(self) -> None:
        """Close what only the supervisor holds, so that its death can be heard."""
        _close(self.bell_write)

    def keep_as_stranger(self) -> None:
        """The same in a process that this share does not serve."""
        _close(self.bell_read, self.bell_write)


def _close(*fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)
