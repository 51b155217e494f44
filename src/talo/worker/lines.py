"""What supervisor and agent tell each other, over two pipes: one JSON object a line."""

from __future__ import annotations

import contextlib
import os

import msgspec

__all__ = ["AgentLine", "Death", "Running", "Stop"]


class Running(msgspec.Struct, frozen=True):
    """A task that ran when its process died."""

    token: int
    #: Seconds since its start.
    seconds: float
    #: Its hard deadline (monotonic); 0: none.
    hard: float


class Death(msgspec.Struct, tag="death", frozen=True, kw_only=True):
    """A child has ended, with the facts of its board."""

    share: int
    pid: int
    owner: str
    status: str
    exit_code: int
    peak_kib: int
    running: list[Running]
    #: The token for whose sake we killed it; 0: none. ``why``: ``time_limit`` or ``terminated``.
    victim: int
    why: str
    #: We killed it: what ran did nothing wrong.
    deliberate: bool


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """Finish and end."""


_decoder = msgspec.json.Decoder(Death | Stop)


class AgentLine:
    """Both pipes. Opened anew for each agent; each side closes what is the other's."""

    def __init__(self) -> None:
        self._to_agent = (-1, -1)
        self._to_supervisor = (-1, -1)
        self._rest = b""

    def open(self) -> None:
        """Make the pipes, before the fork."""
        self.close()
        self._to_agent = os.pipe2(os.O_CLOEXEC)
        self._to_supervisor = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._rest = b""

    def keep_as_supervisor(self) -> None:
        """Close the agent's ends."""
        os.close(self._to_agent[0])
        os.close(self._to_supervisor[1])
        self._to_agent = (-1, self._to_agent[1])
        self._to_supervisor = (self._to_supervisor[0], -1)
        os.set_blocking(self._to_agent[1], False)

    def keep_as_agent(self) -> int:
        """Close the supervisor's ends and return the descriptor to read from."""
        for fd in (self._to_agent[1], self._to_supervisor[0]):
            if fd >= 0:
                os.close(fd)
        self._to_agent = (self._to_agent[0], -1)
        self._to_supervisor = (-1, self._to_supervisor[1])
        os.set_blocking(self._to_agent[0], False)
        return self._to_agent[0]

    def keep_as_stranger(self) -> None:
        """Close everything, in a child."""
        self.close()

    def close(self) -> None:
        """Close what is open."""
        for fd in (*self._to_agent, *self._to_supervisor):
            if fd >= 0:
                os.close(fd)
        self._to_agent = self._to_supervisor = (-1, -1)

    @property
    def agent_ends(self) -> tuple[int, int]:
        """The descriptors that the agent keeps: to read from, to write to."""
        return self._to_agent[0], self._to_supervisor[1]

    @classmethod
    def of_agent(cls, ends: tuple[int, int]) -> AgentLine:
        """The line as an agent that was not forked opens it."""
        line = cls()
        line._to_agent, line._to_supervisor = (ends[0], -1), (-1, ends[1])
        return line

    # -- supervisor --------------------------------------------------------------------------------------------------

    @property
    def readable(self) -> list[int]:
        """What the supervisor waits on."""
        return [self._to_supervisor[0]] if self._to_supervisor[0] >= 0 else []

    def tell(self, death: Death) -> None:
        """Tell of a death. If the agent is dying too, or has died just before, its successor is told again."""
        self._say(death)

    def tell_stop(self) -> None:
        """Tell the agent to end."""
        self._say(Stop())

    def _say(self, order: Death | Stop) -> None:
        if self._to_agent[1] < 0:
            return
        with contextlib.suppress(BrokenPipeError, BlockingIOError):
            os.write(self._to_agent[1], msgspec.json.encode(order) + b"\n")

    def hear(self) -> list[tuple[str, int, int]]:
        """Return (word, number, token or 0) as they have come; see ``report``."""
        if self._to_supervisor[0] < 0:
            return []
        lines = [line.decode().split() for line in self._lines(self._to_supervisor[0]) or ()]
        return [(word, int(number), int(token)) for word, number, token in lines]

    # -- agent -------------------------------------------------------------------------------------------------------

    def orders(self) -> list[Death | Stop] | None:
        """Return what the supervisor has said; None when it is dead."""
        lines = self._lines(self._to_agent[0])
        return None if lines is None else [_decoder.decode(line) for line in lines]

    def report(self, word: str, number: int, token: int = 0) -> None:
        """Say ``buried`` or ``stuck`` about a share, or ``cancel`` about a task that runs on it; or pass on a command:
        ``resize`` (to so many processes), ``look`` (ring all bells), ``restart``, ``shutdown``. ``begins``: the agent
        has been imported; ``renews``: it keeps the leases; ``listens``: commands are heard."""
        with contextlib.suppress(BrokenPipeError, BlockingIOError):
            os.write(self._to_supervisor[1], f"{word} {number} {token}\n".encode())

    def _lines(self, fd: int) -> list[bytes] | None:
        """What has come; None when nothing more will. What somebody said before he died is heard."""
        data, ended = self._rest, False
        while not ended:
            try:
                chunk = os.read(fd, 65536)
            except BlockingIOError:
                break
            data += chunk
            ended = not chunk
        *lines, self._rest = data.split(b"\n")
        return None if ended and not lines else lines
