"""A TCP proxy that misbehaves on command, to be put between a client and a real server.

Start it with ``with Proxy("127.0.0.1", port) as proxy`` and connect to ``proxy.port``. The mode may change at any time
and holds for connections that exist, too:

=================  =====================================================================================================
``pass_on()``       as if it were not there (the beginning)
``refuse()``        nobody listens; connections that exist are reset
``reset()``         connections are accepted and reset at once; those that exist are reset
``black_hole()``    connections are accepted, nothing is passed on and nothing ends: a cable pulled out
``hold()``          connections that exist stand still, new ones pass: what is on its way comes late, on ``pass_on()``
``delay(seconds)``  everything arrives so much later
``trickle(pause)``  one byte at a time, with a pause of so many seconds between two
``cut_after(n)``    of each connection, existing or new, n more bytes from the server pass; then it is reset
=================  =====================================================================================================

One thread of its own runs all of it. Of servers that name each other, as the nodes of a Redis Cluster do, it stands
before each, and what they say of their ports is told of its own: who came through it once never gets past it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType

__all__ = ["Proxy"]

_CHUNK = 1 << 16


class _Link:
    """One client's connection, and its twin to the server."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter | None) -> None:
        self.client = client
        self.server = server
        self.left: int | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    def reset(self) -> None:
        for writer in (self.client, self.server):
            if writer is None:
                continue
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                # Linger for zero seconds: closing sends a reset.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """A proxy in front of ``host``'s port, or of each of several; ``through`` tells where. ``hear`` is told, in the
    proxy's thread, what clients say; ``tell`` says what they hear instead of an answer."""

    def __init__(
        self,
        host: str,
        *ports: int,
        hear: Callable[[bytes], object] | None = None,
        tell: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._host = host
        #: The port of each server, and the one where it is reached through here.
        self._ports = dict.fromkeys(ports, 0)
        self._hear = hear
        self._tell = tell or (self._own_ports if len(ports) > 1 else None)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listening: list[asyncio.Server] = []
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._accept = True
        self._delay = 0.0
        self._pause: float | None = None
        self._cut: int | None = None
        #: How many connections were accepted.
        self.accepted = 0

    @property
    def port(self) -> int:
        """Where it listens, for the first of the servers."""
        return next(iter(self._ports.values()))

    def through(self, url: str) -> str:
        """A URL of the servers as it leads to them through here."""
        return _renamed(r":{}\b", self._ports, url)

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self) -> Proxy:
        """Listen."""
        self._thread.start()
        self._open.set()
        self._do(self._listen)
        return self

    def stop(self) -> None:
        """End all connections, and the thread. Idempotent."""
        if self._loop.is_closed():
            return
        self._do(self._silence)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Proxy:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    # -- modes ----------------------------------------------------------------------------------------------------

    def pass_on(self) -> None:
        """Everything passes, at once."""
        self._mode()

    def refuse(self) -> None:
        """Nobody listens."""
        self._mode(listen=False, accept=False, end=True)

    def reset(self) -> None:
        """Every connection is reset."""
        self._mode(accept=False, end=True)

    def black_hole(self) -> None:
        """Nothing passes, nothing ends."""
        self._mode(open_=False)

    def hold(self) -> None:
        """What is on its way waits; who connects anew overtakes it."""
        self._mode(hold=True)

    def delay(self, seconds: float) -> None:
        """Everything comes later."""
        self._mode(delay=seconds)

    def trickle(self, pause: float = 0.01) -> None:
        """Byte by byte."""
        self._mode(pause=pause)

    def cut_after(self, count: int) -> None:
        """Of each connection so many more bytes from the server pass, then it is reset."""
        self._mode(cut=count)

    def _mode(
        self,
        *,
        listen: bool = True,
        accept: bool = True,
        open_: bool = True,
        end: bool = False,
        hold: bool = False,
        delay: float = 0.0,
        pause: float | None = None,
        cut: int | None = None,
    ) -> None:
        async def change() -> None:
            self._accept, self._delay, self._pause, self._cut = accept, delay, pause, cut
            (self._open.set if open_ else self._open.clear)()
            for link in tuple(self._links):
                link.left = cut
                (link.gate.clear if hold else link.gate.set)()
                if end:
                    link.reset()
            if listen:
                await self._listen()
            else:
                self._close()

        self._do(change)

    # -- in the thread --------------------------------------------------------------------------------------------

    def _do(self, work: Callable[[], object]) -> None:
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        if self._listening:
            return
        for target, own in self._ports.items():
            listening = await asyncio.start_server(partial(self._serve, target), "127.0.0.1", own)
            self._listening.append(listening)
            self._ports[target] = listening.sockets[0].getsockname()[1]

    def _close(self) -> None:
        for each in self._listening:
            each.close()
        self._listening = []

    async def _silence(self) -> None:
        self._close()
        for link in tuple(self._links):
            link.reset()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        link = _Link(writer, None)
        self._links.add(link)
        link.left = self._cut
        try:
            if not self._accept:
                return
            await self._open.wait()
            theirs, link.server = await asyncio.open_connection(self._host, target)
            both = [self._pass(reader, link.server, link), self._pass(theirs, writer, link, back=True)]
            _, rest = await asyncio.wait(
                [asyncio.ensure_future(each) for each in both], return_when=asyncio.FIRST_COMPLETED
            )
            for each in rest:
                each.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            return
        finally:
            link.reset()
            self._links.discard(link)
            self._tasks.discard(task)

    async def _pass(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, link: _Link, back: bool = False
    ) -> None:
        """Carry bytes one way until either end is gone. On the way ``back`` they count."""
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._open.wait()
                await link.gate.wait()
                if self._hear is not None and not back:
                    self._hear(data)
                if self._tell is not None and back:
                    data = self._tell(data)
                if back and link.left is not None:
                    data, link.left = data[: link.left], max(0, link.left - len(data))
                for piece in self._pieces(data):
                    target.write(piece)
                    await target.drain()
                    if self._pause is not None:
                        await asyncio.sleep(self._pause)
                    await self._open.wait()
                if back and link.left == 0:
                    return

    def _own_ports(self, answer: bytes) -> bytes:
        """An answer of Redis, in which a port is a number or the end of a line."""
        return _renamed(r":{}\r\n", self._ports, answer.decode("latin-1")).encode("latin-1")

    def _pieces(self, data: bytes) -> list[bytes]:
        return [data] if self._pause is None else [data[at : at + 1] for at in range(len(data))]


def _renamed(form: str, ports: Mapping[int, int], text: str) -> str:
    """``text`` with each port in that form replaced by the other that stands for it."""
    anyone = "|".join(map(str, ports))
    return re.sub(form.format(f"({anyone})"), lambda found: found[0].replace(found[1], str(ports[int(found[1])])), text)
