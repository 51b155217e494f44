"""One AMQP connection: a socket, its handshake, and the frames that come in.

Owns connecting within a deadline (name lookup included), heartbeats, and handing frames to their channels. What breaks
is never mended: the connection closes and a new one is made. Not thread-safe: used under the client's lock, but for
``fileno``. Called by ``client`` and ``channel``.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from talo.errors import StoreUnavailable, TaloError
from talo.stores.rabbitmq._refusals import as_error
from talo.stores.rabbitmq.address import Address
from talo.stores.rabbitmq.channel import CARRYING, Channel
from talo.stores.rabbitmq.frames import BODY, HEADER, HEARTBEAT, METHOD, method, read_short, read_table, short, table
from talo.stores.tls import untrusted

__all__ = ["Connection"]

_CHUNK = 1 << 18
_FRAME = struct.Struct(">BHI")
_KIND = struct.Struct(">HH")
_SIZE = struct.Struct(">Q")
_TUNE = struct.Struct(">HIH")
#: What we would like; the server may allow less.
_CHANNELS, _FRAME_MAX = 2047, 131072
_START, _START_OK, _SECURE, _TUNED, _OPENED, _CLOSE = (10, 10), (10, 11), (10, 20), (10, 30), (10, 41), (10, 50)
_BLOCKED, _UNBLOCKED = (10, 60), (10, 61)
_CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}


class Connection:
    """A connection to one address. ``generation`` tells it from those before and after it."""

    def __init__(self, address: Address, generation: int, heartbeat: float) -> None:
        self.shown = address.shown
        self.generation = generation
        self.frame_max = _FRAME_MAX
        #: Seconds; 0: none.
        self.heartbeat = heartbeat
        self.server: dict[str, Any] = {}
        #: The server takes nothing for want of memory or disk: what it says of it.
        self.blocked: str | None = None
        self.closed = False
        #: Called when something was taken in.
        self.on_taken: Callable[[], None] = lambda: None
        self.heard = self.said = monotonic()
        self._address = address
        self._socket: socket.socket | None = None
        self._rest = b""
        self._methods: list[tuple[tuple[int, int], bytes]] = []
        self._channels: dict[int, Channel] = {}
        #: By channel: the method whose content is being read, its header, and the body so far.
        self._reading: dict[int, tuple[tuple[int, int], bytes, bytes, list[bytes], int]] = {}
        self._numbers = 0

    # -- beginning and end --------------------------------------------------------------------------------------------

    def connect(self, deadline: float) -> None:
        """Connect and log in. ``StoreUnavailable``, ``AccessRefused`` when the server does not let us in, or
        ``ImproperlyConfigured`` when its certificate is not trusted."""
        try:
            self._socket = self._reach(deadline)
            self._socket.sendall(b"AMQP\0\0\x09\x01")
            self._socket.setblocking(False)
            self._log_in(deadline)
        except (OSError, ssl.SSLError) as error:
            self.close()
            raise StoreUnavailable(f"cannot connect to {self.shown}: {error}") from error
        except BaseException:
            self.close()
            raise

    def _reach(self, deadline: float) -> socket.socket:
        address = self._address
        last: OSError = TimeoutError("the time was over")
        for family, kind, protocol, _, where in _looked_up(address.host, address.port, deadline):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(max(0.01, deadline - monotonic()))
                sock.connect(where)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _keep_alive(sock)
                if address.tls is not None:
                    name = address.server_hostname or address.host
                    sock = address.tls.wrap_socket(sock, server_hostname=name)
                return sock
            except ssl.SSLCertVerificationError as error:
                sock.close()
                raise untrusted(address.shown, error) from error
            except OSError as error:
                sock.close()
                last = error
        raise last

    def _log_in(self, deadline: float) -> None:
        _, start = self._method(_START, deadline)
        self.server, _ = read_table(start, 6)
        address = self._address
        response = f"\0{address.username}\0{address.password}".encode()
        client = {"product": "Talo", "capabilities": _CAPABILITIES}
        plain = short("PLAIN") + len(response).to_bytes(4, "big") + response
        self.write(method(0, *_START_OK, table(client) + plain + short("en_US")), deadline)
        _, tune = self._method(_TUNED, deadline)
        channels, frame_max, theirs = _TUNE.unpack_from(tune, 4)
        self.frame_max = min(frame_max or _FRAME_MAX, _FRAME_MAX)
        self.heartbeat = min(self.heartbeat, theirs) if theirs else self.heartbeat
        tuned = _TUNE.pack(min(channels or _CHANNELS, _CHANNELS), self.frame_max, int(self.heartbeat))
        opening = short(address.vhost) + b"\0\0"
        self.write(method(0, 10, 31, tuned) + method(0, 10, 40, opening), deadline)
        self._method(_OPENED, deadline)

    def _method(self, wanted: tuple[int, int], deadline: float) -> tuple[tuple[int, int], bytes]:
        while not self._methods:
            self.read(deadline)
        found = self._methods.pop(0)
        if found[0] != wanted:
            raise self.broken(f"said {found[0]} where {wanted} was due")
        return found

    def close(self) -> None:
        """Close the socket; a farewell is tried. Idempotent."""
        if self.closed:
            return
        self.closed = True
        sock, self._socket = self._socket, None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.sendall(method(0, *_CLOSE, b"\0\xc8" + short("") + b"\0\0\0\0"))
            with contextlib.suppress(OSError):
                sock.close()

    def broken(self, why: object) -> StoreUnavailable:
        """Close it for a reason; return the error to raise."""
        self.close()
        return StoreUnavailable(f"the connection to {self.shown} is lost: {why}")

    def fileno(self) -> int:
        """The socket's descriptor; -1 when it is closed."""
        sock = self._socket
        return sock.fileno() if sock is not None else -1

    # -- channels -----------------------------------------------------------------------------------------------------

    def channel(self, deadline: float) -> Channel:
        """Open a new channel."""
        self._numbers = self._numbers % _CHANNELS + 1
        while self._numbers in self._channels:
            self._numbers = self._numbers % _CHANNELS + 1
        made = self._channels[self._numbers] = Channel(self, self._numbers)
        made.call(20, 10, b"\0", deadline)
        return made

    def forget(self, number: int) -> None:
        """A channel was closed by us; its number stays taken until the server has said so."""
        self._reading.pop(number, None)

    # -- writing and reading ------------------------------------------------------------------------------------------

    def write(self, data: bytes, deadline: float) -> None:
        """Send bytes, all of them or the connection is lost."""
        sock = self._socket
        if sock is None:
            raise StoreUnavailable(f"the connection to {self.shown} is closed")
        view = memoryview(data)
        try:
            while view:
                try:
                    view = view[sock.send(view) :]
                except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    # While the server takes nothing it may have something to say: that it is blocked, or closes.
                    self._ready(deadline, writing=True)
        except OSError as error:
            raise self.broken(error) from error
        self.said = monotonic()

    def read(self, deadline: float) -> None:
        """Wait until something has come, and take it in."""
        while not self.take_in():
            self._ready(deadline)

    def wait(self, until: float) -> bool:
        """Wait until something has come, and take it in; False when nothing has until then."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(max(0.0, until - monotonic()) * 1000)) and self.take_in()

    def settle_closing(self, deadline: float) -> None:
        """Wait until the channels that were closed here are closed there."""
        while any(not channel.open for channel in self._channels.values()):
            self.read(deadline)

    def _ready(self, deadline: float, *, writing: bool = False) -> None:
        left = deadline - monotonic()
        fd = self.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLIN | (select.POLLOUT if writing else 0))
        found = poll.poll(left * 1000) if left > 0 else []
        if not found:
            why = f"it takes nothing: {self.blocked}" if self.blocked else "no answer in time"
            raise self.broken(why)
        if writing and found[0][1] & select.POLLIN:
            self.take_in()

    def take_in(self) -> bool:
        """Take in what has come, without waiting; return whether anything had."""
        found = False
        while (sock := self._socket) is not None:
            try:
                data = sock.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return found
            except OSError as error:
                raise self.broken(error) from error
            if not data:
                raise self.broken("the server closed it")
            found = True
            self.heard = monotonic()
            self._parse(self._rest + data if self._rest else data)
            self.on_taken()
            if len(data) < _CHUNK and not isinstance(sock, ssl.SSLSocket):
                return True
        if not found:
            raise StoreUnavailable(f"the connection to {self.shown} is closed")
        return True

    def beat(self, now: float, deadline: float) -> None:
        """Send a heartbeat if one is due; raise if the server has been silent for two."""
        if not self.heartbeat or self.closed:
            return
        if now - self.heard > 2 * self.heartbeat:
            raise self.broken("no heartbeat")
        if now - self.said >= self.heartbeat / 3:
            self.write(HEARTBEAT, deadline)

    def _parse(self, data: bytes) -> None:
        at, end = 0, len(data)
        unpack = _FRAME.unpack_from
        while end - at >= 8:
            kind, number, size = unpack(data, at)
            stop = at + 7 + size
            if stop >= end:
                break
            self._frame(kind, number, data[at + 7 : stop])
            at = stop + 1
        self._rest = data[at:]

    def _frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind == METHOD:
            what = _KIND.unpack_from(payload)
            if what in CARRYING:
                self._reading[number] = (what, payload, b"", [], -1)
            elif number == 0:
                self._on_zero(what, payload)
            else:
                self._to_channel(number, what, payload)
        elif kind in (HEADER, BODY) and number in self._reading:
            what, begun, header, pieces, left = self._reading[number]
            if kind == HEADER:
                header, left = payload, _SIZE.unpack_from(payload, 4)[0]
            else:
                pieces.append(payload)
                left -= len(payload)
            if left > 0:
                self._reading[number] = (what, begun, header, pieces, left)
                return
            del self._reading[number]
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            channel = self._channels.get(number)
            if channel is not None and channel.open:
                channel.take(what, begun, header, body)

    def _to_channel(self, number: int, what: tuple[int, int], payload: bytes) -> None:
        channel = self._channels.get(number)
        if what == (20, 41):  # close-ok: the number is free
            self._channels.pop(number, None)
            return
        if channel is None:
            return
        if channel.open:
            channel.take(what, payload)
        if what == (20, 40):
            self._channels.pop(number, None)
            self._reading.pop(number, None)
            self.write(method(number, 20, 41), monotonic() + 1.0)

    def _on_zero(self, what: tuple[int, int], payload: bytes) -> None:
        if what == _CLOSE:
            code = int.from_bytes(payload[4:6], "big")
            text, _ = read_short(payload, 6)
            error: TaloError = as_error(code, text, self.shown)
            self.closed = True
            sock, self._socket = self._socket, None
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.sendall(method(0, 10, 51))
                sock.close()
            raise error
        if what == _BLOCKED:
            self.blocked = read_short(payload, 4)[0]
        elif what == _UNBLOCKED:
            self.blocked = None
        else:
            self._methods.append((what, payload))


def _keep_alive(sock: socket.socket) -> None:
    """Let the kernel notice a dead server, also for who only listens and sends no heartbeats."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _looked_up(host: str, port: int, deadline: float) -> list[Any]:
    """The addresses of a host, within the deadline: a resolver that hangs is left behind in its thread."""
    found: list[Any] = []
    errors: list[OSError] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            errors.append(error)

    if host.replace(".", "").isdigit() or ":" in host:
        look_up()
    else:
        thread = threading.Thread(target=look_up, name="talo-lookup", daemon=True)
        thread.start()
        thread.join(max(0.0, deadline - monotonic()))
    if errors:
        raise errors[0]
    if not found:
        raise TimeoutError(f"the name {host} was not looked up in time")
    return list(found)
